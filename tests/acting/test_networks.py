"""The same network on the host, in the graph and in Keras."""

import keras
import numpy as np
import pytest
from gymnasium import spaces as gym
from gymnasium.vector.utils import batch_space

from keras_rl2x import networks
from keras_rl2x.acting import GraphNetwork
from keras_rl2x.acting import HostNetwork
from keras_rl2x.acting import export

BOX = gym.Box(-1, 1, (4,))
NESTED = gym.Dict(
    z=gym.Box(-1, 1, (2,), "float64"),
    a=gym.Tuple([gym.Discrete(3, start=1), gym.MultiDiscrete([2, 4])]),
    m=gym.MultiBinary(3),
    pixels=gym.Box(0, 255, (2, 2), "uint8"),
    count=gym.Box(-9, 9, (), "int64"),
)
IMAGES = gym.Box(0, 255, (36, 36, 2), "uint8")


def with_layers(*layers):
    entry = keras.Input((4,))
    x = keras.layers.Dense(16, "relu")(entry)
    for layer in layers:
        x = layer(x)
    return keras.Model(entry, keras.layers.Dense(3)(x))


def q_network(backbone, head="q_values"):
    return networks.action_values(backbone, 3, head, seed=0)


# How far from Keras the host may be.
NETWORKS = {
    "mlp": (lambda: q_network(networks.mlp(BOX, (32, 32))), BOX, 1e-6),
    "dueling": (lambda: q_network(networks.mlp(BOX), "dueling"), BOX, 1e-6),
    "nested": (lambda: q_network(networks.mlp(NESTED)), NESTED, 1e-5),
    "one": (
        lambda: q_network(networks.mlp(gym.Tuple([BOX]))),
        gym.Tuple([BOX]),
        1e-6,
    ),
    "cnn": (lambda: q_network(networks.nature_cnn(IMAGES, 16)), IMAGES, 1e-4),
    "impala": (
        lambda: q_network(networks.impala_cnn(IMAGES, 16)),
        IMAGES,
        1e-4,
    ),
    "normalized": (
        lambda: q_network(
            networks.nature_cnn(
                IMAGES, 16, normalization=keras.layers.LayerNormalization
            )
        ),
        IMAGES,
        1e-4,
    ),
    "layer_norm": (
        lambda: with_layers(keras.layers.LayerNormalization()),
        BOX,
        1e-5,
    ),
    "dropout": (
        lambda: with_layers(
            keras.layers.Dropout(0.5), keras.layers.GaussianNoise(1.0)
        ),
        BOX,
        1e-6,
    ),
    "batch_norm": (
        lambda: with_layers(keras.layers.BatchNormalization()),
        BOX,
        1e-5,
    ),
}


def sample(space, num_envs):
    batch = batch_space(space, num_envs)
    batch.seed(0)
    return batch.sample()


def scatter(network, seed):
    """Random weights, biases and statistics too."""
    rng = np.random.default_rng(seed)
    for variable in network.weights:
        noise = rng.normal(0, 0.3, variable.shape)
        if "variance" in variable.path:
            noise = np.abs(noise) + 0.5
        variable.assign(noise)


@pytest.mark.parametrize("num_envs", [1, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_host_graph_and_keras_agree(name, num_envs):
    make, space, tolerance = NETWORKS[name]
    network = make()
    obs = sample(space, num_envs)
    host = HostNetwork(export.flatbuffer(network, num_envs))
    graph = GraphNetwork(network, num_envs)
    seen = []
    for seed in (1, 2):
        scatter(network, seed)
        weights = [variable.numpy() for variable in export.weights(network)]
        for acting in (host, graph):
            acting.set_weights(weights)
        expected = np.array(network(obs))
        scale = np.abs(expected).max()
        for acting in (host, graph):
            values = acting(obs)
            assert isinstance(values, np.ndarray)
            assert values.dtype == "float32"
            np.testing.assert_allclose(
                values, expected, rtol=0, atol=tolerance * scale
            )
            np.testing.assert_array_equal(
                values.argmax(-1), expected.argmax(-1)
            )
        seen.append(expected)
    assert not np.allclose(*seen)


@pytest.mark.parametrize("kind", ["host", "graph"])
def test_weights_are_copies(kind):
    network = q_network(networks.mlp(BOX))
    if kind == "host":
        acting = HostNetwork(export.flatbuffer(network, 2))
    else:
        acting = GraphNetwork(network, 2)
    weights = [variable.numpy() for variable in export.weights(network)]
    acting.set_weights(weights)
    obs = sample(BOX, 2)
    before = acting(obs)
    for array in weights:
        array += 1
    scatter(network, 1)
    np.testing.assert_array_equal(acting(obs), before)


def test_results_are_not_overwritten_later():
    network = q_network(networks.mlp(BOX))
    host = HostNetwork(export.flatbuffer(network, 2))
    host.set_weights([variable.numpy() for variable in export.weights(network)])
    first = host(sample(BOX, 2))
    kept = first.copy()
    host(np.ones((2, 4), "f4"))
    np.testing.assert_array_equal(first, kept)


def test_several_outputs_are_a_list():
    entry = keras.Input((4,))
    x = keras.layers.Dense(3, name="left")(entry)
    y = keras.layers.Dense(2, name="right")(entry)
    network = keras.Model(entry, {"b": x, "a": y})
    obs = sample(BOX, 2)
    host = HostNetwork(export.flatbuffer(network, 2))
    graph = GraphNetwork(network, 2)
    expected = network(obs)
    for acting in (host, graph):
        acting.set_weights([v.numpy() for v in export.weights(network)])
        values = acting(obs)
        assert isinstance(values, list)
        for value, key in zip(values, ("a", "b")):
            np.testing.assert_allclose(
                value, expected[key], rtol=1e-5, atol=1e-6
            )
