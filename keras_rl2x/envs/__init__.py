"""Environments: Gymnasium's vector environments, checked and seeded."""

from keras_rl2x.envs import toy
from keras_rl2x.envs.action_mask import ActionMask
from keras_rl2x.envs.environments import Environments
from keras_rl2x.envs.frames import EpisodicLife
from keras_rl2x.envs.frames import FrameStack
from keras_rl2x.envs.frames import episode_over
from keras_rl2x.envs.make import make
from keras_rl2x.envs.make_atari import atari

__all__ = [
    "ActionMask",
    "Environments",
    "EpisodicLife",
    "FrameStack",
    "atari",
    "episode_over",
    "make",
    "toy",
]
