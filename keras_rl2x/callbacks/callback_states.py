"""What callbacks have learnt while they ran, Keras's own included."""

import json

import numpy as np

from keras_rl2x.data import state_files

# What stock callbacks learn while they run, and Keras does not save.
_STOCK_STATE = (
    "_batches_seen_since_last_saving",
    "_last_batch_seen",
    "best",
    "best_epoch",
    "best_weights",
    "cooldown_counter",
    "stopped_epoch",
    "wait",
)


def has(callback):
    """Whether a callback has learnt anything."""
    return hasattr(callback, "get_state") or any(
        name in vars(callback) for name in _STOCK_STATE
    )


def get(name, callback):
    """What a callback has learnt: a dict that `state_files` can write.

    Raises:
        TypeError: If it holds something else; names the callback.
    """
    if hasattr(callback, "get_state"):
        state = callback.get_state()
    else:
        values = vars(callback)
        state = {key: values[key] for key in _STOCK_STATE if key in values}
        if state.get("best_weights") is not None:  # A list of arrays.
            weights = enumerate(state["best_weights"])
            state["best_weights"] = {f"{i:04d}": array for i, array in weights}
        # Logs may be tensors, and the best of them is kept.
        state = {
            key: value.numpy() if hasattr(value, "numpy") else value
            for key, value in state.items()
        }
    try:
        if not isinstance(state, dict):
            raise TypeError(f"a {type(state).__name__}")
        json.dumps(state, default=_array)
    except TypeError as error:
        raise TypeError(
            f"The state of the callback `{name}` cannot be saved: it must be a "
            "nested dict, with string keys, of NumPy arrays, numbers, strings "
            f"and lists of these. Received: {error}"
        ) from error
    return state


def _array(value):
    """Lets JSON pass by what is written as an array."""
    if not isinstance(value, (np.ndarray, np.generic, state_files.Parts)):
        raise TypeError(f"a {type(value).__name__}")


def put(callback, state):
    """Restores what `get` returned."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    state = dict(state)
    if state.get("best_weights") is not None:
        state["best_weights"] = list(state["best_weights"].values())
    vars(callback).update(state)
