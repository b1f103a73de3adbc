"""Layers that explore: dense layers with learnt noise in their weights."""

import keras
import numpy as np


@keras.saving.register_keras_serializable("keras_rl2x")
class NoisyDense(keras.layers.Layer):
    """A dense layer whose weights are normal, with learnt standard deviations.

    `y = (M + S * outer(f, g)) x + m + s * g`, where M and m are the means of
    the weights, S and s their standard deviations, and f `[in]` and g `[out]`
    the factors of the noise. These are state, and begin as 0, that is without
    noise: `resample_noise` draws them anew.

    Args:
        units: Integer, the width of the output.
        activation: As in `keras.layers.Dense`. Defaults to `None`.
        sigma: Float; the deviations begin at `sigma / sqrt(width)`, with the
            width of the input. Defaults to 0.5.
        seed: Integer seed of the initial means. Defaults to `None`.
        **kwargs: As in `keras.layers.Layer`.

    Reference:
     - [Fortunato et al., 2018](https://arxiv.org/abs/1706.10295), eq. 9-11
       (factorised noise) and section 3.2 (initial values)
    """

    def __init__(self, units, activation=None, sigma=0.5, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units = int(units)
        self.activation = keras.activations.get(activation)
        self.sigma = sigma
        self.seed = seed

    def build(self, shape):
        width = int(shape[-1])
        bound = 1 / np.sqrt(width)
        # With an integer seed the bias would begin as a copy of some weights.
        seeds = keras.random.SeedGenerator(self.seed)
        means = keras.initializers.RandomUniform(-bound, bound, seeds)
        deviations = keras.initializers.Constant(self.sigma * bound)
        matrix, vector = (width, self.units), (self.units,)
        self.kernel = self.add_weight(matrix, means, name="kernel")
        self.bias = self.add_weight(vector, means, name="bias")
        self.kernel_sigma = self.add_weight(
            matrix, deviations, name="kernel_sigma"
        )
        self.bias_sigma = self.add_weight(vector, deviations, name="bias_sigma")
        self.noise_in = self._noise((width,), "noise_in")
        self.noise_out = self._noise((self.units,), "noise_out")

    def _noise(self, shape, name):
        variable = self.add_weight(shape, "zeros", trainable=False, name=name)
        variable.is_noise = True
        return variable

    def call(self, features):
        outputs = keras.ops.matmul(features, self.kernel) + self.bias
        # The same as with the outer product, which is never made: it would be
        # as large as the weights.
        noise = keras.ops.matmul(features * self.noise_in, self.kernel_sigma)
        outputs += self.noise_out * (noise + self.bias_sigma)
        return self.activation(outputs)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "sigma": self.sigma,
            "seed": self.seed,
        }


def is_noise(variable):
    """Whether a variable holds the noise of a `NoisyDense`."""
    return getattr(variable, "is_noise", False)


def noise_variables(network):
    """List of the variables that hold a network's noise, or a `Target`'s."""
    return [v for v in network.variables if is_noise(v)]


def resample_noise(network, seed_generator):
    """Draws all noise of a network, or of a `Target`, anew.

    Args:
        network: A `keras.Model`, or a `Target`; without a `NoisyDense` it
            stays as it is, and nothing is drawn.
        seed_generator: A `keras.random.SeedGenerator`.

    Reference:
     - [Fortunato et al., 2018](https://arxiv.org/abs/1706.10295), eq. 10-11:
       the factors are `sgn(x) * sqrt(|x|)` of standard normal x
    """
    variables = noise_variables(network)
    if not variables:
        return
    ends = np.cumsum([variable.shape[0] for variable in variables])
    drawn = keras.random.normal((int(ends[-1]),), seed=seed_generator)
    factors = keras.ops.sign(drawn) * keras.ops.sqrt(keras.ops.abs(drawn))
    parts = keras.ops.split(factors, ends[:-1].tolist())
    for variable, part in zip(variables, parts):
        variable.assign(part)


def without_noise(network):
    """What a network computes where all of its noise is 0.

    Args:
        network: A `keras.Model`.

    Returns:
        Function from observations to the outputs; `network` itself, if it has
        no noise.
    """
    variables = noise_variables(network)
    if not variables:
        return network

    def compute(obs):
        zeros = [(v, keras.ops.zeros_like(v)) for v in variables]
        with keras.StatelessScope(zeros):
            return network(obs)

    return compute
