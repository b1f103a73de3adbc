"""TD3. Data only; see `keras_rl2x.presets`.

They begin from the field's presets. Only Pendulum-v1 was tried here, and
HalfCheetah-v5 for 200,000 steps.
"""

from keras_rl2x.presets import sac

AGENT = "TD3"

_ADAM = {
    "kind": "adam",
    "learning_rate": 1e-3,
    "epsilon": 1e-7,
    "global_clipnorm": None,
}

DEFAULT = {
    **{key: sac.DEFAULT[key] for key in sac.DEFAULT if "optimizer" not in key},
    "agent": {
        "noise": 0.1,
        "noise_correlation": 0.0,
        "target_noise": 0.2,
        "target_noise_clip": 0.5,
        "actor_every": 2,
    },
    "optimizer": _ADAM,
    "actor_optimizer": _ADAM,
    "target": {"every": 2, "tau": 0.005},
}

_WIDE = {"units": (400, 300)}

ENVS = {
    "Pendulum-v1": {
        "env_steps": 20_000,
        "score": -155.0,
        "replay": {"capacity": 20_000, "gamma": 0.98},
        "collect": {"warmup": 1_000},
    },
    # The field's process steps by theta dt = 0.15 * 0.01 with sigma = 0.5.
    "MountainCarContinuous-v0": {
        "env_steps": 300_000,
        "score": 93.0,
        "network": _WIDE,
        "agent": {"noise": 0.91, "noise_correlation": 0.9985},
        "replay": {"capacity": 300_000},
        "collect": {"warmup": 100},
    },
    "LunarLanderContinuous-v3": {
        "env_steps": 300_000,
        "score": 207.0,
        "network": _WIDE,
        "replay": {"capacity": 200_000, "gamma": 0.98},
    },
    "BipedalWalker-v3": {
        "score": 300.0,
        "network": _WIDE,
        "replay": {"capacity": 200_000, "gamma": 0.98},
    },
    # Values grow over `1 / ((1 - gamma) * tau)` moves of the targets, that is
    # over 40,000 updates with 0.005, a fifth of what was tried.
    "HalfCheetah-v5": {
        "score": 9_500.0,
        "network": _WIDE,
        "target": {"tau": 0.01},
    },
    "Hopper-v5": {"score": 3_300.0, "network": _WIDE},
    "Walker2d-v5": {"score": 3_900.0, "network": _WIDE},
    "Ant-v5": {"score": 5_100.0, "network": _WIDE},
}
