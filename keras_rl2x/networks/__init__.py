"""Backbones, heads and target networks: Keras models and their builders."""

from keras_rl2x.networks.backbones import mlp
from keras_rl2x.networks.batch_renormalization import BatchRenormalization
from keras_rl2x.networks.convolutional import impala_cnn
from keras_rl2x.networks.convolutional import minatar_cnn
from keras_rl2x.networks.convolutional import nature_cnn
from keras_rl2x.networks.convolutional import nips_cnn
from keras_rl2x.networks.distributional import CategoricalMean
from keras_rl2x.networks.distributional import action_distributions
from keras_rl2x.networks.encoders import inputs
from keras_rl2x.networks.functional import as_functional
from keras_rl2x.networks.heads import action_logits
from keras_rl2x.networks.heads import actor_critic
from keras_rl2x.networks.heads import critic_value
from keras_rl2x.networks.heads import real_actions
from keras_rl2x.networks.implicit import CosineEmbedding
from keras_rl2x.networks.implicit import Midpoints
from keras_rl2x.networks.implicit import implicit_distributions
from keras_rl2x.networks.memory import lstm
from keras_rl2x.networks.memory import memory_size
from keras_rl2x.networks.memory import observation_input
from keras_rl2x.networks.memory import unroll
from keras_rl2x.networks.memory import with_memory
from keras_rl2x.networks.noisy import NoisyDense
from keras_rl2x.networks.noisy import noise_variables
from keras_rl2x.networks.noisy import resample_noise
from keras_rl2x.networks.noisy import without_noise
from keras_rl2x.networks.normalization import RewardScale
from keras_rl2x.networks.normalization import RunningNormalization
from keras_rl2x.networks.normalization import update_statistics
from keras_rl2x.networks.target import Target
from keras_rl2x.networks.target import track
from keras_rl2x.networks.value_heads import action_values

__all__ = [
    "BatchRenormalization",
    "CategoricalMean",
    "NoisyDense",
    "CosineEmbedding",
    "Midpoints",
    "RewardScale",
    "RunningNormalization",
    "Target",
    "action_distributions",
    "action_logits",
    "action_values",
    "actor_critic",
    "as_functional",
    "critic_value",
    "impala_cnn",
    "implicit_distributions",
    "inputs",
    "lstm",
    "memory_size",
    "minatar_cnn",
    "mlp",
    "nature_cnn",
    "nips_cnn",
    "noise_variables",
    "observation_input",
    "real_actions",
    "resample_noise",
    "track",
    "unroll",
    "update_statistics",
    "with_memory",
    "without_noise",
]
