"""Rewards of goals that were or were not reached."""

import keras

from keras_rl2x.ops.checks import assert_rank


def sparse_goal_reward(achieved_goal, desired_goal, threshold=0.05):
    """0 where the goal is reached, else -1: `r = -[|a - d| > threshold]`.

    Args:
        achieved_goal: Tensor `[B, G]`, of any dtype.
        desired_goal: Tensor `[B, G]`.
        threshold: Float, the Euclidean distance up to which a goal counts as
            reached. Defaults to 0.05, which is that of the Fetch robots; for
            whole numbers, it asks for equality.

    Returns:
        Tensor `[B]`.

    Reference:
     - [Plappert et al., 2018](https://arxiv.org/abs/1802.09464), section 1
    """
    assert_rank(2, achieved_goal=achieved_goal, desired_goal=desired_goal)
    # Cast first: unsigned integers have no negative difference.
    difference = keras.ops.cast(achieved_goal, "float32") - keras.ops.cast(
        desired_goal, "float32"
    )
    distance = keras.ops.norm(difference, axis=-1)
    return keras.ops.cast(distance <= threshold, "float32") - 1
