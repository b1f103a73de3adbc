"""The mathematics of reinforcement learning: pure functions of tensors."""

from keras_rl2x.ops.value import double_q_target
from keras_rl2x.ops.value import huber
from keras_rl2x.ops.value import n_step_return
from keras_rl2x.ops.value import q_target
from keras_rl2x.ops.value import squared
from keras_rl2x.ops.value import take
from keras_rl2x.ops.value import weighted_mean

__all__ = [
    "double_q_target",
    "huber",
    "n_step_return",
    "q_target",
    "squared",
    "take",
    "weighted_mean",
]
