"""Any built Keras model as a functional one, so that it can be built upon."""

import re

import keras


def as_functional(network):
    """A functional model that computes what `network` computes.

    Args:
        network: A `keras.Model`. A functional model serves as it is; a
            `Sequential` or a subclass of `keras.Model` must have been built,
            by `network.build(input_shape)` or by calling it once.

    Returns:
        A functional `keras.Model` that shares the weights of `network`. Layers
        that are made from now on and named by Keras have none of its names.

    Raises:
        TypeError: If `network` is not a Keras model.
        ValueError: If it was not built.
    """
    if not isinstance(network, keras.Model):
        raise TypeError(
            "`network` must be a `keras.Model`, for instance "
            "`rl.networks.mlp(observation_space, units=(64, 64))`. Received: "
            f"network={network!r} of type {type(network)}"
        )
    entries = getattr(network, "inputs", None)
    if not entries:
        inputs = _inputs(_input_shapes(network))
    elif isinstance(network, keras.Sequential):
        inputs = _input(entries[0].shape, entries[0].dtype)
    else:
        _reserve_names(network)
        return network
    name = f"{network.name}_graph"
    functional = keras.Model(inputs, network(inputs), name=name)
    _reserve_names(functional)
    return functional


def _reserve_names(functional):
    """Keeps Keras from naming new layers as those of a model are named.

    One that was loaded has the names of the process that saved it
    ("concatenate_1"), and Keras begins to count anew in this one.
    """
    for operation in functional.operations:
        # What ends in more digits was not counted.
        prefix, number = re.fullmatch(
            r"(.*?)(?:_(\d{1,5}))?", operation.name
        ).groups()
        while keras.backend.get_uid(prefix) <= int(number or 0):
            pass


def _input_shapes(network):
    """What a subclass of `keras.Model` was built with."""
    config = network.get_build_config() if network.built else None
    if not config:
        raise ValueError(
            f"The network '{network.name}' has no input shape yet: call "
            "`network.build((None, *observation_shape))`, or call it once on "
            "a batch of observations, before you hand it to the agent. "
            f"Received: network={network!r}"
        )
    return config.get("input_shape") or config["shapes_dict"]


def _inputs(shapes, name=None):
    """`keras.Input`s nested as the shapes are."""
    if isinstance(shapes, dict):
        return {key: _inputs(shape, key) for key, shape in shapes.items()}
    # A shape is a sequence of sizes; anything else, a sequence of shapes.
    if any(isinstance(entry, (tuple, list, dict)) for entry in shapes):
        return tuple(map(_inputs, shapes))
    return _input(shapes, name=name)


def _input(shape, dtype=None, name=None):
    # The batch that the network was built with may have had any size.
    return keras.Input(shape[1:], dtype=dtype, name=name)
