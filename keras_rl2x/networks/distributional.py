"""Heads that give a distribution of returns for each action."""

import keras

from keras_rl2x import ops
from keras_rl2x.networks.functional import as_functional
from keras_rl2x.networks.heads import linear
from keras_rl2x.networks.heads import masked
from keras_rl2x.networks.heads import vector
from keras_rl2x.networks.precision import single_precision
from keras_rl2x.networks.value_heads import streams

ACTION_DISTRIBUTION_HEADS = ("q_values", "dueling")


@keras.saving.register_keras_serializable("keras_rl2x")
class CategoricalMean(keras.layers.Layer):
    """Logits `[..., N]` of categorical distributions to their means `[...]`.

    Args:
        v_min: As in `ops.categorical_support`.
        v_max: As there.
        atoms: As there.
    """

    def __init__(self, v_min, v_max, atoms, **kwargs):
        super().__init__(**kwargs)
        self.v_min = v_min
        self.v_max = v_max
        self.atoms = atoms

    def call(self, logits):
        support = ops.categorical_support(self.v_min, self.v_max, self.atoms)
        return ops.categorical_mean(logits, support)

    def get_config(self):
        return {
            **super().get_config(),
            "v_min": self.v_min,
            "v_max": self.v_max,
            "atoms": self.atoms,
        }


def check_head(head):
    """Raises `ValueError` if no head of distributions has this name."""
    if head not in ACTION_DISTRIBUTION_HEADS:
        raise ValueError(
            f"`head` must be one of {ACTION_DISTRIBUTION_HEADS}. "
            f"Received: {head=}"
        )


@single_precision()
def action_distributions(
    backbone, num_actions, size, mean, head="q_values", seed=None, noisy=False
):
    """Distributions `Z(s, a)` and their means, on top of a backbone.

    Args:
        backbone: A `keras.Model` from observations to features `[B, F]`.
        num_actions: Integer A.
        size: Integer N, how many numbers make a distribution.
        mean: Layer or function from these, `[B, A, N]`, to means `[B, A]`.
        head: `"q_values"`, one linear layer; or `"dueling"`, numbers of the
            state plus numbers of the actions whose mean over these is 0, each
            with a hidden layer of its own. Defaults to `"q_values"`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        noisy: As in `action_values`. Defaults to `False`.

    Returns:
        Tuple of functional models of the same observations: to action values
        `[B, A]`; and to a list of these and of the distributions `[B, A, N]`.
        Of an action that is not allowed, the value alone is
        `spaces.MASKED`.

    Raises:
        ValueError: If the backbone's output does not fit; names the backbone.

    References:
     - [Bellemare et al., 2017](https://arxiv.org/abs/1707.06887), section 5
     - [Hessel et al., 2018](https://arxiv.org/abs/1710.02298), section "The
       Integrated Agent" (`"dueling"`)
    """
    check_head(head)
    backbone = as_functional(backbone)
    features = vector(backbone, backbone.output)
    name, total = "distributions_head", int(num_actions) * size
    by_action = keras.layers.Reshape((int(num_actions), size))
    if head == "dueling":
        value, advantage = streams(
            features.shape[-1], size, total, name, seed, noisy
        )
        advantages = by_action(advantage(features))
        centre = keras.ops.mean(advantages, axis=1, keepdims=True)
        of_state = keras.layers.Reshape((1, size))(value(features))
        numbers = of_state + advantages - centre
    else:
        numbers = by_action(linear(total, name, seed, noisy)(features))
    q = masked(mean(numbers), backbone.input)
    return (
        keras.Model(backbone.input, q, name="action_values"),
        keras.Model(backbone.input, [q, numbers], name="distributions"),
    )
