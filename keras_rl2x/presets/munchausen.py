"""Munchausen. Data only; see `keras_rl2x.presets`.

They begin from those of DQN. Bricks was tried here with five seeds.
"""

from keras_rl2x.presets import atari
from keras_rl2x.presets import dqn

AGENT = "Munchausen"

DEFAULT = {
    **dqn.DEFAULT,
    "agent": {
        "alpha": 0.9,
        "temperature": 0.03,
        "least_bonus": -1.0,
        "head": "q_values",
        "loss": "huber",
        "epsilon": dqn.DEFAULT["agent"]["epsilon"],
    },
}

ENVS = {
    **atari.games(dqn.ATARI_OF_SMALL_STEPS),
    # With 500, as the others have, one seed of five caught half of the balls: a
    # policy is paid for its own probability, and that is the target's, too.
    "keras_rl2x/Bricks-v0": {**dqn.BRICKS, "target": {"every": 200}},
    "CartPole-v1": dqn.ENVS["CartPole-v1"],
}
