"""Quantile regression: returns as distributions, learned by their quantiles.

A distribution of returns is a row of equally likely numbers, the quantiles at
some fractions. QR-DQN fixes the fractions, IQN draws them, TQC mixes several
critics: they share the target and the loss.
"""

import keras

from keras_rl2x.ops.checks import assert_rank


def quantile_midpoints(count):
    """The fractions at which `count` quantiles stand for a distribution best.

    `(2 i - 1) / (2 N)` for i from 1 to N.

    Args:
        count: Integer N.

    Returns:
        Tensor `[N]`.

    Reference:
     - [Dabney et al., 2018](https://arxiv.org/abs/1710.10044), lemma 2
    """
    return (keras.ops.arange(count, dtype="float32") + 0.5) / count


def truncated_mixture(quantiles, drop):
    """The quantiles of several critics together, without the greatest.

    Args:
        quantiles: List of tensors `[B, N]`, one for each critic.
        drop: Integer, how many to leave out for each critic.

    Returns:
        Tensor `[B, critics * (N - drop)]`, ascending.

    Reference:
     - [Kuznetsov et al., 2020](https://arxiv.org/abs/2005.04269), eq. 11
    """
    assert_rank(2, **{f"quantiles[{i}]": q for i, q in enumerate(quantiles)})
    mixture = keras.ops.sort(keras.ops.concatenate(quantiles, axis=1), axis=1)
    return mixture[:, : mixture.shape[1] - drop * len(quantiles)]


def quantile_target(reward, discount, quantiles_next):
    """One-step target of a distribution: `r + discount * z` for each z.

    Args:
        reward: Tensor `[B]`.
        discount: Tensor `[B]`.
        quantiles_next: Tensor `[B, N]`, those of the successor.

    Returns:
        Tensor `[B, N]`, with stopped gradient.

    Reference:
     - [Dabney et al., 2018](https://arxiv.org/abs/1710.10044), eq. 11
    """
    assert_rank(1, reward=reward, discount=discount)
    assert_rank(2, quantiles_next=quantiles_next)
    return keras.ops.stop_gradient(
        reward[:, None] + discount[:, None] * quantiles_next
    )


def quantile_huber(quantiles, fractions, target):
    """Quantile regression with the Huber loss, for each quantile.

    The quantile `z_i` at the fraction `tau_i` is drawn to all numbers `y_j` of
    the target, more to those on one side:
    `mean_j |tau_i - 1[y_j < z_i]| huber(y_j - z_i)`.

    QR-DQN and IQN learn from the sum over the quantiles, TQC from the mean.

    Args:
        quantiles: Tensor `[B, N]`.
        fractions: Tensor `[N]`, or `[B, N]` where each row has its own.
        target: Tensor `[B, M]`.

    Returns:
        Tensor `[B, N]`, with gradients for the quantiles alone.

    Reference:
     - [Dabney et al., 2018](https://arxiv.org/abs/1710.10044), eq. 9 and 10
    """
    assert_rank(2, quantiles=quantiles, target=target)
    return _draw_to(quantiles, fractions[..., None], target)


# Differentiated by hand, the `[B, N, M]` errors are passed over a third as
# often.
@keras.ops.custom_gradient
def _draw_to(quantiles, fractions, target):
    error = target[:, None, :] - quantiles[:, :, None]
    # The derivative of the Huber loss, which is `inside (error - inside / 2)`.
    inside = keras.ops.clip(error, -1.0, 1.0)
    asymmetry = keras.ops.where(error < 0, 1 - fractions, fractions)
    slope = asymmetry * inside
    loss = keras.ops.mean(slope * (error - inside / 2), axis=-1)

    def gradient(*args, upstream=None):
        if upstream is None:
            (upstream,) = args
        return -upstream * keras.ops.mean(slope, axis=-1), None, None

    return loss, gradient
