"""Backbones: from an observation space to a vector of features.

Those of images are in `convolutional`.
"""

import keras
import numpy as np

from keras_rl2x import arguments
from keras_rl2x import spaces
from keras_rl2x.networks.noisy import NoisyDense
from keras_rl2x.networks.normalization import RunningNormalization


@keras.saving.register_keras_serializable("keras_rl2x")
class OneHot(keras.layers.Layer):
    """Categories `[B, ...]` to the concatenation of their one-hot vectors.

    Args:
        num_classes: List of integers, one for each (flattened) entry.
        start: List of integers, the first category of each entry.
    """

    def __init__(self, num_classes, start, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = list(num_classes)
        self.start = list(start)

    def call(self, categories):
        entries = keras.ops.reshape(categories, (-1, len(self.num_classes)))
        return keras.ops.concatenate(
            [
                keras.ops.one_hot(entries[:, i] - start, n, dtype=self.dtype)
                for i, (n, start) in enumerate(
                    zip(self.num_classes, self.start)
                )
            ],
            axis=-1,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "start": self.start,
        }


def inputs(observation_space):
    """The beginning of a network: inputs as stored, and what to compute with.

    Categories (`Discrete`, `MultiDiscrete`) become one-hot vectors; the other
    observations are passed on as they are.

    Args:
        observation_space: A `gymnasium.Space`, without the batch axis.

    Returns:
        Tuple of two structures, nested as the space: the `keras.Input`s, and
        the tensors to compute with.

    Example:

    ```python
    space = gymnasium.spaces.Dict(
        goal=gymnasium.spaces.Discrete(4), at=gymnasium.spaces.Box(-1, 1, (2,))
    )
    entries, tensors = keras_rl2x.networks.inputs(space)
    x = keras.layers.Concatenate()([tensors["goal"], tensors["at"]])
    network = keras.Model(entries, keras.layers.Dense(64, "relu")(x))
    ```
    """
    return _inputs(spaces.spec(observation_space), ())


def _inputs(tree, path):
    if isinstance(tree, dict):
        pairs = {k: _inputs(leaf, (*path, k)) for k, leaf in tree.items()}
        return tuple({k: p[i] for k, p in pairs.items()} for i in (0, 1))
    if isinstance(tree, tuple):
        pairs = [_inputs(leaf, (*path, k)) for k, leaf in enumerate(tree)]
        return tuple(tuple(p[i] for p in pairs) for i in (0, 1))
    # Keras wants an input to be named as its key in a dict, and no slash;
    # TensorFlow, that a name could be a variable's.
    name = "__".join(map(str, path)).replace("/", "__") or "observation"
    entry = keras.Input(tree.shape, dtype=tree.dtype, name=name)
    if not tree.num_classes:
        return entry, entry
    return entry, OneHot(tree.num_classes, tree.start)(entry)


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
        units: Sequence of integers, the width of each hidden layer.
        activation: As in `keras.layers.Dense`. Defaults to `"relu"`.
        kernel_initializer: As in `keras.layers.Dense`.
        normalize: Boolean, whether to begin with a `RunningNormalization`,
            for agents that learn from rollouts. Defaults to `False`.
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
    if action_space is None:
        entries, x = flat_observation(observation_space)
    else:
        entries, x = flat_observation(observation_space, ("observation",))
        shape = spaces.action_spec(action_space).shape
        action = keras.Input(shape, name="action")
        x = keras.layers.Concatenate()([x, keras.layers.Flatten()(action)])
        entries = {"action": action, "observation": entries}
    x, _ = hidden_layers(
        x,
        units,
        activation,
        kernel_initializer,
        normalize,
        seed,
        normalization,
        before_activation,
        noisy,
    )
    return keras.Model(entries, x, name="mlp")


def flat_observation(observation_space, path=()):
    """Inputs, and one vector of all that is observed.

    Args:
        observation_space: As in `mlp`.
        path: Tuple of strings, the keys that lead to the observation where a
            network takes more than that: its entries are then named after
            these too, lest one have another input's name. Defaults to `()`.

    Returns:
        Tuple: the structure of `keras.Input`s, and a tensor `[B, F]`.
    """
    tree = spaces.spec(observation_space)
    entries, tensors = _inputs(tree, path)
    if isinstance(tree, dict):
        tree = {k: leaf for k, leaf in tree.items() if k != "action_mask"}
        tensors = {k: tensors[k] for k in tree}
    flat = [
        _flat(leaf, tensor)
        for leaf, tensor in zip(
            keras.tree.flatten(tree), keras.tree.flatten(tensors)
        )
    ]
    if len(flat) == 1:
        return entries, flat[0]
    return entries, keras.layers.Concatenate()(flat)


def _flat(leaf, tensor):
    """A tensor as `[B, F]` of float32; bytes are scaled to at most 1."""
    x = keras.layers.Flatten(dtype="float32")(tensor)
    is_bytes = leaf.kind == "box" and leaf.dtype == "uint8"
    most = np.max(leaf.high) if is_bytes else 1
    return x if most <= 1 else keras.layers.Rescaling(1 / float(most))(x)


def hidden_layers(
    x,
    units,
    activation,
    kernel_initializer,
    normalize,
    seed,
    normalization=None,
    before_activation=False,
    noisy=False,
):
    """Dense layers; see `mlp`.

    Returns:
        Tuple: the features, and an iterator over further initializers.
    """
    if normalize:
        x = RunningNormalization()(x)
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
