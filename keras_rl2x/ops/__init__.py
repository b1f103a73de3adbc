"""The mathematics of reinforcement learning: pure functions of tensors."""

from keras_rl2x.ops.categorical import categorical_kl
from keras_rl2x.ops.categorical import categorical_mean
from keras_rl2x.ops.categorical import categorical_support
from keras_rl2x.ops.categorical import categorical_target
from keras_rl2x.ops.distributions import Bernoulli
from keras_rl2x.ops.distributions import Categorical
from keras_rl2x.ops.distributions import DiagonalGaussian
from keras_rl2x.ops.distributions import MultiCategorical
from keras_rl2x.ops.distributions import SquashedGaussian
from keras_rl2x.ops.distributions import distribution
from keras_rl2x.ops.goals import sparse_goal_reward
from keras_rl2x.ops.policy_gradient import approximate_kl
from keras_rl2x.ops.policy_gradient import clipped_surrogate
from keras_rl2x.ops.policy_gradient import clipped_value_error
from keras_rl2x.ops.policy_gradient import importance_ratio
from keras_rl2x.ops.policy_gradient import live_mean
from keras_rl2x.ops.policy_gradient import normalize
from keras_rl2x.ops.policy_gradient import score_function
from keras_rl2x.ops.quantile import quantile_huber
from keras_rl2x.ops.quantile import quantile_midpoints
from keras_rl2x.ops.quantile import quantile_target
from keras_rl2x.ops.quantile import truncated_mixture
from keras_rl2x.ops.returns import discounted_returns
from keras_rl2x.ops.returns import gae
from keras_rl2x.ops.returns import lambda_returns
from keras_rl2x.ops.returns import running_returns
from keras_rl2x.ops.trust_region import conjugate_gradient
from keras_rl2x.ops.value import double_q_target
from keras_rl2x.ops.value import huber
from keras_rl2x.ops.value import munchausen_bonus
from keras_rl2x.ops.value import n_step_return
from keras_rl2x.ops.value import q_target
from keras_rl2x.ops.value import soft_value
from keras_rl2x.ops.value import squared
from keras_rl2x.ops.value import take
from keras_rl2x.ops.value import take_vector
from keras_rl2x.ops.value import td_target
from keras_rl2x.ops.value import weighted_mean

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiagonalGaussian",
    "MultiCategorical",
    "SquashedGaussian",
    "approximate_kl",
    "categorical_kl",
    "categorical_mean",
    "categorical_support",
    "categorical_target",
    "clipped_surrogate",
    "clipped_value_error",
    "conjugate_gradient",
    "discounted_returns",
    "distribution",
    "double_q_target",
    "gae",
    "huber",
    "importance_ratio",
    "lambda_returns",
    "live_mean",
    "munchausen_bonus",
    "n_step_return",
    "normalize",
    "q_target",
    "quantile_huber",
    "quantile_midpoints",
    "quantile_target",
    "running_returns",
    "score_function",
    "soft_value",
    "sparse_goal_reward",
    "squared",
    "take",
    "take_vector",
    "td_target",
    "truncated_mixture",
    "weighted_mean",
]
