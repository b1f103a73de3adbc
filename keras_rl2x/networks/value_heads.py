"""Heads that give one value for each action."""

import keras

from keras_rl2x.networks.dense import dense
from keras_rl2x.networks.functional import as_functional
from keras_rl2x.networks.heads import linear
from keras_rl2x.networks.heads import masked
from keras_rl2x.networks.heads import vector
from keras_rl2x.networks.precision import single_precision

ACTION_VALUE_HEADS = ("q_values", "dueling", None)


@keras.saving.register_keras_serializable("keras_rl2x")
class Centre(keras.layers.Layer):
    """Subtracts the mean over the last axis, which makes it 0."""

    def call(self, values):
        return values - keras.ops.mean(values, axis=-1, keepdims=True)


@single_precision()
def action_values(
    backbone, num_actions, head="q_values", seed=None, noisy=False
):
    """Action values `Q(s, a)` on top of a backbone.

    Args:
        backbone: A `keras.Model` from observations to features `[B, F]`, or,
            with `head=None`, to the action values themselves.
        num_actions: Integer.
        head: `"q_values"`, one linear layer; `"dueling"`, a state value plus
            advantages whose mean is 0, each with a hidden layer of its own; or
            `None` if the backbone's output already is `[B, num_actions]`.
            Defaults to `"q_values"`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        noisy: Boolean, whether the head's layers are `NoisyDense`. Defaults
            to `False`.

    Returns:
        A functional `keras.Model` from observations to `[B, num_actions]`.

    Raises:
        ValueError: If the backbone's output does not fit; names the backbone.
            If there is no head to be noisy.

    Reference:
     - [Wang et al., 2016](https://arxiv.org/abs/1511.06581), eq. 9
    """
    if head not in ACTION_VALUE_HEADS:
        raise ValueError(
            f"`head` must be one of {ACTION_VALUE_HEADS}. Received: {head=}"
        )
    backbone = as_functional(backbone)
    features = vector(backbone, backbone.output)
    if head is None:
        if noisy:
            raise ValueError(
                "With head=None there are no layers to be noisy: make those "
                f"of the network '{backbone.name}' `rl.networks.NoisyDense`. "
                f"Received: {noisy=}"
            )
        if features.shape[-1] != num_actions:
            raise ValueError(
                f"With head=None the network '{backbone.name}' must end in "
                f"one value for each of the {num_actions} actions. Received: "
                f"output shape {tuple(features.shape)}"
            )
        q = masked(features, backbone.input)
        return backbone if q is features else keras.Model(backbone.input, q)
    if head == "dueling":
        value, advantage = streams(
            features.shape[-1], 1, num_actions, "q_values_head", seed, noisy
        )
        q = value(features) + Centre()(advantage(features))
    else:
        q = linear(num_actions, "q_values_head", seed, noisy)(features)
    q = masked(q, backbone.input)
    return keras.Model(backbone.input, q, name="action_values")


def streams(width, value_units, action_units, name, seed, noisy=False):
    """The two halves of a dueling head, each with a hidden layer of its own.

    Without these, one linear layer would do: it can be the sum of the two.

    Args:
        width: Integer F, of the features; hidden layers are as wide, but not
            wider than 512, as in the paper.
        value_units: Integer, how many numbers the state is given.
        action_units: Integer, how many all actions are given.
        name: String, of the actions' last layer.
        seed: Integer seed of the initial weights, or `None`.
        noisy: Boolean, whether the layers are `NoisyDense`.

    Returns:
        Tuple of functions of features `[..., F]`: to `[..., value_units]`, and
        to `[..., action_units]`.

    References:
     - [Wang et al., 2016](https://arxiv.org/abs/1511.06581), section 3.1
     - [Hessel et al., 2018](https://arxiv.org/abs/1710.02298)
    """
    # With one seed for all, a layer would begin as a part of another.
    seeds = [None if seed is None else seed + i for i in range(4)]
    return (
        stream(width, value_units, "value_head", seeds[1], seeds[2], noisy),
        stream(width, action_units, name, seeds[0], seeds[3], noisy),
    )


def stream(width, units, name, seed, hidden_seed, noisy=False):
    """A hidden layer and a linear one; see `streams`.

    Returns:
        Function of features `[..., F]`: to `[..., units]`.
    """
    initializer = keras.initializers.GlorotUniform(hidden_seed)
    hidden = dense(
        min(width, 512), initializer, "relu", noisy, f"{name}_hidden"
    )
    outputs = linear(units, name, seed, noisy)
    return lambda features: outputs(hidden(features))
