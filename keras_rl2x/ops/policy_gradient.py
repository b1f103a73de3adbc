"""Policy gradients: surrogates whose gradient is the policy's gradient."""

import keras

from keras_rl2x.ops.checks import assert_rank


def live_mean(values, weight):
    """Mean over the cells that count: `sum(weight values) / sum(weight)`.

    Args:
        values: Tensor `[B]`.
        weight: Tensor `[B]`, 1, or 0 for a dead cell.

    Returns:
        Scalar tensor; 0 if none counts.
    """
    assert_rank(1, values=values, weight=weight)
    total = keras.ops.sum(weight)
    return keras.ops.sum(weight * values) / keras.ops.maximum(total, 1.0)


def normalize(values, weight, epsilon=1e-8):
    """Shifts and scales to mean 0 and variance 1, over the cells that count.

    Args:
        values: Tensor `[B]`.
        weight: Tensor `[B]`, as in `live_mean`.
        epsilon: Float, added to the standard deviation.

    Returns:
        Tensor `[B]`, with stopped gradient.
    """
    centred = values - live_mean(values, weight)
    deviation = keras.ops.sqrt(live_mean(keras.ops.square(centred), weight))
    return keras.ops.stop_gradient(centred / (deviation + epsilon))


def score_function(log_prob, advantage):
    """Elementwise `log pi(a|s) A`, to be maximised.

    Args:
        log_prob: Tensor `[B]`.
        advantage: Tensor `[B]`; its gradient is stopped.

    Returns:
        Tensor `[B]`.

    Reference:
     - [Williams, 1992](https://doi.org/10.1007/BF00992696), theorem 1
    """
    assert_rank(1, log_prob=log_prob, advantage=advantage)
    return log_prob * keras.ops.stop_gradient(advantage)


def importance_ratio(log_prob, old_log_prob):
    """`pi(a|s) / pi_old(a|s)`.

    Args:
        log_prob: Tensor `[B]`.
        old_log_prob: Tensor `[B]`; its gradient is stopped.

    Returns:
        Tensor `[B]`.
    """
    assert_rank(1, log_prob=log_prob, old_log_prob=old_log_prob)
    return keras.ops.exp(log_prob - keras.ops.stop_gradient(old_log_prob))


def clipped_surrogate(ratio, advantage, clip):
    """Elementwise `min(ratio A, clip(ratio, 1 - c, 1 + c) A)`.

    Args:
        ratio: Tensor `[B]`, see `importance_ratio`.
        advantage: Tensor `[B]`; its gradient is stopped.
        clip: Float or scalar tensor, c.

    Returns:
        Tensor `[B]`, to be maximised.

    Reference:
     - [Schulman et al., 2017](https://arxiv.org/abs/1707.06347), eq. 7
    """
    assert_rank(1, ratio=ratio, advantage=advantage)
    advantage = keras.ops.stop_gradient(advantage)
    clipped = keras.ops.clip(ratio, 1 - clip, 1 + clip)
    return keras.ops.minimum(ratio * advantage, clipped * advantage)


def clipped_value_error(value, old_value, target, clip):
    """Squared error of a value that may move by `clip` only, elementwise.

    The greater of the errors of the value and of the clipped value.

    Args:
        value: Tensor `[B]`.
        old_value: Tensor `[B]`, before the update.
        target: Tensor `[B]`.
        clip: Float or scalar tensor.

    Returns:
        Tensor `[B]`.

    Reference:
     - [Engstrom et al., 2020](https://arxiv.org/abs/2005.12729), section 3
    """
    assert_rank(1, value=value, old_value=old_value, target=target)
    moved = keras.ops.clip(value - old_value, -clip, clip)
    return keras.ops.maximum(
        keras.ops.square(value - target),
        keras.ops.square(old_value + moved - target),
    )


def approximate_kl(log_prob, old_log_prob):
    """Elementwise estimate of `KL(pi_old || pi)` from actions of `pi_old`.

    `(ratio - 1) - log(ratio)`: never negative, unbiased.

    Args:
        log_prob: Tensor `[B]`.
        old_log_prob: Tensor `[B]`.

    Returns:
        Tensor `[B]`.

    Reference:
     - [Schulman, 2020](http://joschu.net/blog/kl-approx.html), k3
    """
    assert_rank(1, log_prob=log_prob, old_log_prob=old_log_prob)
    log_ratio = log_prob - old_log_prob
    # Of small ratios `exp` - 1 would lose all digits.
    return keras.ops.expm1(log_ratio) - log_ratio
