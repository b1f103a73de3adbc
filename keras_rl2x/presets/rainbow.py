"""Rainbow. Data only; see `keras_rl2x.presets`.

`agent` says what `agents.Rainbow` does, so that each part can be left out. The
rest begins from DQN's, and so does the score on CartPole-v1: no run was
finished there yet. Bricks was tried with five seeds.
"""

from keras_rl2x.presets import atari
from keras_rl2x.presets import dqn

AGENT = "C51"

DEFAULT = {
    **dqn.DEFAULT,
    "network": {**dqn.DEFAULT["network"], "noisy": True},
    # The support is the paper's, for rewards that are clipped to 1.
    "agent": {
        "v_min": -10.0,
        "v_max": 10.0,
        "atoms": 51,
        "double": True,
        "head": "dueling",
        "noisy": True,
        "epsilon": 0.0,
    },
    "replay": {**dqn.DEFAULT["replay"], "prioritized": True, "alpha": 0.5},
}

ENVS = {
    **atari.games(
        {
            **dqn.ATARI,
            # The head begins with the dense layers, noisy ones.
            "network": {"units": None, "noisy": False},
            "agent": {},
            "optimizer": {"learning_rate": 6.25e-5, "epsilon": 1.5e-4},
            "replay": {**dqn.ATARI["replay"], "n_step": 3},
            "target": dqn.RARE_TARGETS,
        }
    ),
    "keras_rl2x/Bricks-v0": {
        **dqn.BRICKS,
        "replay": {**dqn.BRICKS["replay"], "n_step": 3},
    },
    # The most that can be expected is 1 / (1 - gamma).
    "CartPole-v1": {
        "env_steps": 50_000,
        "score": 475.0,
        "agent": {"v_min": 0.0, "v_max": 100.0},
        "replay": {"batch_size": 64},
    },
}
