"""Categorical returns: probabilities of fixed numbers, the atoms.

A distribution of returns is a row of logits over atoms at equal distances, the
support. C51 and Rainbow learn it: the target's atoms are moved, and projected
back onto the support.
"""

import math

import keras

from keras_rl2x.ops.checks import assert_rank


def categorical_support(v_min, v_max, atoms):
    """The atoms: `atoms` numbers at equal distances.

    Args:
        v_min: Float, the least return.
        v_max: Float, the greatest.
        atoms: Integer N, at least 2.

    Returns:
        Tensor `[N]`, ascending.

    Raises:
        ValueError: If there are fewer than two, or no room between the ends.

    Reference:
     - [Bellemare et al., 2017](https://arxiv.org/abs/1707.06887), section 4
    """
    if atoms < 2 or not -math.inf < v_min < v_max < math.inf:
        raise ValueError(
            "There must be 2 `atoms` or more, from a finite `v_min` to a "
            f"greater `v_max`. Received: {v_min=}, {v_max=}, {atoms=}"
        )
    return keras.ops.linspace(float(v_min), float(v_max), atoms)


def categorical_mean(logits, support):
    """The mean of each distribution: `sum_i z_i p_i`.

    Args:
        logits: Tensor `[..., N]`.
        support: Tensor `[N]`.

    Returns:
        Tensor `[...]`.
    """
    return keras.ops.sum(keras.ops.softmax(logits) * support, axis=-1)


def categorical_target(reward, discount, logits_next, support):
    """One-step target of a distribution: `r + discount * z`, projected.

    Each atom of the successor's distribution is moved, clipped to the
    support's ends, and its probability shared between its two neighbours, more
    to the nearer one.

    Args:
        reward: Tensor `[B]`.
        discount: Tensor `[B]`.
        logits_next: Tensor `[B, N]`, those of the successor.
        support: Tensor `[N]`.

    Returns:
        Tensor `[B, N]` of probabilities, with stopped gradient.

    Reference:
     - [Bellemare et al., 2017](https://arxiv.org/abs/1707.06887), eq. 7
    """
    assert_rank(1, reward=reward, discount=discount, support=support)
    assert_rank(2, logits_next=logits_next)
    moved = keras.ops.clip(
        reward[:, None] + discount[:, None] * support, support[0], support[-1]
    )
    distance = keras.ops.abs(moved[:, None, :] - support[:, None])  # [B, N, N]
    share = keras.ops.relu(1 - distance / (support[1] - support[0]))
    p_next = keras.ops.softmax(logits_next)
    return keras.ops.stop_gradient(
        keras.ops.sum(share * p_next[:, None, :], axis=-1)
    )


def categorical_kl(target, logits):
    """Kullback-Leibler divergence of distributions from their targets.

    Its gradient is that of the cross-entropy, from which it differs by the
    target's entropy: so it is 0 where nothing is left to learn, as priorities
    should be.

    Args:
        target: Tensor `[B, N]` of probabilities.
        logits: Tensor `[B, N]`.

    Returns:
        Tensor `[B]`.

    References:
     - [Bellemare et al., 2017](https://arxiv.org/abs/1707.06887), algorithm 1
     - [Hessel et al., 2018](https://arxiv.org/abs/1710.02298), section "The
       Integrated Agent" (as the loss, and as the priority)
    """
    assert_rank(2, target=target, logits=logits)
    # Where the target is 0 its logarithm counts for nothing.
    log_target = keras.ops.log(keras.ops.where(target > 0, target, 1.0))
    difference = log_target - keras.ops.log_softmax(logits)
    return keras.ops.sum(target * difference, axis=-1)
