"""What agents add to a network computes with all digits."""

import contextlib

import keras


@contextlib.contextmanager
def single_precision():
    """Inside, what is made computes in `float32`, whatever the global policy.

    Values and log-probabilities are subtracted from each other: half precision
    is for the layers below them. As a decorator, for a function that makes
    layers.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
