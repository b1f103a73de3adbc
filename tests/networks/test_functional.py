import warnings

import keras
import numpy as np
import pytest

from keras_rl2x import networks

OBS = np.arange(8, dtype="float32").reshape(4, 2)


class Plain(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, obs):
        return self.dense(obs)


class Joined(keras.Model):
    """Of observations in a dict or a tuple."""

    def __init__(self, keys):
        super().__init__(name="joined")
        self.keys = keys
        self.dense = keras.layers.Dense(3)

    def call(self, obs):
        return self.dense(
            keras.ops.concatenate([obs[key] for key in self.keys])
        )


class Embedded(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(5, 3)

    def call(self, category):
        return self.embedding(category)


def check(network, obs):
    """The functional model computes the same, with the same weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functional = networks.as_functional(network)
    assert functional.output.shape == (None, 3)
    np.testing.assert_array_equal(functional(obs), network(obs))
    for variable in network.trainable_variables:
        variable.assign(variable + 1)
    np.testing.assert_array_equal(functional(obs), network(obs))
    ids = {id(variable) for variable in network.variables}
    assert {id(variable) for variable in functional.variables} == ids
    return functional


def test_a_functional_model_serves_as_it_is():
    entry = keras.Input((2,))
    network = keras.Model(entry, keras.layers.Dense(3)(entry))
    assert networks.as_functional(network) is network


@pytest.mark.parametrize("how", ["input", "build", "call"])
def test_sequential(how):
    layers = [keras.layers.Dense(4, "relu"), keras.layers.Dense(3)]
    if how == "input":
        layers = [keras.Input((2,)), *layers]
    network = keras.Sequential(layers)
    if how == "build":
        network.build((None, 2))
    if how == "call":
        network(OBS[:1])
    check(network, OBS)


def test_sequential_keeps_the_dtype_of_its_input():
    network = keras.Sequential(
        [keras.Input((2,), dtype="uint8"), keras.layers.Rescaling(1 / 255)]
    )
    assert networks.as_functional(network).input.dtype == "uint8"


@pytest.mark.parametrize("how", ["build", "call"])
def test_a_subclass(how):
    network = Plain()
    if how == "build":
        network.build((None, 2))
    else:
        network(OBS[:1])  # Another size of batch must not matter later.
    check(network, OBS)


@pytest.mark.parametrize(
    "obs",
    [{"a": OBS, "b": OBS}, (OBS, OBS), [OBS, OBS]],
    ids=["dict", "tuple", "list"],
)
def test_a_subclass_of_nested_observations(obs):
    network = Joined(["a", "b"] if isinstance(obs, dict) else [0, 1])
    network(obs)
    check(network, obs)


def test_a_subclass_of_categories():
    network = Embedded()
    network(np.array([1, 2]))
    check(network, np.array([3, 0, 1]))


@pytest.mark.parametrize(
    "network", [Plain(), keras.Sequential([keras.layers.Dense(3)])]
)
def test_what_was_not_built_is_refused_with_the_fix(network):
    with pytest.raises(ValueError, match="network.build\\(") as error:
        networks.as_functional(network)
    assert f"'{network.name}'" in str(error.value)


@pytest.mark.parametrize("thing", [None, "mlp", keras.layers.Dense(3)])
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(TypeError, match="must be a `keras.Model`"):
        networks.as_functional(thing)
