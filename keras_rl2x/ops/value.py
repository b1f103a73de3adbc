"""Value learning: bootstrapped targets and the losses that regress on them.

`discount` is what multiplies the bootstrap value: gamma to the power of the
number of steps folded into `reward`, and 0 where the episode terminated.
"""

import keras

from keras_rl2x.ops.checks import assert_rank


def take(values, index):
    """Picks one entry of each row: `values[b, index[b]]`.

    Args:
        values: Tensor `[B, A]`.
        index: Integer tensor `[B]`.

    Returns:
        Tensor `[B]`.
    """
    assert_rank(2, values=values)
    assert_rank(1, index=index)
    return keras.ops.squeeze(
        keras.ops.take_along_axis(values, index[:, None], axis=1), axis=1
    )


def take_vector(values, index):
    """Picks one vector of each row: `values[b, index[b], :]`.

    Args:
        values: Tensor `[B, A, N]`.
        index: Integer tensor `[B]`.

    Returns:
        Tensor `[B, N]`.
    """
    assert_rank(3, values=values)
    assert_rank(1, index=index)
    return keras.ops.squeeze(
        keras.ops.take_along_axis(values, index[:, None, None], axis=1), axis=1
    )


def n_step_return(reward, terminated, ended, gamma):
    """Folds up to n steps into one: `G = sum_k gamma^k r_k`.

    The fold stops after the first step that ended the episode, or beyond
    which nothing is stored.

    Args:
        reward: Tensor `[B, n]`, the rewards from the drawn step on.
        terminated: Boolean tensor `[B, n]`, where the episode terminated.
        ended: Boolean tensor `[B, n]`, where the fold must stop: at
            termination, at truncation and at the last step stored.
        gamma: Float, the discount of one step.

    Returns:
        Tuple of tensors `[B]`: the folded reward; the discount of the
        bootstrap value, `gamma^k` or 0 at termination; and the integer k, the
        number of steps folded.

    Reference:
     - [Sutton & Barto, 2018](http://incompleteideas.net/book/the-book.html),
       eq. 7.1
    """
    assert_rank(2, reward=reward, terminated=terminated, ended=ended)
    n = reward.shape[1]
    alive = 1 - keras.ops.cast(ended[:, : n - 1], reward.dtype)
    live = keras.ops.concatenate(
        [
            keras.ops.ones_like(reward[:, :1]),
            keras.ops.cumprod(alive, axis=1),
        ],
        axis=1,
    )  # [B, n]: 1 up to and including the step that ended the episode.
    powers = keras.ops.convert_to_tensor(
        [gamma**k for k in range(n + 1)], dtype=reward.dtype
    )
    steps = keras.ops.cast(keras.ops.sum(live, axis=1), "int32")
    terminal = keras.ops.max(
        live * keras.ops.cast(terminated, reward.dtype), axis=1
    )
    # Written as a `where` so that an infinite reward after the end of the
    # episode cannot turn into a NaN here.
    kept = keras.ops.where(live > 0, reward, keras.ops.zeros_like(reward))
    total = keras.ops.sum(kept * powers[:n], axis=1)
    discount = keras.ops.take(powers, steps, axis=0) * (1 - terminal)
    return total, discount, steps


def q_target(reward, discount, q_next):
    """One-step Q-learning target: `r + discount * max_a Q(s', a)`.

    Args:
        reward: Tensor `[B]`.
        discount: Tensor `[B]`.
        q_next: Tensor `[B, A]`, the target network's values of the successor.

    Returns:
        Tensor `[B]`, with stopped gradient.

    Reference:
     - [Mnih et al., 2015](https://doi.org/10.1038/nature14236), algorithm 1
    """
    assert_rank(1, reward=reward, discount=discount)
    assert_rank(2, q_next=q_next)
    best = keras.ops.max(q_next, axis=-1)
    return keras.ops.stop_gradient(reward + discount * best)


