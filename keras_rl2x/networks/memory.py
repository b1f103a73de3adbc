"""Networks that remember: one more input and output, their memory.

A recurrent network maps `{"observation": obs, "memory": [B, M]}` to features
and the next memory `[B, M]`. An episode begins with a memory of zeros.
"""

import keras
import tensorflow as tf

from keras_rl2x.networks.backbones import hidden_layers
from keras_rl2x.networks.encoders import encoded


def memory_size(network):
    """Integer, the numbers that a network remembers; 0 if it does not."""
    entries = network.input
    if not isinstance(entries, dict) or entries.keys() != {
        "memory",
        "observation",
    }:
        return 0
    # Else it is an observation that has entries of these names.
    memory, outputs = entries["memory"], network.outputs
    recurrent = len(outputs) > 1 and outputs[-1].shape == memory.shape
    return int(memory.shape[-1]) if recurrent else 0


def observation_input(network):
    """The network's input without its memory."""
    return (
        network.input["observation"] if memory_size(network) else network.input
    )


def with_memory(network, obs):
    """The network's input for observations that begin episodes."""
    size = memory_size(network)
    if not size:
        return obs
    # Keras takes no arrays beside tensors.
    obs = keras.tree.map_structure(keras.ops.convert_to_tensor, obs)
    batch = keras.ops.shape(keras.tree.flatten(obs)[0])[0]
    return {"observation": obs, "memory": keras.ops.zeros((batch, size))}


def unroll(network, obs, memory, begins):
    """Computes a recurrent network over time.

    Args:
        network: A `keras.Model` whose last output is its memory.
        obs: Tensor `[T, B, ...]` (or a structure of such).
        memory: Tensor `[B, M]`, before the first step.
        begins: Boolean tensor `[T, B]`, where an episode begins: there the
            memory becomes zeros, and no gradient goes back.

    Returns:
        List of tensors `[T, B, ...]`, the other outputs.
    """

    def step(before, inputs):
        (*_, memory), (obs, begins) = before, inputs
        memory = keras.ops.where(begins[:, None], 0.0, memory)
        return network({"observation": obs, "memory": memory})

    # `tf.scan` wants to know what a step returns.
    nothing = [
        tf.zeros((memory.shape[0], *output.shape[1:]), output.dtype)
        for output in network.outputs[:-1]
    ]
    *outputs, _ = tf.scan(step, (obs, begins), [*nothing, memory])
    return outputs


def lstm(
    observation_space,
    units=(64,),
    memory=64,
    activation="tanh",
    kernel_initializer="glorot_uniform",
    normalize=False,
    seed=None,
):
    """A multilayer perceptron, and a long short-term memory after it.

    Args:
        observation_space: As in `mlp`.
        units: Sequence of integers, the width of each dense layer.
        memory: Integer, the width of the LSTM. Defaults to 64.
        activation: As in `mlp`. Defaults to `"tanh"`.
        kernel_initializer: As in `mlp`.
        normalize: As in `mlp`.
        seed: Integer seed of the initial weights. Defaults to `None`.

    Returns:
        A recurrent `keras.Model` to features `[B, memory]`.

    Reference:
     - [Hochreiter & Schmidhuber, 1997](https://doi.org/10.1162/neco.1997.9.8.1735)
    """
    entries, x = encoded(observation_space, normalize, seed, ("observation",))
    x, initializers = hidden_layers(
        x, units, activation, kernel_initializer, seed
    )
    before = keras.Input((2 * memory,), name="memory")
    output, cell = before[:, :memory], before[:, memory:]
    features, (output, cell) = keras.layers.LSTMCell(
        memory,
        kernel_initializer=next(initializers),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed),
        seed=seed,  # Of a dropout that it does not have, but saved.
        name="lstm",
    )(x, [output, cell])
    after = keras.layers.Concatenate(name="remembered", dtype="float32")(
        [output, cell]
    )
    return keras.Model(
        {"observation": entries, "memory": before},
        [features, after],
        name="lstm",
    )
