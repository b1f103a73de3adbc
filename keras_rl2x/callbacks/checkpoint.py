"""Saves everything that a run consists of, and resumes it exactly."""

import os
import shutil
import signal
import threading
import warnings

import keras
import numpy as np

from keras_rl2x.callbacks import callback_states
from keras_rl2x.callbacks import progress
from keras_rl2x.data import state_files


class Checkpoint(keras.callbacks.Callback):
    """Saves the run at epochs' ends; `fit` goes on from where it was.

    If `directory` holds a checkpoint, `fit` restores it before the first
    update: the agent and all its optimizers, the replay, counters, generators
    and what `EarlyStopping` and its like have counted. Train N epochs, kill
    the process, and train again: the weights are, bit for bit, those of a run
    that was never killed.

    Environments cannot be saved: each checkpoint cuts their episodes (stored as
    truncated) and begins new ones, whether or not the run is interrupted, with
    a seed that depends on the run's seed and the checkpoint. The last epoch is
    always a checkpoint; so with `every` above 1, a run that goes on to more
    epochs may differ there from one that had them from the beginning.

    Ctrl-C ends the training after the present epoch, and saves; a second one
    ends it at once, and loses what came after the last checkpoint.

    A checkpoint is a folder of `.npy` files and one `state.json`, written
    aside and renamed when it is complete; the last two are kept. If the
    newest cannot be read, the one before is used, with a warning. If saving
    fails (a full disk), training goes on, with a warning, and the old
    checkpoints stay.

    It saves the state that other callbacks have at that moment: so it stands
    after `EarlyStopping` and `ReduceLROnPlateau`, and before
    `SwapEMAWeights`, which puts averages in place of the weights. A
    `ModelCheckpoint` stands before it, to remember the best return, or after
    `SwapEMAWeights`, to save the averages.

    Args:
        directory: String.
        every: Integer, the number of epochs between two checkpoints. Defaults
            to 1.

    Attributes:
        interrupted: Boolean, whether Ctrl-C ended the training.

    Raises:
        OSError: At the end of the training, if the last checkpoint could not
            be saved.
    """

    stands_after = (
        keras.callbacks.EarlyStopping,
        keras.callbacks.ReduceLROnPlateau,
    )
    stands_before = (keras.callbacks.SwapEMAWeights,)

    def __init__(self, directory, every=1):
        super().__init__()
        if int(every) != every or every < 1:
            raise ValueError(
                f"`every` must be an integer >= 1. Received: {every=}"
            )
        self.directory = str(directory)
        self.every = int(every)
        self._saved = None
        self._failed = None
        self._whole = True
        self._old_handler = None
        self.interrupted = False

    def on_train_begin(self, logs=None):
        self.interrupted = False
        self._failed = None
        os.makedirs(self.directory, exist_ok=True)  # Fails now, if it does.
        state = self.latest()
        if state is not None:
            # Not later: at an epoch's beginning, others change the agent (its
            # learning rate, say), and there may be no epoch left to begin.
            self.model.set_state(state["agent"])
            self.model._initial_epoch = state["epoch"]
            self._saved = state["callbacks"]
            epochs = self.params["epochs"]
            if self.params.get("verbose"):
                print(
                    f"Resumed from {self._path(state['epoch'])}: "
                    f"{state['epoch']} of {epochs} epochs are done."
                )
            # By a callback that is still there: else the run goes on.
            stopped = any(
                self._saved.get(name, {}).get("stopped_epoch")
                for name, _ in self._named_callbacks()
            )
            if stopped or state["epoch"] >= epochs:
                # No epoch begins: the run is over, as it was.
                self.model._initial_epoch = epochs
                self._restore_callbacks()
        self._catch_interrupts()

    def on_epoch_begin(self, epoch, logs=None):
        # Not earlier: stock callbacks forget everything in `on_train_begin`.
        self._restore_callbacks()

    def _restore_callbacks(self):
        saved, self._saved = self._saved, None
        for name, callback in self._named_callbacks() if saved else ():
            if name in saved:
                callback_states.put(callback, saved[name])
        # As at any epoch's beginning, where `Collect` has done so too early.
        progress.forget_nan(self.model.fit_callbacks)

    def on_train_batch_end(self, batch, logs=None):
        steps = self.params.get("steps")
        self._whole = steps is None or batch + 1 >= steps

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params["epochs"] or self.interrupted
        # One that was cut is trained anew: what is left of it would be missing.
        if self._whole and (last or (epoch + 1) % self.every == 0):
            self.save(epoch + 1)
        if self.interrupted:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self._failed is not None:
            raise self._failed

    def on_fit_exit(self):
        if self._old_handler is not None:
            signal.signal(signal.SIGINT, self._old_handler)
            self._old_handler = None

    def save(self, epoch):
        """Saves the run now.

        Args:
            epoch: Integer, the number of epochs that are complete.
        """
        callbacks = self._named_callbacks()
        for _, callback in callbacks:
            if hasattr(callback, "restart"):
                callback.restart()
        weights = self.model.get_state()
        if not all(np.isfinite(w).all() for w in weights.values()):
            warnings.warn(
                "The agent's weights are not finite: they are not saved over "
                f"the checkpoints in {self.directory}.",
                stacklevel=2,
            )
            return
        state = {
            "epoch": epoch,
            "agent": weights,
            "callbacks": {
                name: callback_states.get(name, callback)
                for name, callback in callbacks
            },
        }
        try:
            state_files.write(state, self._path(epoch))
            self._failed = None
        except OSError as error:
            why = f"No checkpoint could be saved into {self.directory}: {error}"
            self._failed = OSError(why)
            warnings.warn(
                f"{why}. The training goes on, and the checkpoints from before "
                "are intact; make room before the next one.",
                stacklevel=2,
            )
            return
        # Damaged ones of later epochs may be there, until they are trained.
        for number in [n for n in self._numbers() if n <= epoch][:-2]:
            shutil.rmtree(self._path(number), ignore_errors=True)

    def latest(self):
        """The newest checkpoint that can be read: a nested dict.

        Warns of each that cannot.

        Returns:
            What was saved, or `None` if nothing ever was.

        Raises:
            ValueError: If there are checkpoints, but none can be read.
        """
        numbers = self._numbers()
        for number in reversed(numbers):
            path = self._path(number)
            try:
                return state_files.read(path)
            except Exception as error:  # Damaged files raise what they like.
                why = f"{path} cannot be read: {error}"
                warnings.warn(f"The checkpoint {why}", stacklevel=2)
        if not numbers:
            return None
        raise ValueError(
            f"No checkpoint in {self.directory} can be read, and none was "
            "touched: bring one back from a copy, or begin in another folder. "
            f"Received: {why}"
        )

    def _numbers(self):
        """The epochs of the complete checkpoints, in order."""
        if not os.path.isdir(self.directory):
            return []
        return sorted(
            int(name.removeprefix("epoch_"))
            for name in os.listdir(self.directory)
            if name.startswith("epoch_") and name[6:].isdigit()
        )

    def _path(self, epoch):
        return os.path.join(self.directory, f"epoch_{epoch:06d}")

    def _named_callbacks(self):
        """Pairs of a name and a callback, for those that have a state."""
        counts, named = {}, []
        for callback in self.model.fit_callbacks:
            kind = type(callback).__name__
            counts[kind] = counts.get(kind, -1) + 1
            if callback_states.has(callback):
                named.append((f"{kind}_{counts[kind]}", callback))
        return named

    def _catch_interrupts(self):
        if threading.current_thread() is not threading.main_thread():
            return  # Only the main thread may.
        old = signal.getsignal(signal.SIGINT)

        def interrupt(signum, frame):
            self.interrupted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print(
                "\nInterrupted: saving at the end of this epoch. Press Ctrl-C "
                "again to stop at once, without saving."
            )

        self._old_handler = old
        signal.signal(signal.SIGINT, interrupt)
