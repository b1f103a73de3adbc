"""Heads: the last layers, from a backbone's features to what an agent needs."""

import keras

from keras_rl2x.networks.functional import as_functional

ACTION_VALUE_HEADS = ("q_values", "dueling", None)


@keras.saving.register_keras_serializable("keras_rl2x")
class Centre(keras.layers.Layer):
    """Subtracts the mean over the last axis, which makes it 0."""

    def call(self, values):
        return values - keras.ops.mean(values, axis=-1, keepdims=True)


def action_values(backbone, num_actions, head="q_values", seed=None):
    """Action values `Q(s, a)` on top of a backbone.

    Args:
        backbone: A `keras.Model` from observations to features `[B, F]`, or,
            with `head=None`, to the action values themselves.
        num_actions: Integer.
        head: `"q_values"`, one linear layer; `"dueling"`, a state value plus
            advantages whose mean is 0; or `None` if the backbone's output
            already is `[B, num_actions]`. Defaults to `"q_values"`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.

    Returns:
        A functional `keras.Model` from observations to `[B, num_actions]`.

    Raises:
        ValueError: If the backbone's output does not fit; names the backbone.

    Reference:
     - [Wang et al., 2016](https://arxiv.org/abs/1511.06581), eq. 9
    """
    if head not in ACTION_VALUE_HEADS:
        raise ValueError(
            f"`head` must be one of {ACTION_VALUE_HEADS}. Received: {head=}"
        )
    backbone = as_functional(backbone)
    features = _vector(backbone)
    if head is None:
        if features.shape[-1] != num_actions:
            raise ValueError(
                f"With head=None the network '{backbone.name}' must end in "
                f"one value for each of the {num_actions} actions. Received: "
                f"output shape {tuple(features.shape)}"
            )
        return backbone
    q = _linear(num_actions, "q_values", seed)(features)
    if head == "dueling":
        # With the seed of the advantages it would begin as a copy of them.
        value_seed = None if seed is None else seed + 1
        value = _linear(1, "value", value_seed)(features)
        q = keras.layers.Add(name="dueling")(
            [value, Centre(name="advantage")(q)]
        )
    return keras.Model(backbone.input, q, name="action_values")


def _vector(backbone):
    """The backbone's output, if it is one tensor `[B, F]`."""
    features = backbone.output
    shapes = keras.tree.map_structure(lambda t: tuple(t.shape), features)
    if not hasattr(features, "shape") or len(features.shape) != 2:
        raise ValueError(
            f"The network '{backbone.name}' must end in one vector for each "
            "observation, of shape (batch, features): add "
            "`keras.layers.Flatten()` or a pooling layer (for a model of "
            '`keras.applications`: include_top=False, pooling="avg"). '
            f"Received: output shape {shapes}"
        )
    return features


def _linear(units, name, seed):
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(
        int(units), kernel_initializer=initializer, name=name
    )
