import itertools
import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym

from keras_rl2x import envs
from keras_rl2x import extras
from keras_rl2x import networks
from keras_rl2x import spaces
from keras_rl2x.acting import Policy
from keras_rl2x.acting import noise
from keras_rl2x.acting import policy as policy_module
from keras_rl2x.acting import samplers
from keras_rl2x.envs import toy

BOX = gym.Box(-1, 1, (4,))
OBS = np.random.default_rng(0).normal(size=(200, 4)).astype("f4")


def agent_of(network, action_space=None, epsilon=0.0):
    """What a policy needs of an agent."""
    agent = types.SimpleNamespace(
        policy=network,
        sampler=samplers.epsilon_greedy,
        no_exploration={"epsilon": 0.0},
        memory_size=0,
        noise_correlation=0.0,
        epsilon=epsilon,
        action_spec=spaces.action_spec(action_space or gym.Discrete(3)),
    )
    agent.exploration = lambda: {"epsilon": agent.epsilon}
    return agent


def q_network(space=BOX, units=(32,), seed=0):
    return networks.action_values(
        networks.mlp(space, units, seed=seed), 3, seed=seed
    )


def best(network, obs):
    return np.array(network(obs)).argmax(axis=-1)


def scatter(network):
    """Other weights, by which other actions are best."""
    rng = np.random.default_rng(1)
    for variable in network.variables:
        variable.assign(rng.normal(size=variable.shape))


@pytest.mark.parametrize("where", ["host", "graph"])
def test_a_snapshot_is_apart_from_later_training(where):
    network = q_network()
    policy = Policy(agent_of(network), 200, where)
    assert policy.where == where
    policy.snapshot()
    before = best(network, OBS)
    np.testing.assert_array_equal(policy.greedy(OBS), before)
    scatter(network)
    assert not np.array_equal(best(network, OBS), before)
    np.testing.assert_array_equal(policy.greedy(OBS), before)
    policy.snapshot()
    np.testing.assert_array_equal(policy.greedy(OBS), best(network, OBS))


def test_host_and_graph_act_alike():
    network = q_network()
    policies = [
        Policy(agent_of(network, epsilon=0.5), 200, where, seed=3)
        for where in ("host", "graph")
    ]
    for policy in policies:
        policy.snapshot()
    host, graph = policies
    for _ in range(3):
        np.testing.assert_array_equal(host.explore(OBS), graph.explore(OBS))
        np.testing.assert_array_equal(host.greedy(OBS), graph.greedy(OBS))


def test_exploration_is_that_of_the_snapshot():
    agent = agent_of(q_network(), epsilon=1.0)
    policy = Policy(agent, 200)
    policy.snapshot()
    agent.epsilon = 0.0
    greedy = policy.greedy(OBS)
    # A third of random actions are the best ones by chance.
    assert 0.15 < (policy.explore(OBS) == greedy).mean() < 0.55
    policy.snapshot()
    np.testing.assert_array_equal(policy.explore(OBS), greedy)


def test_seeds_of_exploration():
    def actions(seed):
        policy = Policy(agent_of(q_network(), epsilon=0.5), 200, seed=seed)
        policy.snapshot()
        return policy.explore(OBS)

    np.testing.assert_array_equal(actions(1), actions(1))
    assert not np.array_equal(actions(1), actions(2))


def test_layers_may_be_frozen_later():
    network = q_network(gym.Box(-1, 1, (4,)), units=(4, 4))
    for where in ("host", "graph"):
        policy = Policy(agent_of(network), 200, where)
        network.get_layer("hidden_0").trainable = False
        scatter(network)
        policy.snapshot()
        np.testing.assert_array_equal(policy.greedy(OBS), best(network, OBS))
        network.get_layer("hidden_0").trainable = True


@pytest.mark.parametrize("where", ["host", "graph"])
def test_only_exploration_has_the_networks_noise(where):
    network = networks.action_values(
        networks.mlp(BOX, (32,), noisy=True, seed=0), 3, seed=0
    )
    plain = best(network, OBS)
    # That of the last update has no part in acting.
    networks.resample_noise(network, keras.random.SeedGenerator(0))
    policy = Policy(agent_of(network), 200, where, seed=1)
    rng = np.random.default_rng(1)
    explored = []
    for _ in range(3):  # In any order, and more than once.
        explored.append(policy.explore(OBS))
        for variable in networks.noise_variables(network):
            variable.assign(noise.factors(rng, variable.shape[0]))
        np.testing.assert_array_equal(explored[-1], best(network, OBS))
        for _ in range(2):
            np.testing.assert_array_equal(policy.greedy(OBS), plain)
    for one, other in itertools.combinations([plain, *explored], 2):
        assert np.any(one != other)


