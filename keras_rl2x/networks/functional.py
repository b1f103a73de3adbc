"""Any built Keras model as a functional one, so that it can be built upon."""

import keras


def as_functional(network):
    """A functional model that computes what `network` computes.

    Args:
        network: A `keras.Model`. Functional models and built `Sequential`s
            serve as they are; a subclass of `keras.Model` must have been
            built, by `network.build(input_shape)` or by calling it once.

    Returns:
        A functional `keras.Model` that shares the weights of `network`.

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
    if getattr(network, "inputs", None):
        return network
    config = network.get_build_config() if network.built else None
    if not config:
        raise ValueError(
            f"The network '{network.name}' has no input shape yet: call "
            "`network.build((None, *observation_shape))`, or call it once on "
            "a batch of observations, before you hand it to the agent. "
            f"Received: network={network!r}"
        )
    shape = config.get("input_shape") or config["shapes_dict"]
    # A shape is a tuple of sizes, anything else a structure of shapes.
    if isinstance(shape, dict):
        entries = {k: keras.Input(batch_shape=s) for k, s in shape.items()}
    else:
        entries = keras.Input(batch_shape=tuple(shape))
    return keras.Model(entries, network(entries), name=f"{network.name}_graph")
