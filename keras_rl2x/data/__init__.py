"""Collected experience: streams of rows, and the datasets drawn from them."""

from keras_rl2x.data.hindsight import HindsightReplay
from keras_rl2x.data.prioritized import PrioritizedReplay
from keras_rl2x.data.recorded import add_episode
from keras_rl2x.data.replay import Replay
from keras_rl2x.data.rollout import Rollout
from keras_rl2x.data.stream import Stream

__all__ = [
    "HindsightReplay",
    "PrioritizedReplay",
    "Replay",
    "Rollout",
    "Stream",
    "add_episode",
]
