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

ENVS = {"Pendulum-v1": td3.ENVS["Pendulum-v1"]}
