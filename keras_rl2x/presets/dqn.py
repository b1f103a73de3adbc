"""DQN. Data only; see `keras_rl2x.presets`.

Three things make these presets steadier than the field's, on which one CartPole
seed in four or so fails:

- The squared loss. Where ends are rare, their errors are few and large: the
  Huber loss clips their gradients, the many small errors of bootstrapping
  outvote them, and Q grows without bound (1,600 on CartPole, where no return is
  worth more than 100).
- Returns over several steps and a target network that always moves a little,
  which carry rewards back sooner than a copy now and then.
- A learning rate that falls to 0: without it the last policy is whichever the
  noise left.
"""

DEFAULT = {
    "env_steps": 100_000,
    "epochs": 20,
    "score": None,
    "env": {"num_envs": 1, "vectorization": "sync"},
    "network": {
        "kind": "auto",
        "units": (256, 256),
        "activation": "relu",
        "kernel_initializer": "glorot_uniform",
    },
    "agent": {
        "double": True,
        "head": "q_values",
        "loss": "squared",
        "epsilon": {"from": 1.0, "to": 0.05, "over": 0.15},
    },
    "optimizer": {
        "learning_rate": {"from": 1e-3, "to": 0.0, "over": 1.0},
        "epsilon": 1e-7,
        "global_clipnorm": 100.0,
    },
    "replay": {
        "prioritized": False,
        "capacity": 100_000,
        "gamma": 0.99,
        "n_step": 3,
        "batch_size": 64,
        "alpha": 0.6,
        "beta": {"from": 0.4, "to": 1.0, "over": 1.0},
    },
    "collect": {
        "env_steps_per_update": 1.0,
        "warmup": 1_000,
        "chunk": 64,
        "overlap": False,
        "where": "auto",
    },
    "target": {"every": 1, "tau": 0.01},
    "evaluate": {"episodes": 20},
}

ENVS = {
    "CartPole-v1": {"env_steps": 50_000, "score": 475.0},
    "Acrobot-v1": {"score": -80.0},
    # The flag is found late, and seldom: longer returns tell of it sooner.
    "MountainCar-v0": {
        "env_steps": 120_000,
        "score": -115.0,
        "agent": {"epsilon": {"over": 0.2}},
        "replay": {"n_step": 10},
    },
    "LunarLander-v3": {"score": 195.0},
}
