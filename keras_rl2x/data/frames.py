"""Stacks of frames: stored frame by frame, put together when they are drawn."""

import dataclasses

import tensorflow as tf


def one(leaf, frame_stack):
    """The `spaces.Leaf` of one frame of a stack `[H, W, frame_stack * C]`."""
    height, width, channels = leaf.shape
    shape = (height, width, channels // frame_stack)
    return dataclasses.replace(leaf, shape=shape)


def newest(stacks, frame_stack):
    """The last frames `[..., H, W, C]` of stacks `[..., H, W, k C]`."""
    return stacks[..., -(stacks.shape[-1] // frame_stack) :]


def stack(frames, begins):
    """Stacks, black where another episode was before.

    Args:
        frames: Tensor `[B, k, H, W, C]`, oldest first.
        begins: Boolean tensor `[B, k - 1]`, whether the episode begins between
            a frame and the next.

    Returns:
        Tensor `[B, H, W, k C]`.
    """
    later = tf.cumsum(tf.cast(begins, tf.int32), axis=1, reverse=True)
    own = tf.concat([later == 0, tf.ones_like(begins[:, :1])], axis=1)
    if (
        frames.shape[1] == 4
        and frames.shape[-1] == 1
        and frames.dtype == "uint8"
    ):
        return _four(frames, own)
    own = tf.cast(own, frames.dtype)[:, :, None, None, None]
    batch, count, height, width, channels = frames.shape
    stacked = tf.transpose(frames * own, [0, 2, 3, 1, 4])
    return tf.reshape(stacked, [-1, height, width, count * channels])


@tf.function(jit_compile=True)
def _four(frames, own):
    """`stack` for four grey frames: a third of the time of the transposition.

    A pixel's four bytes are put into one number, whose bytes then are the
    channels; fused by XLA. 32 pairs of stacks are drawn in 0.4 ms, not 1.4.
    """
    words = tf.cast(frames[..., 0], tf.uint32)
    words *= tf.cast(own, tf.uint32)[:, :, None, None]
    word = words[:, 0]
    for i in (1, 2, 3):
        word |= words[:, i] * 256**i
    return tf.bitcast(word, tf.uint8)
