"""Running statistics: layers that learn a scale from what is collected.

They are updated by `update_statistics` alone, while collecting; at all other
times they are frozen, also while training.
"""

import contextlib

import keras

_EPSILON = 1e-8
_updating = False


@contextlib.contextmanager
def update_statistics():
    """Inside, calling a network updates its `RunningNormalization`s."""
    global _updating
    before, _updating = _updating, True
    try:
        yield
    finally:
        _updating = before


class _Statistics(keras.layers.Layer):
    """The mean and the variance of all values so far.

    In single precision, whatever comes in.
    """

    def __init__(self, clip, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.clip = clip

    def _build(self, shape):
        zeros, ones = ("zeros", "ones")
        self.count = self._statistic("count", (), zeros)
        self.mean = self._statistic("mean", shape, zeros)
        self.variance = self._statistic("variance", shape, ones)

    def _statistic(self, name, shape, initializer):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype="float32",
            initializer=initializer,
            trainable=False,
            autocast=False,
        )

    def _join(self, size, mean, variance):
        """Takes `size` more values into account, of this mean and variance.

        Reference:
         - [Chan et al., 1979](http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf),
           eq. 2.1
        """
        total = self.count + size
        divisor = keras.ops.maximum(total, 1.0)
        shift = mean - self.mean
        squares = (
            self.variance * self.count
            + variance * size
            + keras.ops.square(shift) * self.count * size / divisor
        )
        new_mean = self.mean + shift * size / divisor
        self.variance.assign(squares / divisor)
        self.mean.assign(new_mean)
        self.count.assign(total)


@keras.saving.register_keras_serializable("keras_rl2x")
class RunningNormalization(_Statistics):
    """Shifts and scales each feature to mean 0 and variance 1, and clips.

    For agents that learn from rollouts: the others refuse it, as long as it
    is empty.

    Args:
        clip: Float, the largest absolute value that passes. Defaults to 10.
    """

    def __init__(self, clip=10.0, **kwargs):
        super().__init__(clip, **kwargs)

    def build(self, shape):
        self._build(tuple(shape[1:]))

    def update(self, features):
        """Takes more features into account, a tensor `[B, ...]`."""
        self._join(
            keras.ops.cast(keras.ops.shape(features)[0], "float32"),
            keras.ops.mean(features, axis=0),
            keras.ops.var(features, axis=0),
        )

    def call(self, features):
        features = keras.ops.cast(features, "float32")
        if _updating:
            self.update(features)
        scaled = (features - self.mean) * keras.ops.rsqrt(
            self.variance + _EPSILON
        )
        return keras.ops.clip(scaled, -self.clip, self.clip)

    def get_config(self):
        return {**super().get_config(), "clip": self.clip}


class RewardScale(_Statistics):
    """Divides rewards by the deviation of the discounted sums of rewards.

    It does not shift them: that would change what the best policy is.

    Args:
        clip: Float, the largest absolute reward that passes. Defaults to 10.

    Reference:
     - [Engstrom et al., 2020](https://arxiv.org/abs/2005.12729), appendix A
    """

    def __init__(self, clip=10.0, **kwargs):
        super().__init__(clip, **kwargs)
        self._build(())
        self.built = True

    def update(self, sums, live):
        """Takes more sums into account.

        Args:
            sums: Tensor `[B]`.
            live: Boolean tensor `[B]`, which of them are sums of rewards.
        """
        weight = keras.ops.cast(live, "float32")
        size = keras.ops.sum(weight)
        share = weight / keras.ops.maximum(size, 1.0)
        mean = keras.ops.sum(share * sums)
        variance = keras.ops.sum(share * keras.ops.square(sums - mean))
        self._join(size, mean, variance)

    def call(self, reward):
        scaled = reward * keras.ops.rsqrt(self.variance + _EPSILON)
        return keras.ops.clip(scaled, -self.clip, self.clip)
