"""TensorBoard's events, whose loss ends no training."""

import contextlib
import warnings

import tensorflow as tf


@contextlib.contextmanager
def written(writer, step):
    """Writes what is summarised inside; warns if it cannot.

    Args:
        writer: A `tf.summary.SummaryWriter`.
        step: Integer, the environment steps.
    """
    try:
        with writer.as_default(step=step):
            yield
        writer.flush()
    except tf.errors.OpError as error:  # A full disk, say.
        # Behind the name of a node, before lines on how it came to that.
        why = error.message.split("}} ")[-1].splitlines()[0]
        warnings.warn(
            f"TensorBoard's events could not be written: {why}. The training "
            "goes on.",
            stacklevel=3,
        )


def close(writer):
    """Closes a writer that may have no room for what it still holds."""
    with contextlib.suppress(tf.errors.OpError):  # It was warned of.
        writer.close()
