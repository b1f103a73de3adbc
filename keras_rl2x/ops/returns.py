"""Returns and advantages over a rollout, time-major: `[T, N]`.

`discount` is what multiplies the value of the next row: gamma, and 0 where the
episode terminated. `cut` says where the next row belongs to another episode:
there nothing is carried back, though a truncated step still bootstraps.
"""

import keras

from keras_rl2x.ops.checks import assert_rank


def discounted_returns(reward, discount, bootstrap):
    """Sums of discounted rewards: `G_t = r_t + discount_t G_{t+1}`.

    Args:
        reward: Tensor `[T, N]`.
        discount: Tensor `[T, N]`.
        bootstrap: Tensor `[N]`, what follows the last row, `G_T`.

    Returns:
        Tensor `[T, N]`.

    Reference:
     - [Sutton & Barto, 2018](http://incompleteideas.net/book/the-book.html),
       eq. 3.9
    """
    assert_rank(2, reward=reward, discount=discount)
    assert_rank(1, bootstrap=bootstrap)
    last = reward[-1:] + discount[-1:] * bootstrap[None]
    return _backward_sums(
        keras.ops.concatenate([reward[:-1], last], axis=0), discount
    )


def gae(reward, discount, value, cut, lambda_):
    """Generalised advantage estimates.

    `A_t = delta_t + lambda discount_t A_{t+1}`, where
    `delta_t = r_t + discount_t V_{t+1} - V_t`.

    Args:
        reward: Tensor `[T, N]`.
        discount: Tensor `[T, N]`.
        value: Tensor `[T + 1, N]`.
        cut: Boolean tensor `[T, N]`, where the episode was terminated or
            truncated, or none is under way.
        lambda_: Float in [0, 1]: 0 looks one step ahead, 1 to the end.

    Returns:
        Tensor `[T, N]`.

    Reference:
     - [Schulman et al., 2016](https://arxiv.org/abs/1506.02438), eq. 16
    """
    assert_rank(2, reward=reward, discount=discount, value=value, cut=cut)
    delta = reward + discount * value[1:] - value[:-1]
    goes_on = 1 - keras.ops.cast(cut, delta.dtype)
    return _backward_sums(delta, lambda_ * discount * goes_on)


def lambda_returns(reward, discount, value, cut, lambda_):
    """Lambda-returns, the targets of the value: `A_t + V_t`.

    Args:
        reward: Tensor `[T, N]`.
        discount: Tensor `[T, N]`.
        value: Tensor `[T + 1, N]`.
        cut: Boolean tensor `[T, N]`, as in `gae`.
        lambda_: Float in [0, 1].

    Returns:
        Tensor `[T, N]`.

    Reference:
     - [Sutton & Barto, 2018](http://incompleteideas.net/book/the-book.html),
       eq. 12.18
    """
    return gae(reward, discount, value, cut, lambda_) + value[:-1]


def q_lambda_returns(reward, discount, q_values, cut, lambda_):
    """Lambda-returns of the greedy policy, the targets of PQN.

    `R_t = r_t + discount_t (lambda R_{t+1} + (1 - lambda) max_a Q_{t+1}(a))`;
    where the next row belongs to another episode, its value stands for its
    return.

    Args:
        reward: Tensor `[T, N]`.
        discount: Tensor `[T, N]`.
        q_values: Tensor `[T + 1, N, A]`.
        cut: Boolean tensor `[T, N]`, as in `gae`.
        lambda_: Float in [0, 1].

    Returns:
        Tensor `[T, N]`.

    Reference:
     - [Gallici et al., 2024](https://arxiv.org/abs/2407.04811), algorithm 1
    """
    assert_rank(3, q_values=q_values)
    value = keras.ops.max(q_values, axis=-1)
    return lambda_returns(reward, discount, value, cut, lambda_)


def running_returns(reward, cut, gamma, before):
    """Discounted sums of the rewards so far: `R_t = r_t + gamma R_{t-1}`.

    Args:
        reward: Tensor `[T, N]`.
        cut: Boolean tensor `[T, N]`, where the sum begins anew after the row.
        gamma: Float.
        before: Tensor `[N]`, `R_{-1}`; 0 where an episode begins.

    Returns:
        Tuple of tensors: the sums `[T, N]`, and `[N]`, the next `before`.

    Reference:
     - [Engstrom et al., 2020](https://arxiv.org/abs/2005.12729), appendix A
    """
    assert_rank(2, reward=reward, cut=cut)
    assert_rank(1, before=before)
    goes_on = gamma * (1 - keras.ops.cast(cut, reward.dtype))
    first = reward[:1] + gamma * before[None]
    terms = keras.ops.concatenate([first, reward[1:]], axis=0)
    factors = keras.ops.concatenate(
        [keras.ops.zeros_like(first), goes_on[:-1]], axis=0
    )
    # Forwards is backwards in reversed time.
    flipped = _backward_sums(
        keras.ops.flip(terms, 0), keras.ops.flip(factors, 0)
    )
    sums = keras.ops.flip(flipped, 0)
    carried = keras.ops.where(cut[-1], 0.0, sums[-1])
    return sums, carried


def _backward_sums(terms, factors):
    """`x_t = terms_t + factors_t x_{t+1}`, in log2(T) vectorised steps.

    After each step, a row sums over twice as many as before. (Keras's own
    `associative_scan` takes up to twice as long.)
    """
    reach = 1
    while reach < terms.shape[0]:
        terms = terms + factors * _later(terms, reach)
        factors = factors * _later(factors, reach)
        reach *= 2
    return terms


def _later(rows, steps):
    """Each row's successor so many steps later; zeros behind the last."""
    return keras.ops.pad(rows[steps:], ((0, steps), (0, 0)))
