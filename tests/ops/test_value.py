import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import ops
from keras_rl2x.spaces import MASKED


def f32(*values):
    return tf.constant(values, tf.float32)


def gradients(function, *inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(*inputs)
    return tape.gradient(output, inputs)


# take


def test_take_picks_one_entry_of_each_row():
    values = f32([1, 2, 3], [4, 5, 6])
    # Row 0, column 2; row 1, column 0.
    np.testing.assert_array_equal(ops.take(values, tf.constant([2, 0])), [3, 4])


@pytest.mark.parametrize(
    ("values", "index", "name"),
    [((2,), (2,), "values"), ((2, 3), (2, 1), "index")],
)
def test_take_checks_ranks(values, index, name):
    with pytest.raises(ValueError, match=f"`{name}` must have"):
        ops.take(tf.zeros(values), tf.zeros(index, tf.int32))


def test_take_passes_gradients_to_what_was_taken():
    (gradient,) = gradients(
        lambda values: ops.take(values, tf.constant([1])), f32([5, 7])
    )
    np.testing.assert_array_equal(gradient, [[0, 1]])


def test_take_vector_picks_one_vector_of_each_row():
    values = f32([[1, 2], [3, 4]], [[5, 6], [7, 8]])
    taken, slope = (
        ops.take_vector(values, tf.constant([1, 0])),
        gradients(
            lambda values: ops.take_vector(values, tf.constant([1, 0])), values
        )[0],
    )
    np.testing.assert_array_equal(taken, [[3, 4], [5, 6]])
    np.testing.assert_array_equal(slope, [[[0, 0], [1, 1]], [[1, 1], [0, 0]]])


@pytest.mark.parametrize(
    ("values", "index", "name"),
    [((2, 3), (2,), "values"), ((2, 3, 4), (2, 1), "index")],
)
def test_take_vector_checks_ranks(values, index, name):
    with pytest.raises(ValueError, match=f"`{name}` must have"):
        ops.take_vector(tf.zeros(values), tf.zeros(index, tf.int32))


# n_step_return

GAMMA = 0.5


def fold(reward, terminated, ended, gamma=GAMMA):
    """The fold of one row of the batch."""
    outputs = ops.n_step_return(
        f32(reward), tf.constant([terminated]), tf.constant([ended]), gamma
    )
    return [float(output[0]) for output in outputs]


NO = [False, False, False]


def test_a_full_fold():
    # 1 + 2/2 + 4/4 = 3; bootstraps with (1/2)^3 after 3 steps.
    assert fold([1, 2, 4], NO, NO) == [3, 0.125, 3]


def test_termination_at_the_first_step():
    first = [True, False, False]
    # The reward 1 alone, and nothing to bootstrap from.
    assert fold([1, 2, 4], first, first) == [1, 0, 1]


def test_termination_in_the_middle():
    second = [False, True, False]
    # 1 + 2/2 = 2.
    assert fold([1, 2, 4], second, second) == [2, 0, 2]


def test_termination_at_the_last_step():
    third = [False, False, True]
    assert fold([1, 2, 4], third, third) == [3, 0, 3]


def test_truncation_bootstraps_from_where_it_cut():
    # 1 + 2/2 = 2, and (1/2)^2 of the final observation's value.
    assert fold([1, 2, 4], NO, [False, True, False]) == [2, 0.25, 2]


def test_the_newest_row_ends_a_fold_like_a_truncation():
    assert fold([1, 2, 4], NO, [True, False, False]) == [1, 0.5, 1]


def test_a_later_end_counts_for_nothing():
    # Truncated after 1 step: the terminations that follow are of other
    # episodes.
    truncated = [True, True, True]
    assert fold([1, 2, 4], [False, True, True], truncated) == [1, 0.5, 1]


@pytest.mark.parametrize("after", [np.inf, -np.inf, np.nan])
def test_what_follows_the_end_may_be_anything(after):
    ended = [True, False, False]
    assert fold([1, after, after], NO, ended) == [1, 0.5, 1]


def test_one_step():
    assert fold([3], [False], [True]) == [3, 0.5, 1]
    assert fold([3], [True], [True]) == [3, 0, 1]


def test_without_discounting():
    assert fold([1, 2, 4], NO, NO, gamma=1.0) == [7, 1, 3]


def test_only_the_present_counts_at_gamma_0():
    assert fold([1, 2, 4], NO, NO, gamma=0.0) == [1, 0, 3]


def test_rows_of_a_batch_do_not_mix():
    reward, discount, steps = ops.n_step_return(
        f32([1, 2], [10, 20], [100, 200]),
        tf.constant([[False, False], [True, False], [False, True]]),
        tf.constant([[False, False], [True, False], [False, True]]),
        GAMMA,
    )
    # 1 + 2/2; 10 alone; 100 + 200/2.
    np.testing.assert_array_equal(reward, [2, 10, 200])
    np.testing.assert_array_equal(discount, [0.25, 0, 0])
    np.testing.assert_array_equal(steps, [2, 1, 2])
    assert steps.dtype == tf.int32


@pytest.mark.parametrize("name", ["reward", "terminated", "ended"])
def test_n_step_return_checks_ranks(name):
    arguments = {
        "reward": tf.zeros((2, 3)),
        "terminated": tf.zeros((2, 3), bool),
        "ended": tf.zeros((2, 3), bool),
    }
    arguments[name] = arguments[name][0]
    with pytest.raises(ValueError, match=f"`{name}` must have 2 axes"):
        ops.n_step_return(**arguments, gamma=0.9)


# Targets

REWARD, DISCOUNT = f32(1, 2), f32(0.5, 0)
Q_NEXT = f32([4, 8], [16, 32])


def test_q_target():
    # 1 + 0.5 * max(4, 8) = 5; terminated: the reward 2 alone.
    target = ops.q_target(REWARD, DISCOUNT, Q_NEXT)
    np.testing.assert_array_equal(target, [5, 2])


def test_double_q_target():
    # The online network prefers action 0 in both: 1 + 0.5 * 4 = 3; 2.
    online = f32([1, 0], [1, 0])
    target = ops.double_q_target(REWARD, DISCOUNT, Q_NEXT, online)
    np.testing.assert_array_equal(target, [3, 2])


def test_targets_stop_gradients():
    assert gradients(ops.q_target, REWARD, DISCOUNT, Q_NEXT) == (None,) * 3
    assert (
        gradients(ops.double_q_target, REWARD, DISCOUNT, Q_NEXT, Q_NEXT)
        == (None,) * 4
    )


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (ops.q_target, ["reward", "discount", "q_next"]),
        (
            ops.double_q_target,
            ["reward", "discount", "q_next", "q_next_online"],
        ),
    ],
)
def test_targets_check_ranks(target, names):
    for wrong in names:
        arguments = {
            name: tf.zeros((2, 3) if "q" in name else (2,)) for name in names
        }
        arguments[wrong] = arguments[wrong][:, None]
        with pytest.raises(ValueError, match=f"`{wrong}` must have"):
            target(**arguments)