def test_the_noise_of_weights_is_that_of_the_layers():
    drawn = noise.factors(np.random.default_rng(0), 100_000)
    layer = networks.NoisyDense(1)
    layer.build((None, 100_000))
    networks.resample_noise(layer, keras.random.SeedGenerator(0))
    same = layer.noise_in.numpy()
    assert drawn.dtype == same.dtype
    # E |x| is that of a normal number, 0.798; that of the root 0.822.
    for factors in (drawn, same):
        np.testing.assert_allclose(factors.mean(), 0, atol=0.01)
        np.testing.assert_allclose(np.abs(factors).mean(), 0.822, atol=0.01)
        np.testing.assert_allclose((factors**2).mean(), 0.798, atol=0.01)


# Where it runs.


def test_small_networks_run_on_the_host():
    assert Policy(agent_of(q_network()), 8).where == "host"


def test_large_convolutions_run_in_the_graph():
    space = gym.Box(0, 255, (36, 36, 1), "uint8")
    network = networks.action_values(networks.nature_cnn(space, 8), 3)
    assert Policy(agent_of(network), 1).where == "host"
    assert Policy(agent_of(network), 8).where == "graph"


@pytest.mark.parametrize("where", ["host", "graph"])
def test_half_precision_acts_with_all_digits(where):
    space = gym.Box(0, 255, (36, 36, 1), "uint8")
    acted = []
    for dtype in ("mixed_bfloat16", None):
        backbone = networks.nature_cnn(space, 8, dtype=dtype, seed=0)
        agent = agent_of(networks.action_values(backbone, 3, seed=0))
        policy = Policy(agent, 2, where)
        policy.snapshot()
        obs = np.random.default_rng(0).integers(0, 255, (2, 36, 36, 1), "uint8")
        acted.append(policy._network(obs))
    np.testing.assert_array_equal(*acted)
    assert policy.where == where


@pytest.mark.parametrize("where", ["host", "graph"])
def test_double_precision_acts_in_single(where):
    keras.config.set_dtype_policy("float64")
    try:
        agent = agent_of(q_network())
    finally:
        keras.config.set_dtype_policy("float32")
    assert agent.policy.weights[0].dtype == "float64"
    policy = Policy(agent, 2, where)
    policy.snapshot()
    obs = np.ones((2, *agent.policy.input.shape[1:]), "f4")
    given = policy._network(obs)
    np.testing.assert_allclose(given, agent.policy(obs), rtol=1e-5)
    assert given.dtype == "float32" and policy.where == where


def test_where_there_is_a_gpu_it_is_used(monkeypatch):
    monkeypatch.setattr(
        keras.distribution, "list_devices", lambda: ["cpu:0", "gpu:0"]
    )
    assert Policy(agent_of(q_network()), 2).where == "graph"


@pytest.fixture
def without_litert(monkeypatch):
    find = extras.find
    monkeypatch.setattr(
        extras, "find", lambda name: None if "litert" in name else find(name)
    )


def test_without_litert_the_graph_is_used(without_litert):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = Policy(agent_of(q_network()), 200)
    assert policy.where == "graph"
    policy.snapshot()
    np.testing.assert_array_equal(
        policy.greedy(OBS), best(policy.agent.policy, OBS)
    )


def test_the_host_without_litert_says_what_to_install(without_litert):
    with pytest.raises(ImportError, match="pip install .*ai-edge-litert"):
        Policy(agent_of(q_network()), 2, where="host")


def inconvertible():
    """A network with an operation that LiteRT does not have."""
    entry = keras.Input((4,), name="observation")

    def compute(x):
        square = x[:, :, None] * x[:, None] + tf.eye(4)
        return x[:, :3] * tf.linalg.det(square)[:, None]

    return keras.Model(entry, keras.layers.Lambda(compute)(entry), name="odd")


