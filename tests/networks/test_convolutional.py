import keras
import numpy as np
import pytest
from gymnasium import spaces as gym
from gymnasium.vector.utils import batch_space

from keras_rl2x import networks

IMAGES = gym.Box(0, 255, (36, 36, 1), "uint8")
MAKERS = [
    networks.nature_cnn,
    networks.nips_cnn,
    networks.minatar_cnn,
    networks.impala_cnn,
]
EACH = pytest.mark.parametrize("make", MAKERS)


def sample(space, num_envs=2, seed=0):
    batch = batch_space(space, num_envs)
    batch.seed(seed)
    return batch.sample()


def same(network, other):
    return all(
        np.array_equal(weight, its)
        for weight, its in zip(network.get_weights(), other.get_weights())
    )


def kernels(network):
    return [w.shape for w in network.get_weights() if w.ndim > 1]


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


def test_nature_cnn_is_that_of_the_paper():
    network = networks.nature_cnn(gym.Box(0, 255, (84, 84, 4), "uint8"))
    # 84 -> 20 -> 9 -> 7, and 7 * 7 * 64 = 3136.
    assert kernels(network) == [
        (8, 8, 4, 32),
        (4, 4, 32, 64),
        (3, 3, 64, 64),
        (3136, 512),
    ]


def test_nips_cnn_is_that_of_the_paper():
    network = networks.nips_cnn(gym.Box(0, 255, (84, 84, 4), "uint8"))
    # 84 -> 20 -> 9, and 9 * 9 * 32 = 2592.
    assert kernels(network) == [(8, 8, 4, 16), (4, 4, 16, 32), (2592, 256)]


def test_minatar_cnn_is_that_of_the_paper():
    network = networks.minatar_cnn(gym.Box(0, 1, (10, 10, 4)))
    # 10 -> 8, and 8 * 8 * 16 = 1024.
    assert kernels(network) == [(3, 3, 4, 16), (1024, 128)]


def test_impala_cnn_is_that_of_the_paper():
    network = networks.impala_cnn(gym.Box(0, 255, (84, 84, 4), "uint8"))
    # 84 -> 42 -> 21 -> 11, and 11 * 11 * 32 = 3872.
    assert kernels(network) == [
        (3, 3, 4, 16),
        *4 * [(3, 3, 16, 16)],
        (3, 3, 16, 32),
        *4 * [(3, 3, 32, 32)],
        *5 * [(3, 3, 32, 32)],
        (3872, 256),
    ]
    found = kinds(network)
    assert found.count("Add") == 6
    assert found.count("MaxPooling2D") == 3
    assert found[-4:] == ["ReLU", "Flatten", "Dense", "ReLU"]


def test_residual_blocks_pass_on_what_they_do_not_change():
    space = gym.Box(0, 1, (8, 8, 1))
    network = networks.impala_cnn(space, units=16, seed=0)
    obs = sample(space)
    convolutions = [x for x in network.layers if "conv" in x.name]
    for i, layer in enumerate(convolutions):
        if i % 5:
            layer.kernel.assign(0 * layer.kernel)
    x = obs
    for first in convolutions[::5]:
        x = keras.layers.MaxPooling2D(3, 2, padding="same")(first(x))
    x = keras.ops.reshape(keras.ops.relu(x), (2, -1))
    expected = keras.ops.relu(network.layers[-2](x))
    np.testing.assert_allclose(network(obs), expected, rtol=1e-5, atol=1e-6)


@EACH
def test_bytes_are_scaled_and_floats_are_not(make):
    obs = sample(IMAGES)
    network = make(IMAGES, units=16, seed=0)
    other = make(gym.Box(0, 1, (36, 36, 1)), units=16, seed=0)
    assert same(network, other)
    np.testing.assert_allclose(
        network(obs), other(obs.astype("float32") / 255), rtol=1e-4, atol=1e-5
    )


@EACH
def test_channels_are_last_whatever_keras_has_them_be(make):
    network = make(IMAGES, 8, seed=1)
    keras.config.set_image_data_format("channels_first")
    try:
        other = make(IMAGES, 8, seed=1)
    finally:
        keras.config.set_image_data_format("channels_last")
    obs = sample(IMAGES)
    np.testing.assert_array_equal(network(obs), other(obs))


