"""Backbones of images: convolutional networks, channels last."""

import keras

from keras_rl2x import spaces
from keras_rl2x.networks.dense import dense
from keras_rl2x.networks.dense import seeded


def nature_cnn(
    observation_space,
    units=512,
    seed=None,
    normalization=None,
    dtype=None,
    noisy=False,
):
    """The convolutional network of the Nature DQN paper.

    Args:
        observation_space: A `gymnasium.spaces.Box` of images
            `(height, width, channels)`, at least 36 pixels high and wide;
            `uint8` images are scaled from 0-255 to 0-1 in the graph.
        units: Integer, the width of the last, dense layer. `None`: the features
            are what the convolutions give, as a dueling head wants them, which
            begins with dense layers of its own. Defaults to 512.
        seed: Integer seed of the initial weights. Defaults to `None`.
        normalization: Function without arguments that returns a layer, such as
            `keras.layers.LayerNormalization`: one is put before the dense
            layer's activation. (Between convolutions they would take half as
            long as these.) Defaults to `None`.
        dtype: What its layers compute with, as in `keras.layers.Layer`:
            `"mixed_bfloat16"` takes less time on processors that have it. The
            weights and the features stay `float32`. Defaults to `None`,
            Keras's own.
        noisy: Boolean, whether the dense layer is a `NoisyDense`; see `mlp`.
            Defaults to `False`.

    Returns:
        A `keras.Model` from observations to features `[B, units]`.

    Raises:
        ValueError: If the space does not hold such images, or there is no
            dense layer to be normalized or noisy.

    Reference:
     - [Mnih et al., 2015](https://doi.org/10.1038/nature14236), methods
    """
    return _stack(
        "nature_cnn",
        36,
        ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
        observation_space,
        units,
        seed,
        normalization,
        dtype,
        noisy,
    )


def nips_cnn(
    observation_space,
    units=256,
    seed=None,
    normalization=None,
    dtype=None,
    noisy=False,
):
    """The network of the first DQN paper (NIPS workshop, 2013), and of A3C's.

    It takes a third of what `nature_cnn` takes.

    Args:
        observation_space: As in `nature_cnn`, at least 20 pixels high and wide.
        units: As in `nature_cnn`. Defaults to 256.
        seed: Integer seed of the initial weights. Defaults to `None`.
        normalization: As in `nature_cnn`.
        dtype: As in `nature_cnn`.
        noisy: As in `nature_cnn`.

    Returns:
        A `keras.Model` from observations to features `[B, units]`.

    Raises:
        ValueError: If the space does not hold such images, or there is no
            dense layer to be normalized or noisy.

    Reference:
     - [Mnih et al., 2013](https://arxiv.org/abs/1312.5602), section 4.1
     - [Mnih et al., 2016](https://arxiv.org/abs/1602.01783)
    """
    return _stack(
        "nips_cnn",
        20,
        ((16, 8, 4), (32, 4, 2)),
        observation_space,
        units,
        seed,
        normalization,
        dtype,
        noisy,
    )


def minatar_cnn(
    observation_space,
    units=128,
    seed=None,
    normalization=None,
    dtype=None,
    noisy=False,
):
    """The network of MinAtar, for small pictures and grids: one convolution.

    Args:
        observation_space: As in `nature_cnn`, at least 7 pixels high and wide.
        units: As in `nature_cnn`. Defaults to 128.
        seed: Integer seed of the initial weights. Defaults to `None`.
        normalization: As in `nature_cnn`.
        dtype: As in `nature_cnn`.
        noisy: As in `nature_cnn`.

    Returns:
        A `keras.Model` from observations to features `[B, units]`.

    Raises:
        ValueError: If the space does not hold such images, or there is no
            dense layer to be normalized or noisy.

    Reference:
     - [Young and Tian, 2019](https://arxiv.org/abs/1903.03176)
    """
    return _stack(
        "minatar_cnn",
        7,
        ((16, 3, 1),),
        observation_space,
        units,
        seed,
        normalization,
        dtype,
        noisy,
    )


