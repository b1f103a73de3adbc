"""SAC. Data only; see `keras_rl2x.presets`.

They begin from the field's presets. Those of Pendulum-v1,
MountainCarContinuous-v0, LunarLanderContinuous-v3 and HalfCheetah-v5 were tried
here to the end, that of Hopper-v5 for 200,000 steps. With one thread
for an operation the critics are computed side by side: 3.1 ms an update on two
cores, with two 4.9. As one network of stacked matrices, critics of 256 x 256
units would take half as long again (0.9 ms, forward, back and step of 256 rows,
in the place of 0.6).
"""

AGENT = "SAC"

_ADAM = {
    "kind": "adam",
    "learning_rate": 3e-4,
    "epsilon": 1e-7,
    "global_clipnorm": None,
}

DEFAULT = {
    "env_steps": 1_000_000,
    "epochs": 20,
    "score": None,
    "threads": 1,
    "onednn": True,
    "env": {"num_envs": 1, "vectorization": "auto"},
    "network": {
        "kind": "auto",
        "units": (256, 256),
        "activation": "relu",
        "kernel_initializer": "glorot_uniform",
        "critics": 2,
    },
    "agent": {
        "target_entropy": None,
        "temperature": 1.0,
        "noise_correlation": 0.0,
    },
    "optimizer": _ADAM,
    "actor_optimizer": _ADAM,
    "temperature_optimizer": _ADAM,
    "replay": {
        "prioritized": False,
        "capacity": 1_000_000,
        "gamma": 0.99,
        "n_step": 1,
        "clip_rewards": False,
        "batch_size": 256,
        "alpha": 0.6,
        "beta": {"from": 0.4, "to": 1.0, "over": 1.0},
    },
    "collect": {
        "env_steps_per_update": 1.0,
        "warmup": 10_000,
        "chunk": 8,
        "overlap": False,
        "where": "auto",
    },
    "target": {"every": 1, "tau": 0.005},
    "evaluate": {"episodes": 10, "greedy": True},
}

_FAST = {"learning_rate": 1e-3}

_BIPEDAL = {"learning_rate": 7.3e-4}

_LANDING = {"learning_rate": {"from": 7.3e-4, "to": 0.0, "over": 1}}

ENVS = {
    "Pendulum-v1": {
        "env_steps": 20_000,
        "score": -155.0,
        "optimizer": _FAST,
        "actor_optimizer": _FAST,
        "temperature_optimizer": _FAST,
        "replay": {"capacity": 20_000},
        "collect": {"warmup": 100},
    },
    # The field's has state-dependent exploration where this has noise that
    # stays; a temperature that is not learnt has a rate of 0. With its gamma of
    # 0.9999 to stay and keep exploring is worth up to 0.1 log(2) / (1 - gamma),
    # or 690, the goal but 100: a seed unlearned to go there (94, then -34).
    "MountainCarContinuous-v0": {
        "env_steps": 50_000,
        "score": 93.0,
        "network": {"units": (64, 64)},
        "agent": {"temperature": 0.1, "noise_correlation": 0.97},
        "temperature_optimizer": {"learning_rate": 0.0},
        "replay": {"capacity": 50_000, "gamma": 0.99, "batch_size": 512},
        "collect": {"warmup": 0, "chunk": 32},
        "target": {"tau": 0.01},
    },
    "LunarLanderContinuous-v3": {
        "env_steps": 300_000,
        "score": 250.0,
        "network": {"units": (400, 300)},
        "optimizer": _LANDING,
        "actor_optimizer": _LANDING,
        "temperature_optimizer": _LANDING,
        # From single steps it learns slower: two seeds ended at 253 and 250.
        "replay": {"capacity": 300_000, "n_step": 3},
        "target": {"tau": 0.01},
    },
    # The field's has state-dependent exploration too.
    "BipedalWalker-v3": {
        "env_steps": 500_000,
        "score": 297.0,
        "network": {"units": (400, 300)},
        "optimizer": _BIPEDAL,
        "actor_optimizer": _BIPEDAL,
        "temperature_optimizer": _BIPEDAL,
        "replay": {"capacity": 300_000, "gamma": 0.98},
        "collect": {"chunk": 64},
        "target": {"tau": 0.02},
    },
    "HalfCheetah-v5": {"score": 9_500.0},
    "Hopper-v5": {"score": 2_300.0},
    "Walker2d-v5": {"score": 3_600.0},
    "Ant-v5": {"score": 4_600.0},
}
