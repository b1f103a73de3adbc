"""Distributions over actions, as functions of a network's outputs.

A distribution here is a family: it holds shapes only, and each method takes
the parameters `[B, P]` that a policy network gives. So an agent has one, and a
batch is a tensor. `acting.samplers` has the same draws in NumPy.
"""

import itertools
import math

import keras

from keras_rl2x.ops.checks import assert_rank
from keras_rl2x.ops.value import take


def distribution(leaf):
    """The distribution over the actions of one space.

    Args:
        leaf: A `spaces.Leaf`.

    Returns:
        A `Categorical`, `MultiCategorical`, `Bernoulli` or
        `DiagonalGaussian`.
    """
    if leaf.kind == "discrete":
        return Categorical(leaf.num_classes[0])
    if leaf.kind == "multi_discrete":
        return MultiCategorical(leaf.num_classes, leaf.shape)
    if leaf.kind == "multi_binary":
        return Bernoulli(leaf.shape)
    return DiagonalGaussian(leaf.shape)


class Categorical:
    """One of `num_classes`; the parameters are logits `[B, num_classes]`.

    Actions are integers `[B]`.
    """

    def __init__(self, num_classes):
        self.num_params = int(num_classes)

    def mode(self, logits):
        """The most probable action."""
        return keras.ops.argmax(logits, axis=-1)

    def sample(self, logits, seed):
        """An action drawn with a `keras.random.SeedGenerator`."""
        drawn = keras.random.categorical(logits, 1, seed=seed)
        return keras.ops.squeeze(drawn, axis=-1)

    def log_prob(self, logits, action):
        """Tensor `[B]`, the logarithm of the action's probability."""
        return take(keras.ops.log_softmax(logits), action)

    def entropy(self, logits):
        """Tensor `[B]`, in nats."""
        log_p = keras.ops.log_softmax(logits)
        return -keras.ops.sum(keras.ops.exp(log_p) * log_p, axis=-1)

    def kl(self, logits, other):
        """Tensor `[B]`, the divergence `KL(p(logits) || p(other))`."""
        log_p = keras.ops.log_softmax(logits)
        log_q = keras.ops.log_softmax(other)
        return keras.ops.sum(keras.ops.exp(log_p) * (log_p - log_q), axis=-1)


class MultiCategorical:
    """Independent categories; the parameters are their logits, side by side.

    Actions are integers `[B, *shape]`.

    Args:
        num_classes: Sequence of integers, one for each (flattened) entry.
        shape: Tuple of integers.
    """

    def __init__(self, num_classes, shape):
        self.parts = [Categorical(n) for n in num_classes]
        self.shape = tuple(shape)
        self.num_params = sum(part.num_params for part in self.parts)

    def mode(self, logits):
        return self._join("mode", self._split(logits))

    def sample(self, logits, seed):
        return self._join("sample", self._split(logits), seed)

    def log_prob(self, logits, action):
        entries = keras.ops.reshape(action, (-1, len(self.parts)))
        columns = (entries[:, i] for i in range(len(self.parts)))
        return self._sum("log_prob", self._split(logits), columns)

    def entropy(self, logits):
        return self._sum("entropy", self._split(logits))

    def kl(self, logits, other):
        return self._sum("kl", self._split(logits), self._split(other))

    def _split(self, logits):
        sizes = [part.num_params for part in self.parts]
        ends = itertools.accumulate(sizes)
        return [logits[:, end - n : end] for n, end in zip(sizes, ends)]

    def _sum(self, method, *arguments):
        terms = zip(self.parts, *arguments)
        return sum(getattr(part, method)(*rest) for part, *rest in terms)

    def _join(self, method, logits, *arguments):
        drawn = [
            getattr(part, method)(entry, *arguments)
            for part, entry in zip(self.parts, logits)
        ]
        return keras.ops.reshape(
            keras.ops.stack(drawn, axis=-1), (-1, *self.shape)
        )


class Bernoulli:
    """Independent bits; the parameters are logits of 1.

    Actions are 0 or 1, `[B, *shape]`.
    """

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.num_params = math.prod(self.shape)

    def mode(self, logits):
        """The most probable bits."""
        return self._bits(logits > 0)

    def sample(self, logits, seed):
        """Bits drawn with a `keras.random.SeedGenerator`."""
        uniform = keras.random.uniform(keras.ops.shape(logits), seed=seed)
        return self._bits(uniform < keras.ops.sigmoid(logits))

    def log_prob(self, logits, action):
        """Tensor `[B]`, the logarithm of the bits' probability."""
        bits = keras.ops.reshape(action, (-1, self.num_params))
        sign = 2 * keras.ops.cast(bits, logits.dtype) - 1
        return keras.ops.sum(keras.ops.log_sigmoid(sign * logits), axis=-1)

    def entropy(self, logits):
        """Tensor `[B]`, in nats."""
        return -self._expected(logits, *self._log_probs(logits))

    def kl(self, logits, other):
        """Tensor `[B]`, the divergence `KL(p(logits) || p(other))`."""
        pairs = zip(self._log_probs(logits), self._log_probs(other))
        return self._expected(logits, *(p - q for p, q in pairs))

    def _log_probs(self, logits):
        """Of a 1 and of a 0."""
        return keras.ops.log_sigmoid(logits), keras.ops.log_sigmoid(-logits)

    def _expected(self, logits, if_one, if_zero):
        p = keras.ops.sigmoid(logits)
        return keras.ops.sum(p * if_one + (1 - p) * if_zero, axis=-1)

    def _bits(self, booleans):
        bits = keras.ops.cast(booleans, "uint8")
        return keras.ops.reshape(bits, (-1, *self.shape))


