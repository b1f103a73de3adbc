import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import ops


def test_a_goal_is_reached_up_to_the_threshold():
    achieved = tf.constant([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [1.0, 1.0]])
    desired = tf.constant([[0.0, 0.0], [0.0, 0.0], [0.0, 0.1], [1.0, 1.03]])
    # At distances of 0, 5, less than 5, and 0.03.
    np.testing.assert_array_equal(
        ops.sparse_goal_reward(achieved, desired, threshold=5.0), [0, 0, 0, 0]
    )
    np.testing.assert_array_equal(
        ops.sparse_goal_reward(achieved, desired, threshold=4.95),
        [0, -1, 0, 0],
    )
    np.testing.assert_array_equal(
        ops.sparse_goal_reward(achieved, desired), [0, -1, -1, 0]
    )


def test_unsigned_goals_are_not_wrapped_around():
    achieved = tf.constant([[0, 1], [1, 1]], tf.uint8)
    desired = tf.constant([[1, 0], [1, 1]], tf.uint8)
    np.testing.assert_array_equal(
        ops.sparse_goal_reward(achieved, desired, threshold=2.0), [0, 0]
    )
    np.testing.assert_array_equal(
        ops.sparse_goal_reward(achieved, desired), [-1, 0]
    )


def test_ranks_are_checked():
    with pytest.raises(ValueError, match="`desired_goal` must have"):
        ops.sparse_goal_reward(tf.zeros([2, 3]), tf.zeros([3]))
