import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym

from keras_rl2x import networks

OBS = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def move(network, by=1.0):
    for variable in network.trainable_variables:
        variable.assign(variable + by)


def rich():
    """A network with a Python lambda, dropout and batch statistics."""
    entry = keras.Input((4,))
    x = keras.layers.Dense(8, "relu", name="first")(entry)
    x = keras.layers.Dropout(0.5, seed=1)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dense(3, name="last")(x)
    return keras.Model(entry, keras.layers.Lambda(lambda y: 2 * y)(x))


def mlp():
    return networks.mlp(gym.Box(-1, 1, (4,)), (8, 3), seed=0)


@pytest.mark.parametrize("make", [mlp, rich])
def test_a_target_stays_where_it_was(make):
    network = make()
    target = networks.Target(network)
    compiled = tf.function(target)
    before = np.array(network(OBS))
    np.testing.assert_array_equal(target(OBS), before)
    np.testing.assert_allclose(compiled(OBS), before, rtol=1e-5, atol=1e-6)
    move(network)
    assert not np.allclose(network(OBS), before)
    np.testing.assert_array_equal(target(OBS), before)
    np.testing.assert_allclose(compiled(OBS), before, rtol=1e-5, atol=1e-6)
    networks.track(target, network, tau=1)
    np.testing.assert_array_equal(target(OBS), network(OBS))
    np.testing.assert_allclose(
        compiled(OBS), network(OBS), rtol=1e-5, atol=1e-6
    )


def one_number(value):
    entry = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False)
    network = keras.Model(entry, layer(entry))
    network.set_weights([np.full((1, 1), value)])
    return network


def test_track_by_hand():
    network = one_number(1.0)
    target = networks.Target(network)
    network.set_weights([np.full((1, 1), 5.0)])
    values = []
    for _ in range(3):
        networks.track(target, network, tau=0.25)
        values.append(float(target(np.ones((1, 1)))[0, 0]))
    # 1 + (5 - 1) / 4 = 2; 2 + 3 / 4 = 2.75; 2.75 + 2.25 / 4 = 3.3125.
    assert values == [2.0, 2.75, 3.3125]
    networks.track(target, network, tau=1)
    assert float(target(np.ones((1, 1)))[0, 0]) == 5.0
    assert float(network(np.ones((1, 1)))[0, 0]) == 5.0


def test_track_moves_batch_statistics_and_copies_counters():
    network = rich()
    target = networks.Target(network)
    before = [copy.numpy() for copy in target.copies]
    network(OBS, training=True)  # Moves the statistics, draws dropout.
    networks.track(target, network, tau=0.25)
    for copy, old, new in zip(target.copies, before, network.variables):
        new = new.numpy()
        if new.dtype.kind == "f":
            np.testing.assert_allclose(
                copy, old + 0.25 * (new - old), rtol=1e-6
            )
        else:
            np.testing.assert_array_equal(copy, new)
            assert not np.array_equal(new, old)


def test_a_target_computes_as_in_inference():
    network = rich()
    target = networks.Target(network)
    seed = network.layers[2].seed_generator.state.numpy()
    np.testing.assert_array_equal(target(OBS), target(OBS))
    np.testing.assert_array_equal(network.layers[2].seed_generator.state, seed)


def test_a_target_is_not_trained():
    network = mlp()
    target = networks.Target(network)
    assert target.trainable_variables == []
    assert len(target.variables) == len(network.variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(target(OBS))
    assert tape.gradient(loss, network.trainable_variables) == [None] * 4


def test_the_networks_weights_are_not_the_targets():
    network = mlp()
    own = {id(variable) for variable in network.variables}
    target = networks.Target(network)
    assert own.isdisjoint(id(variable) for variable in target.variables)


def test_layers_may_be_frozen_later():
    network = rich()
    target = networks.Target(network)
    network.get_layer("first").trainable = False
    np.testing.assert_array_equal(target(OBS), network(OBS))
    move(network)
    networks.track(target, network, tau=0.5)
    networks.track(target, network, tau=1)
    np.testing.assert_array_equal(target(OBS), network(OBS))


def test_a_target_casts_nothing():
    entry = keras.Input((4,), dtype="float64")
    network = keras.Model(entry, keras.layers.Dense(3, dtype="float64")(entry))
    target = networks.Target(network)
    obs = np.random.default_rng(0).normal(size=(6, 4))
    assert target(obs).dtype == "float64"
    np.testing.assert_array_equal(target(obs), network(obs))


def test_nested_observations():
    space = gym.Dict(a=gym.Discrete(3), b=gym.Box(-1, 1, (2,)))
    network = networks.mlp(space, (5,))
    obs = {"a": np.array([0, 2]), "b": np.ones((2, 2), "float32")}
    np.testing.assert_array_equal(networks.Target(network)(obs), network(obs))
