"""Backbones, heads and target networks: Keras models and their builders."""

from keras_rl2x.networks.backbones import inputs
from keras_rl2x.networks.backbones import mlp
from keras_rl2x.networks.backbones import nature_cnn
from keras_rl2x.networks.functional import as_functional
from keras_rl2x.networks.heads import action_values
from keras_rl2x.networks.target import Target
from keras_rl2x.networks.target import track

__all__ = [
    "Target",
    "action_values",
    "as_functional",
    "inputs",
    "mlp",
    "nature_cnn",
    "track",
]
