"""Moves the target networks."""

import tensorflow as tf

from keras_rl2x import networks
from keras_rl2x.callbacks.graph_callback import GraphCallback


class TargetUpdate(GraphCallback):
    """Moves every target network of the agent towards its source.

    Args:
        every: Integer, the number of updates between two moves. Defaults to 1.
        tau: Float in (0, 1], how far to move: 1 copies (a hard update), less
            averages (Polyak). Defaults to 1.

    With both defaults the targets are never behind. DQN's presets copy every
    250 updates or so; SAC's average with `tau=0.005` after each.

    Raises:
        ValueError: If a number does not fit.

    Reference:
     - [Mnih et al., 2015](https://doi.org/10.1038/nature14236) (`every`)
     - [Lillicrap et al., 2016](https://arxiv.org/abs/1509.02971) (`tau`)
    """

    moves_targets = True

    def __init__(self, every=1, tau=1.0):
        super().__init__()
        if int(every) != every or every < 1:
            raise ValueError(
                f"`every` must be an integer >= 1. Received: {every=}"
            )
        if not 0 < tau <= 1:
            raise ValueError(f"`tau` must be in (0, 1]. Received: {tau=}")
        self.every = int(every)
        self.tau = tau

    def on_update(self, agent, batch, values):
        def move():
            for target, source in agent.targets:
                networks.track(target, source, self.tau)
            return True

        if self.every == 1:
            move()
        else:
            updates = tf.cast(agent.optimizer.iterations, "int64")
            tf.cond(updates % self.every == 0, move, lambda: False)
