"""Ends a rollout's passes once the policy has gone far enough."""

import tensorflow as tf

from keras_rl2x.callbacks.graph_callback import GraphCallback


class StopPasses(GraphCallback):
    """Skips the updates that are left of a rollout, once `kl` is too great.

    The agent must give `kl` to `finish`, as `PPO` does: an estimate of the
    divergence of the policy that acted from the present one.

    Args:
        rollout: The `data.Rollout` that `fit` draws from.
        kl: Float, the limit. Published code stops at 1.5 times a target of
            0.01 to 0.03.

    Raises:
        ValueError: If `kl` is not positive; from `fit`, if the agent gives
            none, or runs eagerly.

    Reference:
     - [Achiam, 2018](https://github.com/openai/spinningup), PPO's
       `target_kl`
    """

    def __init__(self, rollout, kl):
        super().__init__()
        if kl <= 0:
            raise ValueError(f"`kl` must be positive. Received: {kl=}")
        self.rollout = self.works_on = rollout
        self.kl = kl
        self._done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._updates = tf.Variable(1, dtype=tf.int64, trainable=False)
        self._stopped = tf.Variable(False, trainable=False)

    def on_train_begin(self, logs=None):
        if self.model.run_eagerly:
            raise ValueError(
                "`StopPasses` is compiled into the updates: compile the agent "
                "without `run_eagerly`."
            )
        self._done.assign(0)
        # Not a constant of the graph: the next `fit` may have other passes.
        self._updates.assign(self.rollout.updates or 1)

    def may_update(self, agent):
        first = (self._done.assign_add(1) - 1) % self._updates == 0
        return ~self._stopped.assign(self._stopped & ~first)

    def on_update(self, agent, batch, values):
        if "kl" not in values:
            raise ValueError(
                f"{type(agent).__name__} does not give `kl` to `finish`, by "
                "which `StopPasses` would stop: leave it out."
            )
        self._stopped.assign(values["kl"] > self.kl)
