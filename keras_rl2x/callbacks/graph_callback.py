"""Callbacks that are compiled into the training step."""

import keras


class GraphCallback(keras.callbacks.Callback):
    """A Keras callback with two more methods, which run at every update.

    Keras calls `on_train_batch_end` once for each `steps_per_execution`
    updates; `on_update` is traced into the training step, and so runs after
    each of them, and `may_update` before. Agents call `on_update` at the end
    of `train_step`.

    Example:

    ```python
    class CountUpdates(keras_rl2x.callbacks.GraphCallback):
        def __init__(self):
            super().__init__()
            self.count = tf.Variable(0)

        def on_update(self, agent, batch, values):
            self.count.assign_add(1)
    ```
    """

    def may_update(self, agent):
        """Traced before `train_step`; whether this update is to be made.

        Args:
            agent: The `Agent`.

        Returns:
            Boolean scalar tensor, or `None` if it always is. Where one
            callback says no, the batch is dropped.
        """

    def on_update(self, agent, batch, values):
        """Traced at the end of `train_step`; runs after each update.

        Args:
            agent: The `Agent`; `agent.optimizer.iterations` counts this
                update already.
            batch: Dict of tensors, the batch of this update.
            values: Dict of tensors, what `train_step` gave to `finish`.
        """
        raise NotImplementedError