@EACH
def test_seeds(make):
    network = make(IMAGES, 8, seed=1)
    assert same(network, make(IMAGES, 8, seed=1))
    assert not same(network, make(IMAGES, 8, seed=2))


@pytest.mark.parametrize("make", [networks.nature_cnn, networks.impala_cnn])
def test_no_two_layers_begin_alike(make):
    network = make(IMAGES, 8, seed=1)
    first, *others = [w for w in network.get_weights() if w.shape[-1] == 32]
    assert not any(np.array_equal(first, w) for w in others)


@EACH
def test_a_layer_before_the_last_activation(make):
    network = make(IMAGES, 8, normalization=keras.layers.LayerNormalization)
    *before, dense, last = kinds(make(IMAGES, 8))
    assert kinds(network) == [*before, dense, "LayerNormalization", last]


@EACH
def test_half_precision_inside_only(make):
    network = make(IMAGES, 16, seed=0, dtype="mixed_bfloat16")
    exact = make(IMAGES, 16, seed=0)
    assert same(network, exact)
    assert all(weight.dtype == "float32" for weight in network.weights)
    computing = [
        layer.compute_dtype
        for layer in network.layers
        if layer.weights or "pool" in layer.name or layer.name == "add"
    ]
    assert set(computing) == {"bfloat16"}
    obs = sample(IMAGES)
    features = np.array(network(obs))
    assert features.dtype == "float32"
    expected = np.array(exact(obs))
    assert not np.array_equal(features, expected)
    # Eight bits a number.
    tolerance = 0.05 * np.abs(expected).max()
    np.testing.assert_allclose(features, expected, atol=tolerance)


@EACH
def test_it_survives_saving(make, tmp_path):
    network = make(
        IMAGES,
        8,
        normalization=keras.layers.LayerNormalization,
        dtype="mixed_bfloat16",
    )
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    obs = sample(IMAGES)
    np.testing.assert_array_equal(loaded(obs), network(obs))
    assert [x.compute_dtype for x in loaded.layers] == [
        x.compute_dtype for x in network.layers
    ]


@EACH
def test_an_unknown_dtype(make):
    with pytest.raises(ValueError, match="Cannot convert .mixed_float17"):
        make(IMAGES, dtype="mixed_float17")


WRONG = {
    "low": gym.Box(0, 255, (6, 84, 4), "uint8"),
    "channels_first": gym.Box(0, 255, (4, 84, 84), "uint8"),
    "flat": gym.Box(0, 255, (84, 84), "uint8"),
    "no_pixels": gym.Discrete(3),
    "nested": gym.Dict(image=gym.Box(0, 255, (84, 84, 4), "uint8")),
}


@EACH
@pytest.mark.parametrize("space", WRONG.values(), ids=WRONG)
def test_what_is_no_image_is_refused(make, space):
    with pytest.raises(
        ValueError,
        match=f"(?s)`{make.__name__}` needs.*pixels: use `mlp`.*Received: obs",
    ):
        make(space)


def test_nature_cnn_needs_larger_images():
    with pytest.raises(ValueError, match="at least 36 x 36 pixels"):
        networks.nature_cnn(gym.Box(0, 255, (35, 84, 4), "uint8"))


def test_the_dense_layer_may_be_noisy():
    space = gym.Box(0, 255, (36, 36, 1), "uint8")
    for build in MAKERS:
        network = build(space, 8, seed=0, noisy=True)
        kinds = [type(layer).__name__ for layer in network.layers]
        assert kinds[-2:] == ["NoisyDense", "ReLU"]
        assert network.output.shape == (None, 8)


@EACH
@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16"])
def test_without_a_dense_layer_the_features_are_the_convolutions(make, dtype):
    usual = make(IMAGES, seed=0)
    network = make(IMAGES, None, seed=0, dtype=dtype)
    assert kernels(network) == kernels(usual)[:-1]
    assert network.output.shape == (None, kernels(usual)[-1][0])
    assert network.output.dtype == "float32"
    assert (network(sample(IMAGES)).numpy() >= 0).all()


@EACH
@pytest.mark.parametrize(
    "given", [{"noisy": True}, {"normalization": keras.layers.Normalization}]
)
def test_a_dense_layer_that_is_not_there_cannot_be_special(make, given):
    with pytest.raises(ValueError, match="units=None.*leave both out"):
        make(IMAGES, None, **given)
