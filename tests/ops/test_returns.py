import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import ops


def column(*values):
    """One environment: `[T, 1]`."""
    return tf.constant(values, tf.float32)[:, None]


def flags(text):
    """One environment: a 1 where the flag is set."""
    return tf.constant([letter == "1" for letter in text])[:, None]


def rollout(steps, seed=0, num_envs=3, gamma=0.9):
    """A random one, where episodes terminate, are truncated, or go on."""
    rng = np.random.default_rng(seed)
    shape = (steps, num_envs)
    terminated = rng.random(shape) < 0.2
    discount = gamma * (1 - terminated)
    cut = terminated | (rng.random(shape) < 0.2)
    value = rng.normal(size=(steps + 1, num_envs))
    return {
        "reward": rng.normal(size=shape).astype("f4"),
        "discount": discount.astype("f4"),
        "value": value.astype("f4"),
        "cut": cut,
    }


# 1, 2 and 3 are the base cases of the scan; the others divide into them.
LENGTHS = [1, 2, 3, 4, 7, 16, 33]


# discounted_returns


def test_discounted_returns_by_hand():
    # 4 + 8/2 = 8; 2 + 8/2 = 6; 1 + 6/2 = 4.
    returns = ops.discounted_returns(
        column(1, 2, 4), column(0.5, 0.5, 0.5), tf.constant([8.0])
    )
    np.testing.assert_array_equal(returns, [[4], [6], [8]])


def test_returns_end_where_the_discount_is_0():
    # 4 + 8/2 = 8; the 2 alone; 1 + 2/2 = 2.
    returns = ops.discounted_returns(
        column(1, 2, 4), column(0.5, 0, 0.5), tf.constant([8.0])
    )
    np.testing.assert_array_equal(returns, [[2], [2], [8]])


@pytest.mark.parametrize("steps", LENGTHS)
def test_discounted_returns_as_a_loop(steps):
    rows = rollout(steps)
    bootstrap = rows["value"][-1]
    wanted, after = np.zeros((steps, 3)), bootstrap
    for t in reversed(range(steps)):
        after = rows["reward"][t] + rows["discount"][t] * after
        wanted[t] = after
    returns = ops.discounted_returns(
        tf.constant(rows["reward"]), tf.constant(rows["discount"]), bootstrap
    )
    np.testing.assert_allclose(returns, wanted, rtol=1e-4, atol=1e-5)


# gae

# Seven rows of one environment, gamma = 1/2: an episode that terminates in
# row 1, its dead row, one that is truncated in row 4, its dead row, and the
# first step of a third.
REWARD = column(1, 2, 0, 4, 8, 0, 16)
DISCOUNT = column(0.5, 0, 0.5, 0.5, 0.5, 0.5, 0.5)
CUT = flags("0110110")
# Row 2 is the terminal observation, row 5 where the truncation cut, row 7 what
# follows the last step.
VALUE = column(2, 4, 100, 6, 8, 10, 12, 14)
# What the estimates of dead rows are does not matter: they have no weight.
LIVE = [0, 1, 3, 4, 6]


def live(estimates):
    return np.array(estimates)[LIVE, 0]


def test_gae_by_hand():
    # Row 6: 16 + 14/2 - 12 = 11, and nothing is known of what follows.
    # Row 4: 8 + 10/2 - 8 = 5: bootstraps, but carries nothing back.
    # Row 3: 4 + 8/2 - 6 = 2, and 5/4: 3.25.
    # Row 1: 2 - 4 = -2: neither the 100 nor what is after it.
    # Row 0: 1 + 4/2 - 2 = 1, and -2/4: 0.5.
    advantage = ops.gae(REWARD, DISCOUNT, VALUE, CUT, 0.5)
    assert advantage.shape == (7, 1)
    np.testing.assert_array_equal(live(advantage), [0.5, -2, 3.25, 5, 11])


def test_lambda_0_is_the_td_error():
    advantage = ops.gae(REWARD, DISCOUNT, VALUE, CUT, 0.0)
    np.testing.assert_array_equal(live(advantage), [1, -2, 2, 5, 11])


