"""Environments: Gymnasium's vector environments, checked and seeded."""

from keras_rl2x.envs import toy
from keras_rl2x.envs.make import ActionMask
from keras_rl2x.envs.make import Environments
from keras_rl2x.envs.make import make

__all__ = ["ActionMask", "Environments", "make", "toy"]