def test_what_litert_cannot_run_runs_in_the_graph(capfd):
    network = inconvertible()
    with pytest.warns(UserWarning, match="cannot run the network 'odd'"):
        policy = Policy(agent_of(network), 200)
    assert policy.where == "graph"
    policy.snapshot()
    np.testing.assert_array_equal(policy.greedy(OBS), best(network, OBS))
    assert "error" not in capfd.readouterr().err  # The converter's chatter.


def test_the_host_can_be_forced_and_then_fails_loudly():
    with pytest.raises(Exception, match="(?i)det"):
        Policy(agent_of(inconvertible()), 2, where="host")


def test_the_graph_can_be_forced(monkeypatch):
    monkeypatch.setattr(policy_module, "HostNetwork", None)
    assert Policy(agent_of(q_network()), 2, where="graph").where == "graph"


def test_other_places_are_refused():
    with pytest.raises(ValueError, match="'auto', 'host', 'graph'.*'moon'"):
        Policy(agent_of(q_network()), 2, where="moon")


# play


@pytest.fixture
def identity():
    """Environments that show the action to take, and who takes it."""
    with envs.make(toy.Identity, num_envs=4, categories=3, limit=6) as made:
        network = networks.action_values(networks.mlp(gym.Discrete(3), (3,)), 3)
        eye = np.eye(3, dtype="f4")
        network.set_weights([eye, np.zeros(3), eye, np.zeros(3)])
        yield made, network


@pytest.mark.parametrize("where", ["host", "graph"])
def test_play(identity, where):
    made, network = identity
    policy = Policy(agent_of(network), 4, where)
    played = policy.play(made, episodes=6, seed=0)  # Takes the snapshot.
    np.testing.assert_array_equal(played.returns, [6] * 6)
    np.testing.assert_array_equal(played.lengths, [6] * 6)


def test_play_explores_if_it_is_told_to(identity):
    made, network = identity
    policy = Policy(agent_of(network, epsilon=1.0), 4)
    returns = policy.play(made, 40, seed=0, greedy=False).returns
    # A third of 6, standard deviation 0.18.
    assert abs(returns.mean() - 2) < 0.7
    np.testing.assert_array_equal(
        returns, policy.play(made, 40, seed=0, greedy=False).returns
    )
    assert not np.array_equal(
        returns, policy.play(made, 40, seed=1, greedy=False).returns
    )


class Shifted(toy.Identity):
    """Counts its actions from 5, and takes no others."""

    def __init__(self):
        super().__init__(categories=3, limit=6)
        self.action_space = gym.Discrete(3, start=5)

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(action)
        return super().step(action - 5)


def test_play_speaks_the_environments_language(identity):
    _, network = identity
    agent = agent_of(network, gym.Discrete(3, start=5))
    with envs.make(Shifted, num_envs=2) as made:
        played = Policy(agent, 2).play(made, 3, seed=0)
    np.testing.assert_array_equal(played.returns, [6] * 3)


@keras.saving.register_keras_serializable("tests.acting")
class Halving(keras.layers.Layer):
    """A layer that cannot be made with another dtype."""

    def __init__(self):
        super().__init__()

    def call(self, x):
        return x / 2


@pytest.mark.parametrize(
    "layer", [lambda: keras.layers.Lambda(lambda x: x / 2), Halving]
)
def test_what_cannot_be_copied_acts_in_half_precision(monkeypatch, layer):
    monkeypatch.setattr(warnings, "warn", lambda *args, **kwargs: None)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        entry = keras.Input((4,))
        features = keras.layers.Dense(16, activation="relu")(layer()(entry))
        network = networks.action_values(keras.Model(entry, features), 3)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    scatter(network)
    policy = Policy(agent_of(network), 200)
    assert policy.where == "graph"
    policy.snapshot()
    agreed = policy.greedy(OBS) == best(network, OBS)
    assert np.mean(agreed) > 0.95


def test_play_is_of_the_agent_as_it_is_now(identity):
    made, network = identity
    policy = Policy(agent_of(network), 4)
    first, bias, last, last_bias = network.get_weights()
    network.set_weights([first, bias, np.roll(last, 1, axis=1), last_bias])
    np.testing.assert_array_equal(policy.play(made, 4, seed=0).returns, 0)