def test_lambda_1_is_the_discounted_return_minus_the_value():
    # Returns: row 6, 16 + 14/2 = 23; row 4, 8 + 10/2 = 13; row 3,
    # 4 + 13/2 = 10.5; row 1, 2; row 0, 1 + 2/2 = 2.
    advantage = ops.gae(REWARD, DISCOUNT, VALUE, CUT, 1.0)
    np.testing.assert_array_equal(
        live(advantage), [2 - 2, 2 - 4, 10.5 - 6, 13 - 8, 23 - 12]
    )


def test_lambda_1_without_ends_is_discounted_returns():
    rows = rollout(9)
    reward, value = map(tf.constant, (rows["reward"], rows["value"]))
    discount = tf.fill(reward.shape, 0.9)
    returns = ops.discounted_returns(reward, discount, value[-1])
    advantage = ops.gae(
        reward, discount, value, tf.zeros(reward.shape, bool), 1.0
    )
    np.testing.assert_allclose(advantage, returns - value[:-1], atol=1e-5)


def test_lambda_returns_by_hand():
    # The advantages by hand, and the values.
    returns = ops.lambda_returns(REWARD, DISCOUNT, VALUE, CUT, 0.5)
    np.testing.assert_array_equal(live(returns), [2.5, 2, 9.25, 13, 23])


def slow_gae(reward, discount, value, cut, lambda_):
    """Each estimate as a sum over the rest of its episode."""
    steps, num_envs = reward.shape
    advantage = np.zeros(reward.shape)
    for env in range(num_envs):
        for start in range(steps):
            weight = 1.0
            for t in range(start, steps):
                after = discount[t, env] * value[t + 1, env]
                delta = reward[t, env] + after - value[t, env]
                advantage[start, env] += weight * delta
                if cut[t, env]:
                    break
                weight *= lambda_ * discount[t, env]
    return advantage


@pytest.mark.parametrize("lambda_", [0.0, 0.95, 1.0])
@pytest.mark.parametrize("steps", LENGTHS)
def test_gae_as_a_loop(steps, lambda_):
    rows = rollout(steps, seed=steps)
    advantage = ops.gae(**rows, lambda_=lambda_)
    wanted = slow_gae(**rows, lambda_=lambda_)
    np.testing.assert_allclose(advantage, wanted, rtol=1e-4, atol=1e-5)
    returns = ops.lambda_returns(**rows, lambda_=lambda_)
    np.testing.assert_allclose(
        returns, wanted + rows["value"][:-1], rtol=1e-4, atol=1e-5
    )


def test_gae_in_a_graph():
    rows = rollout(7)
    compiled = tf.function(ops.gae)(**rows, lambda_=0.9)
    np.testing.assert_allclose(compiled, ops.gae(**rows, lambda_=0.9), 1e-5)


def test_what_follows_a_cut_does_not_matter():
    rows = rollout(6)
    rows["cut"][2] = True
    before = np.array(ops.gae(**rows, lambda_=0.9))
    # Of row 3 only the observation, where row 2 bootstraps, may matter.
    rows["reward"][3:] += 100
    rows["value"][4:] -= 100
    after = np.array(ops.gae(**rows, lambda_=0.9))
    np.testing.assert_array_equal(after[:3], before[:3])
    assert not np.isclose(after[3:], before[3:]).any()


# q_lambda_returns


def test_q_lambda_returns_by_hand():
    # Row 6: 16 + 14/2 = 23. Row 4: 8 + 10/2 = 13, where it was truncated.
    # Row 3: 4 + (13/2 + 8/2) / 2 = 9.25. Row 1: 2, where it terminated.
    # Row 0: 1 + (2/2 + 4/2) / 2 = 2.5.
    q_values = tf.stack([VALUE - 9, VALUE, VALUE - 1], axis=-1)
    returns = ops.q_lambda_returns(REWARD, DISCOUNT, q_values, CUT, 0.5)
    np.testing.assert_array_equal(live(returns), [2.5, 2, 9.25, 13, 23])


