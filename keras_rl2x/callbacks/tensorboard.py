"""Learning curves against environment steps, and the HParams tab."""

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from keras_rl2x.callbacks import events


class TensorBoard(keras.callbacks.Callback):
    """Writes the logs of every epoch for TensorBoard.

    The horizontal axis is the number of environment steps, in which agents
    and settings can be compared; `keras.callbacks.TensorBoard`, which also
    works, counts epochs. Stands after the callbacks that write logs.

    Args:
        log_dir: String, where the events go.
        settings: Dict of hyper-parameters for the HParams tab, nested or
            not. Defaults to what the agent's and the optimizer's
            configurations hold.
    """

    reads_all_logs = True

    def __init__(self, log_dir, settings=None):
        super().__init__()
        self.log_dir = str(log_dir)
        self.settings = settings
        self._writer = None

    def on_train_begin(self, logs=None):
        self._writer = tf.summary.create_file_writer(self.log_dir)
        settings = self.settings or {
            "agent": self.model.get_config(),
            "optimizer": self.model.optimizer.get_config(),
        }
        with events.written(self._writer, 0):
            hparams.hparams(dict(_flatten(settings)))

    def on_epoch_end(self, epoch, logs=None):
        step = int(self.model.env_steps.numpy())
        with events.written(self._writer, step):
            for name, value in logs.items():
                if name != "env_steps":
                    tf.summary.scalar(name, value)
            rate = self.model.optimizer.learning_rate
            tf.summary.scalar("learning_rate", rate)
            for name, value in self.model.exploration().items():
                tf.summary.scalar(name, value)

    def on_fit_exit(self):
        if self._writer is not None:
            events.close(self._writer)
            self._writer = None


def _flatten(settings, prefix=""):
    """Pairs `("agent.double", True)`; what HParams cannot show as text."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (bool, int, float, str)):
            yield f"{prefix}{key}", value
        elif isinstance(value, np.number):
            yield f"{prefix}{key}", value.item()
        elif value is not None:
            yield f"{prefix}{key}", str(value)
