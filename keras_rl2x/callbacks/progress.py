"""What `Collect` writes into the logs."""

import math
import numbers
import time
from collections import deque

import numpy as np

# What is written; callbacks that read it stand after `Collect`.
NAMES = ("return", "length", "success", "env_steps", "env_steps_per_second")


class Progress:
    """Keeps the last 100 episodes, the time and the loss.

    Attributes:
        episodes: Deque of tuples `(return, length)`.
        successes: Deque of Booleans.
    """

    def __init__(self):
        self.episodes = deque(maxlen=100)
        self.successes = deque(maxlen=100)
        self.begin()

    def begin(self):
        """A `fit` begins."""
        self._loss = 0.0

    def begin_epoch(self, env_steps):
        """An epoch begins, after `env_steps` environment steps."""
        self._start = time.perf_counter(), env_steps

    def add(self, chunk):
        """The episodes that ended in an `acting.driver.Chunk`."""
        self.episodes.extend(chunk.episodes)
        self.successes.extend(chunk.successes)

    def write(self, logs, env_steps, epoch_ended=False):
        """Puts the progress first into the logs.

        In place: the callbacks after this one see the same dict.

        Args:
            logs: Dict, Keras's logs.
            env_steps: Integer, the environment steps so far.
            epoch_ended: Boolean, whether to tell the epoch's speed, too.
        """
        self._loss = logs.get("loss", 0.0)
        returns, lengths = zip(*self.episodes or [(np.nan, np.nan)])
        progress = {
            "return": sum(returns) / len(returns),
            "length": sum(lengths) / len(lengths),
        }
        if self.successes:  # Not all environments tell them.
            progress["success"] = sum(self.successes) / len(self.successes)
        progress["env_steps"] = env_steps
        if epoch_ended:
            start, before = self._start
            progress["env_steps_per_second"] = (env_steps - before) / (
                time.perf_counter() - start
            )
        others = dict(logs)
        logs.clear()
        logs.update({**progress, **others})

    def get_state(self):
        """Dict of lists."""
        return {
            "episodes": [list(episode) for episode in self.episodes],
            "successes": list(self.successes),
        }

    def set_state(self, state):
        """Restores what `get_state` returned."""
        self.episodes = deque(map(tuple, state["episodes"]), maxlen=100)
        # Older checkpoints have none.
        self.successes = deque(state.get("successes", ()), maxlen=100)

    def check_loss(self):
        """Raises `ValueError` if the last loss was not finite."""
        if not math.isfinite(self._loss):
            raise ValueError(
                f"The loss became {self._loss}: the agent's weights are of no "
                "use any more. Begin again with a lower learning rate, or with "
                "`global_clipnorm` in the optimizer; what was saved before is "
                "still good."
            )


def forget_nan(callbacks):
    """Lets stock callbacks begin with the first number there is.

    Before an episode has ended the `return` is NaN; to Keras's callbacks that
    would be the best there ever was, as nothing is greater.

    Args:
        callbacks: Sequence of Keras callbacks.
    """
    for callback in callbacks:
        best = getattr(callback, "best", None)
        if isinstance(best, numbers.Real) and math.isnan(best):
            callback.best = None
