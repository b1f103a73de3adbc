"""A Keras network as a LiteRT flatbuffer whose weights are inputs."""

import logging
import os

import keras
import tensorflow as tf

from keras_rl2x.compiled import Compiled


def weights(network):
    """The variables that an exported network takes as inputs, in order."""
    # Not the trainable ones first: freezing a layer must not change the order.
    return network.variables


def reader(variables):
    """Function to a list of arrays, what these variables hold now."""

    def values():
        return [
            tf.cast(v.value, "float32")
            if v.dtype in ("bfloat16", "float16", "float64")
            else tf.convert_to_tensor(v.value)
            for v in variables
        ]

    read = Compiled(values)
    return lambda: [value.numpy() for value in read()]


def in_float32(network):
    """A network that computes the same from the same weights, in `float32`.

    Half precision is for large batches: of 8 images it takes three times as
    long, and LiteRT does not convert it. A network with a layer that cannot be
    made anew, such as a `Lambda` around a lambda, stays as it is.
    """
    layers = network._flatten_layers(include_self=False)
    if all(layer.compute_dtype == "float32" for layer in layers):
        return network

    def copy(layer):
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            return in_float32(layer)
        if not isinstance(layer, keras.Layer):  # Of `keras.ops`.
            return type(layer).from_config(layer.get_config())
        config = {**layer.get_config(), "dtype": "float32"}
        return type(layer).from_config(config)

    try:
        return keras.models.clone_model(network, clone_function=copy)
    except Exception:  # A user's layer may raise anything.
        return network


def compute(network, arrays, obs):
    """A list of the network's outputs, with these arrays for its weights."""
    with keras.StatelessScope(zip(weights(network), arrays)):
        return tf.nest.flatten(network(obs, training=False))


def flatbuffer(network, batch_size):
    """Converts a network for one batch size.

    Args:
        network: A functional `keras.Model`.
        batch_size: Integer.

    Returns:
        Bytes, for `keras_rl2x.acting.host.HostNetwork`.

    Raises:
        Exception: Whatever the converter raises for what it cannot convert.
    """
    variables = weights(network)
    obs_specs = [
        tf.TensorSpec((batch_size, *x.shape[1:]), x.dtype, name=f"x{i}")
        for i, x in enumerate(network.inputs)
    ]
    weight_specs = [
        tf.TensorSpec(variable.shape, variable.dtype, name=f"w{i}")
        for i, variable in enumerate(variables)
    ]

    def outputs(*args):
        obs = tf.nest.pack_sequence_as(network.input, args[: len(obs_specs)])
        return compute(network, args[len(obs_specs) :], obs)

    function = tf.function(outputs, input_signature=obs_specs + weight_specs)
    holder = tf.Module()
    holder.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], holder
    )
    # By way of a `SavedModel` it would take twice as long.
    converter.experimental_lower_to_saved_model = False
    return _quietly(converter.convert)


def _quietly(convert):
    """Calls the converter without its C++ and absl chatter."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    null, kept = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    try:
        os.dup2(null, 2)
        return convert()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
        logger.setLevel(level)