# soft_value


def test_soft_value_by_hand():
    # Probabilities 1/4 and 3/4: 0.25 * 2 + 0.75 * 6 = 5, entropy 0.5623.
    entropy = 0.25 * np.log(4) + 0.75 * np.log(4 / 3)
    logits = f32([np.log(1), np.log(3)])
    for temperature in (0.0, 0.5):
        value = ops.soft_value(f32([2, 6]), logits, temperature)
        np.testing.assert_allclose(
            value, [5 + temperature * entropy], rtol=1e-6
        )


def test_soft_value_does_not_count_masked_actions():
    values = f32([2, MASKED, 6])
    value, slope = (
        ops.soft_value(values, f32([0, MASKED, 0]), 1.0),
        gradients(
            lambda logits: ops.soft_value(values, logits, 1.0),
            f32([0, MASKED, 0]),
        ),
    )
    np.testing.assert_allclose(value, [4 + np.log(2)], rtol=1e-6)
    # p_i (q_i - log p_i - value): 1/2 (2 - 4) and 1/2 (6 - 4).
    np.testing.assert_allclose(slope[0], [[-1, 0, 1]], atol=1e-6)


def test_soft_value_is_greatest_at_the_softmax_of_the_values():
    values = f32([1, 2, 3])
    (slope,) = gradients(
        lambda logits: ops.soft_value(values, logits, 0.5), values / 0.5
    )
    np.testing.assert_allclose(slope, [[0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("wrong", ["q_values", "logits"])
def test_soft_value_checks_ranks(wrong):
    shapes = {"q_values": (2, 3), "logits": (2, 3), wrong: (2,)}
    with pytest.raises(ValueError, match=f"`{wrong}` must have"):
        ops.soft_value(
            **{k: tf.zeros(s) for k, s in shapes.items()}, temperature=1.0
        )


# munchausen_bonus


def test_bonus_by_hand():
    # Values 0 and 0.5 log 3 over 0.5: probabilities 1/4 and 3/4.
    q_values = 0.5 * f32([0, np.log(3)], [0, np.log(3)])
    bonus = ops.munchausen_bonus(q_values, tf.constant([0, 1]), 0.5, -1.0)
    np.testing.assert_allclose(
        bonus, [0.5 * np.log(1 / 4), 0.5 * np.log(3 / 4)], rtol=1e-6
    )


def test_bonus_is_clipped():
    # At so low a temperature it is what is lost to the best action.
    q_values = f32([0, 0.7], [0, 5], [0, 5], [MASKED, 5])
    bonus = ops.munchausen_bonus(q_values, tf.constant([0, 0, 1, 1]), 0.01, -1)
    np.testing.assert_allclose(bonus, [-0.7, -1, 0, 0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "name"),
    [(((2,), (2,)), "q_values"), (((2, 3), (2, 1)), "index")],
)
def test_bonus_checks_ranks(shapes, name):
    q_values, action = shapes
    with pytest.raises(ValueError, match=f"`{name}` must have"):
        ops.munchausen_bonus(
            tf.zeros(q_values), tf.zeros(action, tf.int32), 0.1, -1.0
        )


# Losses


def test_squared():
    # (-3)^2 / 2 = 4.5; the gradient is the error.
    np.testing.assert_array_equal(ops.squared(f32(-3, 0, 2)), [4.5, 0, 2])
    (gradient,) = gradients(ops.squared, f32(-3, 0, 2))
    np.testing.assert_array_equal(gradient, [-3, 0, 2])


def test_huber():
    # 0.5^2 / 2 = 0.125; 1/2 at 1; |-3| - 1/2 = 2.5.
    error = f32(0.5, 1, -3, 0)
    np.testing.assert_array_equal(ops.huber(error), [0.125, 0.5, 2.5, 0])


def test_huber_clips_the_gradient():
    (gradient,) = gradients(ops.huber, f32(0.5, -0.5, 3, -100, 0))
    np.testing.assert_array_equal(gradient, [0.5, -0.5, 1, -1, 0])


def test_weighted_mean_divides_by_the_size_of_the_batch():
    # (1 * 0.5 + 3 * 0.25) / 2 = 0.625, not / 0.75.
    assert float(ops.weighted_mean(f32(1, 3), f32(0.5, 0.25))) == 0.625


@pytest.mark.parametrize("wrong", ["values", "weight"])
def test_weighted_mean_checks_ranks(wrong):
    arguments = {"values": tf.zeros(2), "weight": tf.zeros(2)}
    arguments[wrong] = tf.zeros((2, 1))
    with pytest.raises(ValueError, match=f"`{wrong}` must have 1 axes"):
        ops.weighted_mean(**arguments)
