"""The agents: one readable file each."""

from keras_rl2x.agents.agent import Agent
from keras_rl2x.agents.dqn import DQN

__all__ = ["Agent", "DQN"]
