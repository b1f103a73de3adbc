"""From observations to numbers: an encoder for each leaf of the space."""

import keras
import numpy as np
from gymnasium import spaces as gym

from keras_rl2x import spaces
from keras_rl2x.networks import convolutional
from keras_rl2x.networks.normalization import RunningNormalization

# Of what images become beside other observations.
_WIDTH = 256


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


def encoded(observation_space, normalize=False, seed=None, path=()):
    """Inputs, and one vector of all that is observed.

    Images beside other observations go through convolutions of their own, as
    in `mlp`; alone, they are flattened.

    Args:
        observation_space: As in `mlp`.
        normalize: As in `mlp`. Defaults to `False`.
        seed: As in `mlp`. Defaults to `None`.
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
    numbers, features = [], []
    for leaf, tensor in zip(
        keras.tree.flatten(tree), keras.tree.flatten(tensors)
    ):
        convolution = convolutional.for_images(leaf.shape)
        if tree is leaf or leaf.kind != "box" or convolution is None:
            numbers.append(_flat(leaf, tensor))
        else:
            # With the seed of what follows, weights would begin alike.
            own = None if seed is None else seed + 1 + len(features)
            features.append(_convolved(convolution, leaf, tensor, own))
    if numbers:
        x = _joined(numbers)
        numbers = [RunningNormalization()(x) if normalize else x]
    return entries, _joined(numbers + features)


def _joined(parts):
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)


def _convolved(convolution, leaf, images, seed):
    low, high = (np.array(x, leaf.dtype) for x in (leaf.low, leaf.high))
    space = gym.Box(low, high, leaf.shape, leaf.dtype)
    network = convolution(space, _WIDTH, seed)
    # There may be several.
    name = f"{images.name}__{network.name}"
    return keras.Model(network.input, network.output, name=name)(images)


def _flat(leaf, tensor):
    """A tensor as `[B, F]` of float32; bytes are scaled to at most 1."""
    x = keras.layers.Flatten(dtype="float32")(tensor)
    is_bytes = leaf.kind == "box" and leaf.dtype == "uint8"
    most = np.max(leaf.high) if is_bytes else 1
    return x if most <= 1 else keras.layers.Rescaling(1 / float(most))(x)
