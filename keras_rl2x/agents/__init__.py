"""The agents: one readable file each.

What they log, each the mean over an epoch's updates:

- `loss`: what the compiled optimizer lowers. Of value learners, half the
  squared, the Huber or the quantile Huber error, or (C51, Rainbow) the
  divergence from the target, summed over critics; of PPO, A2C and their like
  `policy_loss + value_weight * value_loss - entropy_weight * entropy`.
- `q_value`: of the actions in the batch, by the first critic; `td_error`: its
  mean absolute error, and of C51 and Rainbow the divergence too.
- `policy_loss`: minus the (clipped) surrogate; `value_loss`, `baseline_loss`:
  the mean squared error, before its weight.
- `actor_loss`: minus the value of the actor's own actions, and minus
  `temperature * entropy` where there is a temperature.
- `entropy`: of the policy, in nats, for actions within [-1, 1];
  `temperature`: its weight.
- `kl`: how far the policy has moved, in nats, from the one that collected; if
  PPO's stays above 0.05, lower the learning rate or the passes. `clipped`: the
  fraction of samples whose ratio of probabilities is out of the clip's range.
- `improvement`, `step_size` (TRPO): of the surrogate; the fraction of the whole
  step that was taken, 0 if none was.
- `complete` (REINFORCE): the fraction of the steps whose episode ended in time.
- `bonus` (Munchausen): what was added to rewards.
"""

import keras

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

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_rl2x needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow "
        f"before Keras is imported. Received: {keras.backend.backend()!r}"
    )

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
