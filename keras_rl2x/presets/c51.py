"""C51. Data only; see `keras_rl2x.presets`.

They begin from those of DQN. Bricks was tried here with five seeds, CartPole-v1
with one.
"""

from keras_rl2x.presets import atari
from keras_rl2x.presets import dqn

AGENT = "C51"

# The support is the paper's, for rewards that are clipped to 1.
DEFAULT = {
    **dqn.DEFAULT,
    "agent": {
        "v_min": -10.0,
        "v_max": 10.0,
        "atoms": 51,
        "double": True,
        "head": "q_values",
        "noisy": False,
        "epsilon": dqn.DEFAULT["agent"]["epsilon"],
    },
}

_CARTPOLE = dqn.ENVS["CartPole-v1"]

ENVS = {
    # The paper's learning rate and epsilon.
    **atari.games(
        {
            **dqn.ATARI,
            "optimizer": {"learning_rate": 2.5e-4, "epsilon": 0.01 / 32},
            "target": dqn.RARE_TARGETS,
        }
    ),
    "keras_rl2x/Bricks-v0": dqn.BRICKS,
    # The most that can be expected is 1 / (1 - gamma).
    "CartPole-v1": {
        **_CARTPOLE,
        "agent": {
            "v_min": 0.0,
            "v_max": 200.0,
            "head": "dueling",
            "epsilon": _CARTPOLE["agent"]["epsilon"],
        },
    },
}