def double_q_target(reward, discount, q_next, q_next_online):
    """Double Q-learning: one network picks the action, the other judges it.

    `r + discount * Q(s', argmax_a Q_online(s', a))`

    Args:
        reward: Tensor `[B]`.
        discount: Tensor `[B]`.
        q_next: Tensor `[B, A]`, the target network's values of the successor.
        q_next_online: Tensor `[B, A]`, the online network's.

    Returns:
        Tensor `[B]`, with stopped gradient.

    Reference:
     - [van Hasselt et al., 2016](https://arxiv.org/abs/1509.06461), eq. 4
    """
    assert_rank(1, reward=reward, discount=discount)
    assert_rank(2, q_next=q_next, q_next_online=q_next_online)
    chosen = take(q_next, keras.ops.argmax(q_next_online, axis=-1))
    return keras.ops.stop_gradient(reward + discount * chosen)


def td_target(reward, discount, value_next):
    """One-step target of a value: `r + discount * V(s')`.

    Args:
        reward: Tensor `[B]`.
        discount: Tensor `[B]`.
        value_next: Tensor `[B]`, the value of the successor.

    Returns:
        Tensor `[B]`, with stopped gradient.

    Reference:
     - [Sutton & Barto, 2018](http://incompleteideas.net/book/the-book.html),
       eq. 6.2
    """
    assert_rank(1, reward=reward, discount=discount, value_next=value_next)
    return keras.ops.stop_gradient(reward + discount * value_next)


def soft_value(q_values, logits, temperature):
    """What a policy expects, and its entropy: `pi^T (Q - temperature log pi)`.

    The expectation over the actions is exact. Where logits and values are
    masked, an action counts for nothing.

    Args:
        q_values: Tensor `[B, A]`.
        logits: Tensor `[B, A]`, the policy's.
        temperature: Scalar, the weight of the entropy.

    Returns:
        Tensor `[B]`.

    Reference:
     - [Christodoulou, 2019](https://arxiv.org/abs/1910.07207), eq. 10
    """
    assert_rank(2, q_values=q_values, logits=logits)
    log_p = keras.ops.log_softmax(logits)
    return keras.ops.sum(
        keras.ops.exp(log_p) * (q_values - temperature * log_p), axis=-1
    )


def munchausen_bonus(q_values, action, temperature, least):
    """How sure a softmax policy was of its action: `temperature log pi(a|s)`.

    The policy is the softmax of `q_values / temperature`. The bonus is 0 where
    the action was certain, and clipped where it was all but impossible.

    Args:
        q_values: Tensor `[B, A]`.
        action: Integer tensor `[B]`.
        temperature: Float, positive.
        least: Float, at most 0, where it is clipped.

    Returns:
        Tensor `[B]`, from `least` to 0.

    Reference:
     - [Vieillard et al., 2020](https://arxiv.org/abs/2007.14430), eq. 2 and
       its clipping
    """
    assert_rank(2, q_values=q_values)
    log_p = keras.ops.log_softmax(q_values / temperature)
    return keras.ops.clip(temperature * take(log_p, action), least, 0.0)


def squared(error):
    """Elementwise `error^2 / 2`, so that the gradient is the error."""
    return 0.5 * keras.ops.square(error)


def huber(error):
    """Elementwise `error^2 / 2` up to 1, `|error| - 1/2` beyond.

    Its gradient is the error clipped to `[-1, 1]`.

    Reference:
     - [Mnih et al., 2015](https://doi.org/10.1038/nature14236), methods
    """
    size = keras.ops.abs(error)
    inside = keras.ops.minimum(size, 1.0)
    return 0.5 * keras.ops.square(inside) + (size - inside)


def weighted_mean(values, weight):
    """Mean over the batch of `weight * values`.

    Divides by the batch's size and not by the sum of the weights: importance
    weights below 1 must make the step smaller.

    Args:
        values: Tensor `[B]`.
        weight: Tensor `[B]`.

    Returns:
        Scalar tensor.
    """
    assert_rank(1, values=values, weight=weight)
    return keras.ops.mean(weight * values)
