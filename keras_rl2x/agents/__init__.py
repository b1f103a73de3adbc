"""The agents: one readable file each."""

from keras_rl2x.agents.a2c import A2C
from keras_rl2x.agents.actor_critic import ActorCritic
from keras_rl2x.agents.agent import Agent
from keras_rl2x.agents.c51 import C51
from keras_rl2x.agents.crossq import CrossQ
from keras_rl2x.agents.ddpg import DDPG
from keras_rl2x.agents.discrete_sac import DiscreteSAC
from keras_rl2x.agents.dqn import DQN
from keras_rl2x.agents.iqn import IQN
from keras_rl2x.agents.munchausen import Munchausen
from keras_rl2x.agents.ppo import PPO
from keras_rl2x.agents.pqn import PQN
from keras_rl2x.agents.qrdqn import QRDQN
from keras_rl2x.agents.rainbow import Rainbow
from keras_rl2x.agents.reinforce import REINFORCE
from keras_rl2x.agents.sac import SAC
from keras_rl2x.agents.td3 import TD3
from keras_rl2x.agents.tqc import TQC
from keras_rl2x.agents.trpo import TRPO

__all__ = [
    "A2C",
    "ActorCritic",
    "Agent",
    "C51",
    "CrossQ",
    "DDPG",
    "DQN",
    "DiscreteSAC",
    "IQN",
    "Munchausen",
    "PPO",
    "PQN",
    "QRDQN",
    "REINFORCE",
    "Rainbow",
    "SAC",
    "TD3",
    "TQC",
    "TRPO",
]
