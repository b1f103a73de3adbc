"""Backbones: from an observation space to a vector of features.

Those of images are in `convolutional`.
"""

import keras

from keras_rl2x import arguments
from keras_rl2x import spaces
from keras_rl2x.networks.dense import dense
from keras_rl2x.networks.dense import seeded
from keras_rl2x.networks.encoders import encoded


def mlp(
    observation_space,
    units=(64, 64),
    activation="relu",
    kernel_initializer="glorot_uniform",
    normalize=False,
    seed=None,
    action_space=None,
    normalization=None,
    before_activation=False,
    noisy=False,
):
    """A multilayer perceptron over the whole (flattened) observation.

    Args:
        observation_space: A `gymnasium.Space`; nested spaces are concatenated,
            but for an entry `"action_mask"`, which the agent's head reads.
            Bytes (`uint8`, of a machine's memory, say) are scaled to 0-1.
            Images in a nested space, of at least 7 pixels, first go through
            the convolutions that suit them (`nature_cnn`, `minatar_cnn`).
        units: Sequence of integers, the width of each hidden layer.
        activation: As in `keras.layers.Dense`. Defaults to `"relu"`.
        kernel_initializer: As in `keras.layers.Dense`.
        normalize: Boolean, whether to begin with a `RunningNormalization` (of
            all but such images), for agents that learn from rollouts. Defaults
            to `False`.
        seed: Integer seed of the initial weights. Defaults to `None`.
        action_space: A `gymnasium.spaces.Box`, for a critic: the model then
            takes `{"action": ..., "observation": ...}`. Defaults to `None`.
        normalization: Function without arguments that returns a layer, such as
            `BatchRenormalization`: one is put before and after each hidden
            layer (CrossQ's order). Defaults to `None`.
        before_activation: Boolean, whether each of these layers is put between
            a hidden layer and its activation instead, with none in front
            (PQN's order, also that of the convolutional networks). Defaults to
            `False`.
        noisy: Boolean, whether the layers are `NoisyDense`, with the initial
            values of that; for agents that draw noise. Defaults to `False`.

    Returns:
        A `keras.Model` from observations to features `[B, units[-1]]`.

    Raises:
        ValueError: If `units` is no sequence of integers >= 1.
    """
    path = () if action_space is None else ("observation",)
    entries, x = encoded(observation_space, normalize, seed, path)
    if action_space is not None:
        shape = spaces.action_spec(action_space).shape
        action = keras.Input(shape, name="action")
        x = keras.layers.Concatenate()([x, keras.layers.Flatten()(action)])
        entries = {"action": action, "observation": entries}
    x, _ = hidden_layers(
        x,
        units,
        activation,
        kernel_initializer,
        seed,
        normalization,
        before_activation,
        noisy,
    )
    return keras.Model(entries, x, name="mlp")


def hidden_layers(
    x,
    units,
    activation,
    kernel_initializer,
    seed,
    normalization=None,
    before_activation=False,
    noisy=False,
):
    """Dense layers; see `mlp`.

    Returns:
        Tuple: the features, and an iterator over further initializers.
    """
    between = normalization is not None and before_activation
    if normalization is not None and not between:
        x = normalization()(x)
    initializers = seeded(kernel_initializer, seed)
    for i, width in enumerate(arguments.integers(units=units)):
        x = dense(
            width,
            next(initializers),
            None if between else activation,
            noisy,
            name=f"hidden_{i}",
        )(x)
        if normalization is not None:
            x = normalization()(x)
        if between:
            x = keras.layers.Activation(activation)(x)
    return x, initializers
