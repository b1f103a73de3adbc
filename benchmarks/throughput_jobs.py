"""The jobs of `throughput.py`."""

# A job is plain data: what both sides share, and for each side what it has
# otherwise, or only it has a word for. A new job is a new entry here, and a new
# algorithm one more function in each of the two sides.
JOBS = {
    "dqn-cartpole": {
        "algorithm": "dqn",
        "env": "CartPole-v1",
        "env_steps": 40_960,
        "warmup": 1_000,
        "units": (256, 256),
        "activation": "relu",
        "batch_size": 64,
        "learning_rate": 2.3e-3,
        "clip_norm": 10.0,
        "gamma": 0.99,
        "epsilon": 0.05,
        "capacity": 100_000,
        "env_steps_per_update": 2,
        "updates_per_target_update": 128,
        "ours": {"chunk": 128, "overlap": True},
        "sb3": {"train_freq": 256},
    },
    "dqn-lunarlander": {
        "algorithm": "dqn",
        "env": "LunarLander-v3",
        "env_steps": 20_480,
        "warmup": 1_000,
        "units": (256, 256),
        "activation": "relu",
        "batch_size": 128,
        "learning_rate": 6.3e-4,
        "clip_norm": 10.0,
        "gamma": 0.99,
        "epsilon": 0.05,
        "capacity": 50_000,
        "env_steps_per_update": 1,
        "updates_per_target_update": 250,
        # The job is one update per step; how many come at once is not.
        "ours": {"chunk": 64, "overlap": True},
        "sb3": {"train_freq": 4},
    },
    "ppo-cartpole": {
        "algorithm": "ppo",
        "env": "CartPole-v1",
        "num_envs": 8,
        "env_steps": 102_400,
        "warmup": 0,
        "units": (64, 64),
        "activation": "tanh",
        "batch_size": 256,
        "learning_rate": 1e-3,
        "clip_norm": 0.5,
        "gamma": 0.98,
        "lambda": 0.8,
        "steps": 32,
        "passes": 20,
        "normalize": False,
        "env_steps_per_update": 12.8,
        "ours": {"onednn": False},
        "sb3": {},
    },
    "a2c-cartpole": {
        "algorithm": "a2c",
        "env": "CartPole-v1",
        "num_envs": 8,
        "env_steps": 204_800,
        "warmup": 0,
        "units": (64, 64),
        "activation": "tanh",
        "batch_size": 40,
        "learning_rate": 7e-4,
        "clip_norm": 0.5,
        "gamma": 0.99,
        "lambda": 1.0,
        "steps": 5,
        "passes": 1,
        "normalize": False,
        "env_steps_per_update": 40,
        "ours": {"onednn": False},
        "sb3": {},
    },
    "ppo-halfcheetah": {
        "algorithm": "ppo",
        "env": "HalfCheetah-v5",
        "num_envs": 1,
        "env_steps": 20_480,
        "warmup": 0,
        "units": (256, 256),
        "activation": "relu",
        "batch_size": 64,
        "learning_rate": 2e-5,
        "clip_norm": 0.8,
        "gamma": 0.98,
        "lambda": 0.92,
        "steps": 512,
        "passes": 20,
        "normalize": True,
        "env_steps_per_update": 3.2,
        "ours": {},
        "sb3": {},
    },
}

JOBS["sac-halfcheetah"] = {
    "algorithm": "sac",
    "env": "HalfCheetah-v5",
    "env_steps": 6_144,
    "warmup": 1_000,
    "units": (256, 256),
    "activation": "relu",
    "batch_size": 256,
    "learning_rate": 3e-4,
    "gamma": 0.99,
    "tau": 0.005,
    "capacity": 1_000_000,
    "env_steps_per_update": 1,
    "ours": {"chunk": 16, "overlap": True},
    "sb3": {"train_freq": 1},
}
JOBS["td3-halfcheetah"] = {
    **JOBS["sac-halfcheetah"],
    "algorithm": "td3",
    "learning_rate": 1e-3,
    "noise": 0.1,
}

# Atari, as the literature has it: a step of the agent is four frames. The
# policy and the value share the network.
JOBS["ppo-pong"] = {
    "algorithm": "ppo",
    "env": "ALE/Pong-v5",
    "num_envs": 8,
    "env_steps": 8_192,
    "warmup": 0,
    "network": "nature_cnn",
    "batch_size": 256,
    "learning_rate": 2.5e-4,
    "clip_norm": 0.5,
    "gamma": 0.99,
    "lambda": 0.95,
    "steps": 128,
    "passes": 4,
    "normalize": False,
    "env_steps_per_update": 64,
    "ours": {},
    "sb3": {"env": "ale_py:PongNoFrameskip-v4"},
}
JOBS["dqn-pong"] = {
    "algorithm": "dqn",
    "env": "ALE/Pong-v5",
    "env_steps": 4_096,
    "warmup": 1_000,
    "network": "nature_cnn",
    "batch_size": 32,
    "learning_rate": 1e-4,
    "clip_norm": 10.0,
    "gamma": 0.99,
    "epsilon": 0.01,
    "capacity": 20_000,
    "env_steps_per_update": 4,
    "updates_per_target_update": 1_000,
    "ours": {"num_envs": 8, "chunk": 16, "overlap": True},
    "sb3": {"env": "ale_py:PongNoFrameskip-v4", "train_freq": 4},
}
# Another algorithm than theirs, for the same end: what is compared is how soon
# as many steps are learned from.
JOBS["pqn-pong"] = {
    **JOBS["ppo-pong"],
    "algorithm": "pqn",
    "num_envs": 32,
    "batch_size": 128,
    "clip_norm": 10.0,
    "lambda": 0.65,
    "steps": 32,
    "passes": 2,
    "sb3": {
        **JOBS["ppo-pong"]["sb3"],
        **{
            name: JOBS["ppo-pong"][name]
            for name in (
                *("algorithm", "num_envs", "batch_size", "clip_norm"),
                *("lambda", "steps", "passes"),
            )
        },
    },
}
# With the network of its preset, that learns Pong too; theirs stays as it is.
JOBS["pqn-pong-nips"] = {
    **JOBS["pqn-pong"],
    "network": "nips_cnn",
    "sb3": {
        **JOBS["pqn-pong"]["sb3"],
        "network": JOBS["ppo-pong"]["network"],
    },
}
for _name in ("ppo-pong", "pqn-pong", "dqn-pong"):
    _job = JOBS[_name]
    _ours = {**_job["ours"], "dtype": "mixed_bfloat16"}
    JOBS[f"{_name}-bfloat16"] = {**_job, "ours": _ours}
