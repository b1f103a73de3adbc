"""Agents of action values: what DQN's kin share; see `test_dqn` for DQN."""

import gymnasium.spaces as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import harness

# What they need beside the network and the space; small, for speed.
ARGUMENTS = {
    agents.C51: {"v_min": -1.0, "v_max": 3.0, "atoms": 21},
    agents.IQN: {"quantiles": 8, "target_quantiles": 8},
    agents.Munchausen: {},
    agents.QRDQN: {"quantiles": 8},
}
ALL = pytest.mark.parametrize("kind", ARGUMENTS)


def make(kind, **arguments):
    """A `make_agent` of the harness."""

    def make_agent(envs):
        network = rl.networks.mlp(envs.single_observation_space, (16,), seed=0)
        arguments_of_kind = {**ARGUMENTS.get(kind, {}), **arguments}
        space = envs.single_action_space
        return kind(network, space, epsilon=0.2, seed=0, **arguments_of_kind)

    return make_agent


def batch_of():
    """A batch of `toy.Identity`: one transition ended, one counts half."""
    return {
        "obs": tf.constant([0, 1, 2, 3]),
        "action": tf.constant([0, 1, 0, 3]),
        "reward": tf.constant([1.0, 0.25, -0.5, 0.7]),
        "discount": tf.constant([0.9, 0.81, 0, 0.9]),
        "next_obs": tf.constant([3, 2, 1, 0]),
        "weight": tf.constant([1.0, 1, 0.5, 0.25]),
        "index": tf.range(4),
    }


def differing(kind, **arguments):
    """An agent whose target network is not its online one."""
    agent = make(kind, **arguments)(rl.envs.make(toy.Identity))
    agent.compile(keras.optimizers.SGD(0.0))
    rng = np.random.default_rng(0)
    for weight in (*agent.q_network.weights, *agent.target_network.copies):
        weight.assign(rng.normal(size=weight.shape))
    return agent


@ALL
def test_check_agent(kind, tmp_path):
    harness.check_agent(make(kind), tmp_path)


@ALL
def test_nested_observations_and_priorities(kind):
    def prioritized(envs):
        return rl.data.PrioritizedReplay(envs, 300, gamma=0.9, n_step=3)

    harness.check_fit(make(kind, head="dueling"), toy.BitFlip, prioritized)


@ALL
def test_solves_identity(kind):
    with rl.envs.make(toy.Identity, num_envs=2, seed=0) as envs:
        agent = make(kind)(envs)
        agent.compile(keras.optimizers.Adam(0.02), steps_per_execution=20)
        replay = rl.data.Replay(envs, 1_000, gamma=0.5)
        agent.fit(
            replay.dataset(32),
            steps_per_epoch=400,
            callbacks=[
                rl.callbacks.Collect(envs, replay, warmup=100),
                rl.callbacks.TargetUpdate(20),
            ],
            verbose=0,
        )
    # Random actions win 2.5 of 10.
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


@ALL
def test_weights_scale_the_loss(kind):
    losses = []
    for weight in (1.0, 0.5, 0.0):
        agent = differing(kind)
        batch = {**batch_of(), "weight": tf.fill([4], weight)}
        losses.append(float(agent.train_step(batch)["loss"]))
    np.testing.assert_allclose(losses[1:], [losses[0] / 2, 0], rtol=1e-6)
    assert losses[0] > 0


@ALL
def test_what_ended_is_not_bootstrapped(kind):
    losses = []
    for scale in (1.0, 5.0):
        agent = differing(kind)
        for copy in agent.target_network.copies:
            copy.assign(scale * copy)
        # In Munchausen's target, the bonus would still differ.
        if kind is agents.Munchausen:
            agent.alpha = 0.0
        batch = {**batch_of(), "discount": tf.zeros(4)}
        losses.append(float(agent.train_step(batch)["loss"]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


@ALL
def test_epsilon_follows_a_schedule_over_env_steps(kind):
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 100, 0.1)
    envs = rl.envs.make(toy.Identity)
    network = rl.networks.mlp(envs.single_observation_space)
    actions = envs.single_action_space
    agent = kind(network, actions, epsilon=schedule, **ARGUMENTS[kind])
    agent.env_steps.assign(50)
    np.testing.assert_allclose(agent.exploration()["epsilon"], 0.55)
    copy = kind.from_config(agent.get_config())
    assert copy.epsilon.get_config() == schedule.get_config()


@ALL
def test_wrong_arguments(kind):
    space, actions = gym.Box(-1, 1, (2,)), gym.Discrete(4)
    network, arguments = rl.networks.mlp(space), ARGUMENTS[kind]
    with pytest.raises(
        TypeError, match=f"{kind.__name__} acts in a `Discrete` space only"
    ):
        kind(network, gym.Box(-1, 1, (2,)), **arguments)
    with pytest.raises(ValueError, match="`head` must be.*head='duelling'"):
        kind(network, actions, head="duelling", **arguments)
    with pytest.raises(TypeError, match="must be a `keras.Model`"):
        kind((64, 64), actions, **arguments)
    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="one vector for each observation"):
        kind(flat, actions, **arguments)


def test_a_target_network_must_be_moved():
    agent = make(agents.C51)(rl.envs.make(toy.Identity))
    agent.compile(keras.optimizers.Adam(1e-2))
    with pytest.raises(ValueError, match="C51 has a target network that"):
        agent.fit(tf.data.Dataset.from_tensors(batch_of()))


@ALL
@pytest.mark.parametrize("epsilon", [-0.1, 1.5, float("nan")])
def test_wrong_epsilon(kind, epsilon):
    envs = harness.make_envs(toy.Identity)
    network = rl.networks.mlp(envs.single_observation_space, (4,))
    with pytest.raises(
        ValueError, match="`epsilon` must be a number from 0 to 1"
    ):
        kind(
            network,
            envs.single_action_space,
            **{**ARGUMENTS[kind], "epsilon": epsilon},
        )


@pytest.mark.parametrize("kind", [agents.DQN, agents.C51])
def test_values_that_are_bootstrapped_do_not_train(kind):
    layer = rl.networks.BatchRenormalization
    network = rl.networks.mlp(gym.Discrete(4), (8,), normalization=layer)
    agent = kind(
        network, gym.Discrete(4), double=True, **ARGUMENTS.get(kind, {})
    )
    agent.compile(keras.optimizers.SGD(0.0))
    agent.train_step(batch_of())
    layers = [one for one in network.layers if type(one) is layer]
    assert [int(one.batches) for one in layers] == [1, 1]
