import keras
import numpy as np
import pytest
from gymnasium import spaces as gym
from gymnasium.vector.utils import batch_space

from keras_rl2x import networks

NESTED = gym.Dict(
    at=gym.Box(-1, 1, (2, 3)),
    body=gym.Tuple([gym.Discrete(4, start=1), gym.Dict(held=gym.Discrete(2))]),
    pixels=gym.Box(0, 255, (2, 2), "uint8"),
    time=gym.Box(0, 1, (), "float64"),
    wins=gym.MultiBinary(3),
)
# 6 + (4 + 2) + 4 + 1 + 3.
NESTED_SIZE = 20


def sample(space, num_envs=5, seed=0):
    batch = batch_space(space, num_envs)
    batch.seed(seed)
    return batch.sample()


def same(network, other):
    return all(
        np.array_equal(weight, its)
        for weight, its in zip(network.get_weights(), other.get_weights())
    )


# inputs


def beginning(space):
    entries, tensors = networks.inputs(space)
    return keras.Model(entries, tensors)


def test_categories_become_one_hot_vectors():
    begin = beginning(gym.Discrete(3))
    np.testing.assert_array_equal(
        begin(np.array([2, 0], "int32")), [[0, 0, 1], [1, 0, 0]]
    )


def test_categories_are_counted_from_the_start():
    begin = beginning(gym.Discrete(3, start=5))
    np.testing.assert_array_equal(
        begin(np.array([5, 7, 6], "int32")),
        [[1, 0, 0], [0, 0, 1], [0, 1, 0]],
    )


def test_many_categories_are_concatenated():
    begin = beginning(gym.MultiDiscrete([2, 3], start=[0, -1]))
    # 1 of {0, 1}, then -1 and 1 of {-1, 0, 1}.
    np.testing.assert_array_equal(
        begin(np.array([[1, -1], [0, 1]], "int32")),
        [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]],
    )
    begin = beginning(gym.MultiDiscrete([[2], [2]]))
    np.testing.assert_array_equal(
        begin(np.array([[[1], [0]]], "int32")), [[0, 1, 1, 0]]
    )


def test_other_observations_are_passed_on():
    space = gym.Box(0, 255, (2, 2, 1), "uint8")
    obs = sample(space)
    passed = beginning(space)(obs)
    assert passed.dtype == "uint8"
    np.testing.assert_array_equal(passed, obs)


def test_inputs_are_nested_as_the_space():
    entries, tensors = networks.inputs(NESTED)
    assert set(entries) == set(tensors) == set(NESTED.spaces)
    assert entries["body"][0].dtype == "int32"
    assert entries["time"].dtype == "float32"
    assert tensors["body"][0].shape == (None, 4)
    assert tensors["body"][1]["held"].shape == (None, 2)


@pytest.mark.filterwarnings("error")
def test_inputs_are_named_as_keras_wants_them():
    networks.mlp(NESTED)
    assert networks.mlp(gym.Box(-1, 1, (2,))).input.name == "observation"


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_any_key_can_be_the_name_of_an_input():
    box = gym.Box(-1, 1, (1,))
    space = gym.Dict({"a/b": box, "a_b": box, "a": gym.Dict(b_=box), "?": box})
    assert networks.mlp(space)(sample(space)).shape == (5, 64)


def test_one_hot_survives_saving(tmp_path):
    begin = beginning(gym.MultiDiscrete([2, 3], start=[1, 2]))
    begin.save(tmp_path / "begin.keras")
    loaded = keras.saving.load_model(tmp_path / "begin.keras")
    obs = np.array([[2, 3]], "int32")
    np.testing.assert_array_equal(loaded(obs), [[0, 1, 0, 1, 0]])
    np.testing.assert_array_equal(loaded(obs), begin(obs))


# mlp


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (gym.Box(-1, 1, ()), 1),
        (gym.Box(-1, 1, (4,)), 4),
        (gym.Box(-1, 1, (2, 3, 2), "float64"), 12),
        (gym.Box(-5, 5, (2,), "int64"), 2),
        (gym.Discrete(7, start=3), 7),
        (gym.MultiDiscrete([2, 5]), 7),
        (gym.MultiBinary([2, 2]), 4),
        (gym.Tuple([gym.Discrete(3), gym.Box(-1, 1, (2,))]), 5),
        (gym.Tuple([gym.Discrete(3)]), 3),
        (NESTED, NESTED_SIZE),
    ],
    ids=str,
)
def test_mlp_takes_any_observation(space, size):
    network = networks.mlp(space, units=(8, 6))
    assert network.get_layer("hidden_0").kernel.shape == (size, 8)
    features = np.array(network(sample(space)))
    assert features.shape == (5, 6)
    assert features.dtype == "float32"
    assert np.isfinite(features).all()


