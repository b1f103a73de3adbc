"""Rainbow. Data only; see `keras_rl2x.presets`.

`agent` says what `agents.Rainbow` does, so that each part can be left out.
"""

from keras_rl2x.presets import atari
from keras_rl2x.presets import dqn

AGENT = "C51"

DEFAULT = {
    "env_steps": 100_000,
    "epochs": 20,
    "score": None,
    "threads": 1,
    "onednn": True,
    "env": {"num_envs": 1, "vectorization": "auto"},
    "network": {
        "kind": "auto",
        "units": (256, 256),
        "activation": "relu",
        "noisy": True,
    },
    "agent": {
        "double": True,
        "head": "dueling",
        "noisy": True,
        "epsilon": 0.0,
        "v_min": -10.0,
        "v_max": 10.0,
        "atoms": 51,
    },
    "optimizer": {
        "kind": "adam",
        "learning_rate": {"from": 1e-3, "to": 0.0, "over": 1.0},
        "epsilon": 1e-7,
        "global_clipnorm": 10.0,
    },
    "replay": {
        "prioritized": True,
        "capacity": 100_000,
        "gamma": 0.99,
        "n_step": 3,
        "clip_rewards": False,
        "batch_size": 64,
        "alpha": 0.5,
        "beta": {"from": 0.4, "to": 1.0, "over": 1.0},
    },
    "collect": {
        "env_steps_per_update": 1.0,
        "warmup": 1_000,
        "chunk": 16,
        "overlap": False,
        "where": "auto",
    },
    "target": {"every": 250, "tau": 1.0},
    "evaluate": {"episodes": 20},
}

ENVS = {
    **atari.games(
        {
            **dqn.ATARI,
            "agent": {},
            "optimizer": {"learning_rate": 6.25e-5, "epsilon": 1.5e-4},
            "replay": {
                "clip_rewards": True,
                "capacity": 100_000,
                "batch_size": 32,
            },
            "target": {"every": 2_000},
        }
    ),
    # A reward of 1 a step is worth at most 1 / (1 - gamma).
    "CartPole-v1": {
        "env_steps": 50_000,
        "score": 475.0,
        "agent": {"v_min": 0.0, "v_max": 100.0},
    },
}