class DiagonalGaussian:
    """Independent normal numbers; the parameters are means, then log stds.

    Actions are real, `[B, *shape]`. They are not squashed: what exceeds the
    bounds is clipped on its way to the environment (`spaces.to_env`), and the
    density stays that of what was drawn. So log-probabilities and entropy are
    exact and cheap, and KL has a closed form, which TRPO needs.
    """

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.size = math.prod(self.shape)
        self.num_params = 2 * self.size

    def mode(self, params):
        """The means."""
        return self._shaped(self._split(params)[0])

    def sample(self, params, seed):
        """Numbers drawn with a `keras.random.SeedGenerator`."""
        mean, log_std = self._split(params)
        noise = keras.random.normal(keras.ops.shape(mean), seed=seed)
        return self._shaped(mean + keras.ops.exp(log_std) * noise)

    def log_prob(self, params, action):
        """Tensor `[B]`, the logarithm of the density."""
        mean, log_std = self._split(params)
        flat = keras.ops.reshape(action, (-1, self.size))
        z = (flat - mean) * keras.ops.exp(-log_std)
        constant = 0.5 * math.log(2 * math.pi)
        return -keras.ops.sum(
            0.5 * keras.ops.square(z) + log_std + constant, axis=-1
        )

    def entropy(self, params):
        """Tensor `[B]`, the differential entropy in nats."""
        _, log_std = self._split(params)
        constant = 0.5 * math.log(2 * math.pi * math.e)
        return keras.ops.sum(log_std + constant, axis=-1)

    def kl(self, params, other):
        """Tensor `[B]`, the divergence `KL(p(params) || p(other))`."""
        mean, log_std = self._split(params)
        other_mean, other_log_std = self._split(other)
        shift = keras.ops.square(mean - other_mean)
        ratio = keras.ops.exp(2 * (log_std - other_log_std))
        distance = shift * keras.ops.exp(-2 * other_log_std)
        return keras.ops.sum(
            other_log_std - log_std + 0.5 * (ratio + distance - 1), axis=-1
        )

    def _split(self, params):
        assert_rank(2, params=params)
        return params[:, : self.size], params[:, self.size :]

    def _shaped(self, values):
        return keras.ops.reshape(values, (-1, *self.shape))


class SquashedGaussian:
    """Normal numbers through tanh; the parameters are means, then log stds.

    Actions are in (-1, 1), `[B, *shape]`. What is drawn comes with its
    log-probability: to invert tanh at 1 would be to lose it.
    """

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.size = math.prod(self.shape)
        self.num_params = 2 * self.size

    def mode(self, params):
        """The tanh of the means."""
        mean = keras.ops.tanh(params[:, : self.size])
        return keras.ops.reshape(mean, (-1, *self.shape))

    def sample_and_log_prob(self, params, seed):
        """Draws actions; gradients go through them to the parameters.

        `log pi(a) = log N(u) - sum log(1 - tanh(u)^2)`, where the last term is
        computed as `2 (log 2 - u - softplus(-2 u))`, which is exact where
        tanh(u) rounds to 1.

        Args:
            params: Tensor `[B, 2 D]`.
            seed: A `keras.random.SeedGenerator`.

        Returns:
            Tuple of tensors: actions `[B, *shape]`, log-probabilities `[B]`.

        Reference:
         - [Haarnoja et al., 2018](https://arxiv.org/abs/1812.05905),
           appendix C, eq. 26
        """
        assert_rank(2, params=params)
        mean, log_std = params[:, : self.size], params[:, self.size :]
        noise = keras.random.normal(keras.ops.shape(mean), seed=seed)
        u = mean + keras.ops.exp(log_std) * noise
        constant = 0.5 * math.log(2 * math.pi)
        normal = -0.5 * keras.ops.square(noise) - log_std - constant
        slope = 2 * (math.log(2) - u - keras.ops.softplus(-2 * u))
        action = keras.ops.reshape(keras.ops.tanh(u), (-1, *self.shape))
        return action, keras.ops.sum(normal - slope, axis=-1)