def test_mlp_by_hand():
    network = networks.mlp(gym.Box(-9, 9, (2,)), units=(2,))
    network.set_weights([np.array([[1, -1], [2, 0]]), np.array([0.5, 0])])
    # (3 + 2 * 1 + 0.5, relu(-3)), (-3 + 2 + 0.5 -> 0, 3).
    obs = np.array([[3, 1], [-3, 1]], "float32")
    np.testing.assert_array_equal(network(obs), [[5.5, 0], [0, 3]])


def test_mlp_scales_bytes():
    bounds = {"ram": 255, "few": 5, "bit": 1}
    space = gym.Dict(
        {k: gym.Box(0, high, (1,), "uint8") for k, high in bounds.items()},
        z=gym.MultiBinary(1),
    )
    network = networks.mlp(space, units=(1,))
    kernel = np.array([[1.0], [10.0], [100.0], [1_000.0]])
    network.set_weights([kernel, np.zeros(1)])
    most = {name: np.array([[high]], "uint8") for name, high in bounds.items()}
    features = network({**most, "z": np.ones((1, 1), "uint8")})
    np.testing.assert_allclose(features, [[1_111]], rtol=1e-6)


def test_mlp_takes_what_dense_takes():
    network = networks.mlp(
        gym.Box(-1, 1, (2,)),
        units=np.array([3, 4]),
        activation="tanh",
        kernel_initializer=keras.initializers.Constant(0.5),
    )
    obs = np.array([[1, 1]], "float32")
    hidden = np.tanh(1.0)
    np.testing.assert_allclose(
        network(obs), np.full((1, 4), np.tanh(1.5 * hidden)), rtol=1e-6
    )
    network = networks.mlp(
        gym.Box(-1, 1, (2,)),
        kernel_initializer=lambda shape, dtype=None: np.ones(shape, dtype),
    )
    np.testing.assert_array_equal(network.get_weights()[0], np.ones((2, 64)))


def test_seeds_of_mlp():
    space = gym.Box(-1, 1, (4,))
    network = networks.mlp(space, (8, 8, 8), seed=1)
    assert same(network, networks.mlp(space, (8, 8, 8), seed=1))
    assert not same(network, networks.mlp(space, (8, 8, 8), seed=2))
    second, third = network.get_weights()[2], network.get_weights()[4]
    assert not np.array_equal(second, third)


def test_without_a_seed_keras_decides():
    space = gym.Box(-1, 1, (4,))
    keras.utils.set_random_seed(3)
    network = networks.mlp(space, (8, 8))
    other = networks.mlp(space, (8, 8))
    keras.utils.set_random_seed(3)
    assert same(network, networks.mlp(space, (8, 8)))
    assert not same(network, other)


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


def test_where_mlp_normalizes():
    space, layer = gym.Box(-1, 1, (4,)), keras.layers.LayerNormalization
    around = networks.mlp(space, (8, 8), normalization=layer)
    between = networks.mlp(
        space, (8, 8), normalization=layer, before_activation=True
    )
    normalize = "LayerNormalization"
    assert kinds(around)[-5:] == [normalize, *2 * ["Dense", normalize]]
    assert kinds(between)[-6:] == 2 * ["Dense", normalize, "Activation"]
    assert kinds(between).count(normalize) == 2
    obs = sample(space)
    # The last layer's outputs: of mean 0, or past the ReLU.
    assert np.min(around(obs)) < 0 <= np.min(between(obs))


def test_noisy_layers():
    space = gym.Box(-1, 1, (4,))
    network = networks.mlp(space, (8, 6), "tanh", noisy=True, seed=0)
    layers = [network.get_layer(f"hidden_{i}") for i in (0, 1)]
    for layer in layers:
        assert isinstance(layer, networks.NoisyDense)
        assert layer.activation is keras.activations.tanh
    assert layers[0].seed != layers[1].seed
    same, other = (
        networks.mlp(space, (8, 6), noisy=True, seed=seed) for seed in (0, 1)
    )
    np.testing.assert_array_equal(same.weights[0], network.weights[0])
    assert np.any(other.weights[0] != network.weights[0])


@pytest.mark.parametrize("units", [64, (64, 0), (64, 3.5), "64"])
def test_wrong_units(units):
    with pytest.raises(
        ValueError, match=r"a sequence .* \(64, 64\)\. Received"
    ):
        networks.mlp(gym.Box(-1, 1, (2,)), units)
