"""TQC. Data only; see `keras_rl2x.presets`.

They begin from those of SAC, as the field's do. Only Pendulum-v1 was tried
here. The paper has five critics for MuJoCo, which take twice as long.
"""

from keras_rl2x.presets import sac

AGENT = "TQC"

DEFAULT = {
    **sac.DEFAULT,
    "agent": {
        **sac.DEFAULT["agent"],
        "quantiles": 25,
        "top_quantiles_to_drop": 2,
    },
}

# How many quantiles are dropped on MuJoCo is the paper's (table 3).
ENVS = {
    **sac.ENVS,
    "HalfCheetah-v5": {
        "score": 11_000.0,
        "agent": {"top_quantiles_to_drop": 0},
    },
    "Hopper-v5": {"score": 3_000.0, "agent": {"top_quantiles_to_drop": 5}},
    "Walker2d-v5": {"score": 4_000.0},
    "Ant-v5": {"score": 5_000.0},
}
