"""DDPG. Data only; see `keras_rl2x.presets`.

They begin from the field's presets. Only Pendulum-v1 was tried here.
"""

from keras_rl2x.presets import td3

AGENT = "DDPG"

DEFAULT = {
    **td3.DEFAULT,
    "network": {**td3.DEFAULT["network"], "critics": 1},
    "agent": {"noise": 0.1, "noise_correlation": 0.0},
    "target": {"every": 1, "tau": 0.005},
}

# What the field has reached with DDPG; its presets of it are those of TD3, but
# for the targets, which move half as often there.
_SCORES = {
    "LunarLanderContinuous-v3": 230.0,
    "BipedalWalker-v3": 197.0,
    "HalfCheetah-v5": 8_600.0,
    "Hopper-v5": 1_200.0,
    "Walker2d-v5": 1_200.0,
    "Ant-v5": 990.0,
}

ENVS = {
    env: {
        **{name: of for name, of in preset.items() if name != "target"},
        "score": _SCORES.get(env, preset["score"]),
    }
    for env, preset in td3.ENVS.items()
}
