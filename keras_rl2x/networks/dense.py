"""Dense layers and their initial weights, as backbones and heads have them."""

import keras
import numpy as np

from keras_rl2x.networks.noisy import NoisyDense


def dense(
    units, initializer, activation=None, noisy=False, name=None, dtype=None
):
    """A dense layer, or a `NoisyDense`, which has initial values of its own.

    Args:
        units: Integer.
        initializer: A `keras.initializers.Initializer`.
        activation: As in `keras.layers.Dense`. Defaults to `None`.
        noisy: Boolean. Defaults to `False`.
        name: String. Defaults to `None`.
        dtype: As in `keras.layers.Layer`. Defaults to `None`.
    """
    if noisy:
        seed = getattr(initializer, "seed", None)
        return NoisyDense(units, activation, seed=seed, name=name, dtype=dtype)
    return keras.layers.Dense(
        int(units),
        activation,
        kernel_initializer=initializer,
        name=name,
        dtype=dtype,
    )


def seeded(kernel_initializer, seed):
    """Endless copies of one initializer, each with its own seed.

    Args:
        kernel_initializer: As in `keras.layers.Dense`.
        seed: Integer, or `None`: they follow `keras.utils.set_random_seed`.
    """
    first = keras.initializers.get(kernel_initializer)
    rng = np.random.default_rng(seed)
    while True:
        if not isinstance(first, keras.initializers.Initializer):
            yield first  # A function: it has no seed to set.
            continue
        config = first.get_config()
        if seed is not None and "seed" in config:
            config["seed"] = int(rng.integers(2**31))
        yield type(first).from_config(config)
