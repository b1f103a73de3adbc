"""CrossQ. Data only; see `keras_rl2x.presets`.

They begin from the paper's, but its critics have 2,048 units: on one core an
update takes 12 ms with 256, 31 with 512 and 96 with 1,024 (of SAC 8).
Pendulum-v1 was tried here, and HalfCheetah-v5 for 60,000 steps, where these
critics earn what SAC earns after three times as many.
"""

from keras_rl2x.presets import sac

AGENT = "CrossQ"

_ADAM = {
    "kind": "adam",
    "learning_rate": 1e-3,
    "beta_1": 0.5,
    "epsilon": 1e-7,
    "global_clipnorm": None,
}

DEFAULT = {
    **{key: sac.DEFAULT[key] for key in sac.DEFAULT if key != "target"},
    "network": {
        **sac.DEFAULT["network"],
        "critic_units": (256, 256),
        "normalization": "batch_renormalization",
    },
    "agent": {**sac.DEFAULT["agent"], "actor_every": 3},
    "optimizer": _ADAM,
    "actor_optimizer": _ADAM,
    "temperature_optimizer": {**_ADAM, "beta_1": 0.9},
}

# Of SAC's, what belongs to the environment, the score included.
_OWN = ("network", "optimizer", "actor_optimizer", "target")

ENVS = {
    **{
        env: {key: preset[key] for key in preset if key not in _OWN}
        for env, preset in sac.ENVS.items()
    },
    "Pendulum-v1": {
        "env_steps": 20_000,
        "score": -155.0,
        "replay": {"capacity": 20_000},
        "collect": {"warmup": 1_000},
    },
}
