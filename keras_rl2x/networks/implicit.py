"""Heads that give quantiles of the return at any fraction."""

import math

import keras

from keras_rl2x import ops
from keras_rl2x.networks.distributional import check_head
from keras_rl2x.networks.functional import as_functional
from keras_rl2x.networks.heads import masked
from keras_rl2x.networks.heads import vector
from keras_rl2x.networks.precision import single_precision
from keras_rl2x.networks.value_heads import Centre
from keras_rl2x.networks.value_heads import stream
from keras_rl2x.networks.value_heads import streams


@keras.saving.register_keras_serializable("keras_rl2x")
class CosineEmbedding(keras.layers.Layer):
    """Fractions `[B, N]` to vectors `[B, N, units]`.

    A dense layer, with a ReLU, of `cos(pi i fraction)` for i from 0 on.

    Args:
        units: Integer, the width of the vectors.
        cosines: Integer, how many. Defaults to 64.
        seed: Integer seed of the initial weights. Defaults to `None`.

    Reference:
     - [Dabney et al., 2018](https://arxiv.org/abs/1806.06923), eq. 4
    """

    def __init__(self, units, cosines=64, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units = int(units)
        self.cosines = int(cosines)
        self.seed = seed
        self.dense = keras.layers.Dense(
            self.units,
            "relu",
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            dtype=self.dtype_policy,
        )

    def build(self, shape):
        self.dense.build((*shape, self.cosines))

    def call(self, fractions):
        frequencies = keras.ops.arange(self.cosines, dtype=self.compute_dtype)
        angles = math.pi * frequencies * fractions[..., None]
        return self.dense(keras.ops.cos(angles))

    def compute_output_shape(self, shape):
        return (*shape, self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "cosines": self.cosines,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("keras_rl2x")
class Midpoints(keras.layers.Layer):
    """The fractions `[1, N]` of `ops.quantile_midpoints`, whatever the input.

    Args:
        count: Integer N.
    """

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = int(count)

    def call(self, _):
        return ops.quantile_midpoints(self.count)[None]

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@single_precision()
def implicit_distributions(
    backbone, num_actions, samples, cosines=64, head="q_values", seed=None
):
    """Quantiles of `Z(s, a)` at any fractions, on top of a backbone.

    What is observed and an embedding of the fraction are multiplied, and the
    head, with a hidden layer, makes quantiles of the products.

    Args:
        backbone: A `keras.Model` from observations to features `[B, F]`.
        num_actions: Integer A.
        samples: Integer, at how many fixed fractions the mean is taken: evenly
            spread ones, so that acting draws no numbers.
        cosines: Integer, as in `CosineEmbedding`. Defaults to 64.
        head: `"q_values"`; or `"dueling"`, quantiles of the state plus numbers
            of the actions whose mean over these is 0, each with a hidden layer
            of its own. Defaults to `"q_values"`.
        seed: Integer seed of the initial weights. Defaults to `None`.

    Returns:
        Tuple of functional models: from observations to action values
        `[B, A]`, the means; and from `{"fractions": [B, N], "observation":
        ...}` to a list of these and of quantiles `[B, A, N]`. Of an action
        that is not allowed, the value alone is `spaces.MASKED`.

    Raises:
        ValueError: If the backbone's output does not fit; names the backbone.

    Reference:
     - [Dabney et al., 2018](https://arxiv.org/abs/1806.06923), section 3
    """
    check_head(head)
    backbone = as_functional(backbone)
    features = vector(backbone, backbone.output)
    width = features.shape[-1]
    # Behind those of the head: a layer would begin as a part of another.
    embedding_seed = None if seed is None else seed + 4
    embedding = CosineEmbedding(
        width, cosines, embedding_seed, name="fraction_embedding"
    )
    if head == "dueling":
        value, advantage = streams(
            width, 1, num_actions, "quantiles_head", seed
        )
    else:
        hidden_seed = None if seed is None else seed + 3
        outputs = stream(
            width, num_actions, "quantiles_head", seed, hidden_seed
        )

    def quantiles(fractions):
        x = features[:, None] * embedding(fractions)  # [B, N, F]
        if head == "dueling":
            numbers = value(x) + Centre()(advantage(x))
        else:
            numbers = outputs(x)
        return keras.ops.swapaxes(numbers, 1, 2)

    fixed = quantiles(Midpoints(samples)(features))
    q = masked(keras.ops.mean(fixed, axis=-1), backbone.input)
    fractions = keras.Input((None,), name="fractions")
    inputs = {"fractions": fractions, "observation": backbone.input}
    return (
        keras.Model(backbone.input, q, name="action_values"),
        keras.Model(inputs, [q, quantiles(fractions)], name="distributions"),
    )
