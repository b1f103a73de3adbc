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

# Where the field has presets of DDPG, they are those of TD3.
ENVS = {
    "Pendulum-v1": td3.ENVS["Pendulum-v1"],
    "MountainCarContinuous-v0": td3.ENVS["MountainCarContinuous-v0"],
    "LunarLanderContinuous-v3": td3.ENVS["LunarLanderContinuous-v3"]
    | {"score": 230.0},
    "BipedalWalker-v3": td3.ENVS["BipedalWalker-v3"] | {"score": 197.0},
}