@pytest.mark.parametrize("lambda_", [0.0, 0.65, 1.0])
def test_q_lambda_returns_as_the_paper_has_them(lambda_):
    rows = rollout(12, seed=3)
    rng = np.random.default_rng(4)
    q_values = rng.normal(size=(13, 3, 4)).astype("f4")
    reward, discount, cut = (rows[k] for k in ("reward", "discount", "cut"))
    best = q_values.max(-1)
    wanted = np.zeros((12, 3))
    for env in range(3):
        after = best[12, env]
        for t in reversed(range(12)):
            if cut[t, env]:  # The return of the next row is another episode's.
                after = best[t + 1, env]
            mixed = lambda_ * after + (1 - lambda_) * best[t + 1, env]
            after = reward[t, env] + discount[t, env] * mixed
            wanted[t, env] = after
    returns = ops.q_lambda_returns(reward, discount, q_values, cut, lambda_)
    np.testing.assert_allclose(returns, wanted, rtol=1e-4, atol=1e-5)


def test_q_lambda_returns_needs_values_of_actions():
    with pytest.raises(ValueError, match="`q_values` must have"):
        ops.q_lambda_returns(REWARD, DISCOUNT, VALUE, CUT, 0.5)


# running_returns


def test_running_returns_by_hand():
    # 1 + 6/2 = 4; 2 + 4/2 = 4, and an end; 4 anew; 8 + 4/2 = 10.
    sums, after = ops.running_returns(
        column(1, 2, 4, 8), flags("0100"), 0.5, tf.constant([6.0])
    )
    np.testing.assert_array_equal(sums, [[4], [4], [4], [10]])
    np.testing.assert_array_equal(after, [10])


def test_an_end_in_the_last_row_carries_nothing():
    sums, after = ops.running_returns(
        column(1, 2), flags("01"), 0.5, tf.constant([0.0])
    )
    np.testing.assert_array_equal(sums, [[1], [2.5]])
    np.testing.assert_array_equal(after, [0])


@pytest.mark.parametrize("steps", LENGTHS)
def test_running_returns_as_a_loop(steps):
    rows = rollout(steps, seed=steps)
    before = np.array([1.0, -2.0, 0.0], "f4")
    wanted, so_far = np.zeros((steps, 3)), before
    for t in range(steps):
        wanted[t] = rows["reward"][t] + 0.9 * so_far
        so_far = np.where(rows["cut"][t], 0, wanted[t])
    sums, after = ops.running_returns(
        tf.constant(rows["reward"]), tf.constant(rows["cut"]), 0.9, before
    )
    np.testing.assert_allclose(sums, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after, so_far, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", [1, 4, 9])
@pytest.mark.parametrize("ends", [False, True])
def test_two_calls_are_one(first, ends):
    rows = rollout(10)
    reward, cut = rows["reward"], rows["cut"]
    cut[first - 1] = ends
    nothing = tf.zeros(3)
    whole, last = ops.running_returns(reward, cut, 0.9, nothing)
    begun, carried = ops.running_returns(
        reward[:first], cut[:first], 0.9, nothing
    )
    rest, after = ops.running_returns(reward[first:], cut[first:], 0.9, carried)
    np.testing.assert_allclose(
        np.concatenate([begun, rest]), whole, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(after, last, rtol=1e-5, atol=1e-6)


# Ranks


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (ops.discounted_returns, "reward"),
        (ops.discounted_returns, "discount"),
        (ops.discounted_returns, "bootstrap"),
        (ops.gae, "reward"),
        (ops.gae, "discount"),
        (ops.gae, "value"),
        (ops.gae, "cut"),
        (ops.lambda_returns, "value"),
        (ops.running_returns, "reward"),
        (ops.running_returns, "cut"),
    ],
)
def test_ranks_are_checked(function, name):
    rows = {key: tf.constant(value) for key, value in rollout(4).items()}
    arguments = {
        ops.discounted_returns: {"bootstrap": tf.zeros(3)},
        ops.running_returns: {"gamma": 0.9, "before": tf.zeros(3)},
    }.get(function, {"lambda_": 0.9})
    wanted = {
        ops.discounted_returns: ("reward", "discount"),
        ops.running_returns: ("reward", "cut"),
    }.get(function, rows)
    arguments.update({key: rows[key] for key in wanted})
    arguments[name] = arguments[name][..., None]
    with pytest.raises(ValueError, match=f"`{name}` must have"):
        function(**arguments)