def impala_cnn(
    observation_space,
    units=256,
    seed=None,
    normalization=None,
    dtype=None,
    noisy=False,
):
    """The deep residual network of the IMPALA paper, without its LSTM.

    It learns more from a frame than `nature_cnn`, and takes ten times as long.

    Args:
        observation_space: As in `nature_cnn`, at least 8 pixels high and wide.
        units: As in `nature_cnn`. Defaults to 256.
        seed: Integer seed of the initial weights. Defaults to `None`.
        normalization: As in `nature_cnn`.
        dtype: As in `nature_cnn`.
        noisy: As in `nature_cnn`.

    Returns:
        A `keras.Model` from observations to features `[B, units]`.

    Raises:
        ValueError: If the space does not hold such images, or there is no
            dense layer to be normalized or noisy.

    Reference:
     - [Espeholt et al., 2018](https://arxiv.org/abs/1802.01561), figure 3
       (large)
    """
    entry, x = _images(observation_space, "impala_cnn", 8, dtype)
    # As the authors' library draws them; larger weights would add up over the
    # residual blocks.
    initializers = seeded("lecun_normal", seed)

    def convolve(x, filters):
        return keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            data_format="channels_last",
            kernel_initializer=next(initializers),
            dtype=dtype,
        )(x)

    for filters in (16, 32, 32):
        x = convolve(x, filters)
        x = keras.layers.MaxPooling2D(
            3, 2, padding="same", data_format="channels_last", dtype=dtype
        )(x)
        for _ in range(2):
            skipped = x
            for _ in range(2):
                x = convolve(keras.layers.ReLU(dtype=dtype)(x), filters)
            x = keras.layers.Add(dtype=dtype)([x, skipped])
    x = keras.layers.ReLU(dtype=dtype)(x)
    x = _features(x, units, next(initializers), normalization, dtype, noisy)
    return keras.Model(entry, x, name="impala_cnn")


def for_images(shape):
    """The function here that suits images of a shape; `None` for others."""
    pixels = min(shape[:2]) if len(shape) == 3 else 0
    for make, least in ((nature_cnn, 36), (minatar_cnn, 7)):
        if pixels >= least:
            return make
    return None


def _stack(
    name,
    least,
    convolutions,
    observation_space,
    units,
    seed,
    normalization,
    dtype,
    noisy,
):
    """Convolutions one after the other: `(filters, size, stride)` each."""
    entry, x = _images(observation_space, name, least, dtype)
    initializers = seeded("he_uniform", seed)
    for filters, size, stride in convolutions:
        x = keras.layers.Conv2D(
            filters,
            size,
            stride,
            data_format="channels_last",
            kernel_initializer=next(initializers),
            dtype=dtype,
        )(x)
        x = keras.layers.ReLU(dtype=dtype)(x)
    x = _features(x, units, next(initializers), normalization, dtype, noisy)
    return keras.Model(entry, x, name=name)


def _images(observation_space, name, least, dtype):
    """Tuple: the `keras.Input` of images, and a tensor scaled to 0-1."""
    leaf = spaces.spec(observation_space)
    images = isinstance(leaf, spaces.Leaf) and len(leaf.shape) == 3
    if not images or min(leaf.shape[:2]) < least:
        raise ValueError(
            f"`{name}` needs images (height, width, channels) of at least "
            f"{least} x {least} pixels: use `mlp`, or a `keras.Model` of your "
            f"own. Received: observation_space={observation_space}"
        )
    entry = keras.Input(leaf.shape, dtype=leaf.dtype, name="observation")
    scale = 1 / 255 if leaf.dtype == "uint8" else 1.0
    return entry, keras.layers.Rescaling(scale, dtype=dtype)(entry)


def _features(x, units, initializer, normalization, dtype, noisy):
    """What the last, dense layer gives, `[B, units]`; without it, its input."""
    # Heads, losses and log-probabilities need all the digits.
    if units is None:
        if normalization is not None or noisy:
            raise ValueError(
                "With units=None there is no dense layer to be normalized or "
                f"noisy: leave both out. Received: {normalization=}, {noisy=}"
            )
        return keras.layers.Flatten("channels_last", dtype="float32")(x)
    x = keras.layers.Flatten("channels_last", dtype=dtype)(x)
    x = dense(units, initializer, noisy=noisy, dtype=dtype)(x)
    if normalization is not None:
        x = normalization()(x)
    return keras.layers.ReLU(dtype="float32")(x)
