"""Batch normalization that means the same in training and in inference."""

import keras


@keras.saving.register_keras_serializable("keras_rl2x")
class BatchRenormalization(keras.layers.Layer):
    """Normalizes each feature by its batch, corrected towards the running mean.

    In training `(x - m_B) / s_B * r + d`, with the batch's mean and deviation,
    `r = s_B / s` and `d = (m_B - m) / s`: what the running mean and deviation
    give, but with gradients through the batch's. Clipping r and d bounds the
    correction. The first `warmup` batches are normalized plainly (r = 1,
    d = 0), while the running statistics find their place. Outside of training
    these are all that counts, and they are frozen.

    Args:
        momentum: Float, how much of the running statistics a batch leaves.
            Defaults to 0.99.
        epsilon: Float, added to variances. Defaults to 1e-3.
        r_max: Float, the most that r or `1 / r` may be. Defaults to 3.
        d_max: Float, the most that d or `-d` may be. Defaults to 5.
        warmup: Integer, in batches. Defaults to 100,000.
        **kwargs: As in `keras.layers.Layer`.

    Reference:
     - [Ioffe, 2017](https://arxiv.org/abs/1702.03275), algorithm 1
    """

    def __init__(
        self,
        momentum=0.99,
        epsilon=1e-3,
        r_max=3.0,
        d_max=5.0,
        warmup=100_000,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.r_max = r_max
        self.d_max = d_max
        self.warmup = warmup

    def build(self, shape):
        features = tuple(shape[-1:])
        self.scale = self.add_weight(
            name="scale", shape=features, initializer="ones"
        )
        self.offset = self.add_weight(
            name="offset", shape=features, initializer="zeros"
        )
        self.mean = self._statistic("mean", features, "zeros")
        self.variance = self._statistic("variance", features, "ones")
        self.batches = self._statistic("batches", (), "zeros", "int32")

    def _statistic(self, name, shape, initializer, dtype="float32"):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            trainable=False,
            autocast=False,
        )

    def call(self, features, training=False):
        features = keras.ops.cast(features, "float32")
        if training:
            scaled = self._by_batch(features)
        else:
            scaled = (features - self.mean) / self._deviation(self.variance)
        scaled = keras.ops.cast(scaled, self.compute_dtype)
        return self.scale * scaled + self.offset

    def _by_batch(self, features):
        axes = tuple(range(len(features.shape) - 1))
        mean = keras.ops.mean(features, axes)
        variance = keras.ops.var(features, axes)
        deviation = self._deviation(variance)
        r, d = map(keras.ops.stop_gradient, self._correction(mean, deviation))
        self._follow(mean, variance)
        return (features - mean) / deviation * r + d

    def _correction(self, mean, deviation):
        """The r and d of a batch."""
        running = self._deviation(self.variance)
        r = keras.ops.clip(deviation / running, 1 / self.r_max, self.r_max)
        d = keras.ops.clip(
            (mean - self.mean) / running, -self.d_max, self.d_max
        )
        warm = keras.ops.cast(self.batches >= self.warmup, "float32")
        return 1 + warm * (r - 1), warm * d

    def _follow(self, mean, variance):
        step = 1 - self.momentum
        self.mean.assign_add(step * (mean - self.mean))
        self.variance.assign_add(step * (variance - self.variance))
        self.batches.assign_add(1)

    def _deviation(self, variance):
        return keras.ops.sqrt(variance + self.epsilon)

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "r_max": self.r_max,
            "d_max": self.d_max,
            "warmup": self.warmup,
        }
