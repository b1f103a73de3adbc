"""QRDQN. Data only; see `keras_rl2x.presets`.

They begin from those of DQN. Bricks was tried here with five seeds, CartPole-v1
with one.
"""

from keras_rl2x.presets import atari
from keras_rl2x.presets import dqn

AGENT = "QRDQN"

DEFAULT = {
    **dqn.DEFAULT,
    "agent": {
        "quantiles": 200,
        "head": "q_values",
        "epsilon": dqn.DEFAULT["agent"]["epsilon"],
    },
}

_CARTPOLE = dqn.ENVS["CartPole-v1"]

ENVS = {
    **atari.games(dqn.ATARI_OF_SMALL_STEPS),
    "keras_rl2x/Bricks-v0": {**dqn.BRICKS, "agent": {"quantiles": 32}},
    "CartPole-v1": {
        **_CARTPOLE,
        "agent": {
            "quantiles": 32,
            "head": "dueling",
            "epsilon": _CARTPOLE["agent"]["epsilon"],
        },
    },
}
