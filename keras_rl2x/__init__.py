"""Keras-native reinforcement learning: `model.fit` is the training loop.

Submodules load when first used, so that an actor process can import
`keras_rl2x.acting.host` without paying for TensorFlow.
"""

import importlib
import sys

__version__ = "0.1.0"

_SUBMODULES = (
    "acting",
    "agents",
    "callbacks",
    "data",
    "envs",
    "networks",
    "ops",
    "presets",
    "spaces",
)
_FUNCTIONS = {
    "evaluate": "keras_rl2x.training",
    "load": "keras_rl2x.training",
    "train": "keras_rl2x.training",
}

__all__ = [*_SUBMODULES, *_FUNCTIONS]


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module(f"keras_rl2x.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'keras_rl2x' has no attribute {name!r}")


def __dir__():
    return [*__all__, "__version__"]


# `keras.saving.load_model` finds only classes that are registered: where
# Keras is loaded already, so are the agents.
if "keras" in sys.modules:
    importlib.import_module("keras_rl2x.agents")
