"""DiscreteSAC: its equations, its target entropy and masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.agents import discrete_sac
from keras_rl2x.envs import toy
from tests.agents import harness


def make_agent(envs, units=(16,), **arguments):
    space = envs.single_observation_space
    network, *critics = (
        rl.networks.mlp(space, units, seed=seed) for seed in range(3)
    )
    return agents.DiscreteSAC(
        network, envs.single_action_space, critics, seed=0, **arguments
    )


def test_check_agent(tmp_path):
    harness.check_agent(make_agent, tmp_path)


def test_solves_identity():
    with rl.envs.make(toy.Identity, num_envs=4, seed=0) as envs:
        agent = make_agent(
            envs,
            temperature=0.1,
            actor_optimizer=keras.optimizers.Adam(1e-2),
            temperature_optimizer=keras.optimizers.Adam(1e-2),
        )
        agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=20)
        replay = rl.data.Replay(envs, 2_000, gamma=0.5)
        agent.fit(
            replay.dataset(32),
            steps_per_epoch=400,
            callbacks=[
                rl.callbacks.Collect(envs, replay, warmup=200),
                rl.callbacks.TargetUpdate(1, 0.05),
            ],
            verbose=0,
        )
    # Random actions win 2.5 of 10.
    assert rl.evaluate(agent, toy.Identity, episodes=20)["mean"] > 9.5


def some(optimizer=None, **arguments):
    """An agent whose targets are not their sources, and a batch for it."""
    agent = make_agent(rl.envs.make(toy.Identity), **arguments)
    agent.compile(optimizer or keras.optimizers.SGD(0.0))
    rng = np.random.default_rng(0)
    for target, _ in agent.targets:
        for copy in target.copies:
            copy.assign_add(rng.normal(0, 0.5, copy.shape))
    batch = {
        "obs": tf.constant([0, 1, 2, 3]),
        "action": tf.constant([0, 1, 0, 3]),
        "reward": tf.constant([1.0, 2, 3, 4]),
        "discount": tf.constant([0.9, 0.9, 0, 0.9]),
        "next_obs": tf.constant([3, 2, 1, 0]),
        "weight": tf.constant([1.0, 1, 0.5, 0]),
    }
    return agent, batch


def expectations(agent, obs, critics):
    """Arrays `[B]`: the lesser values and the entropy under the policy."""
    p = tf.nn.softmax(agent.actor(obs)).numpy()
    q = np.minimum(*(critic(obs) for critic in critics))
    return (p * q).sum(axis=1), -(p * np.log(p)).sum(axis=1)


def test_an_update_is_that_of_the_paper():
    agent, batch = some(temperature=0.5)
    q_next, entropy_next = expectations(
        agent, batch["next_obs"], agent.target_critics
    )
    soft = q_next + 0.5 * entropy_next
    target = np.array(batch["reward"]) + np.array(batch["discount"]) * soft
    taken = [
        np.array(critic(batch["obs"]))[np.arange(4), batch["action"]]
        for critic in agent.critic_networks
    ]
    losses = [
        np.mean(batch["weight"] * 0.5 * np.square(target - q)) for q in taken
    ]
    q_value, entropy = expectations(agent, batch["obs"], agent.critic_networks)
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], sum(losses), rtol=1e-5)
    np.testing.assert_allclose(values["q_value"], taken[0].mean(), rtol=1e-5)
    np.testing.assert_allclose(
        values["actor_loss"], -np.mean(q_value + 0.5 * entropy), rtol=1e-5
    )
    np.testing.assert_allclose(values["entropy"], entropy.mean(), rtol=1e-5)
    np.testing.assert_allclose(values["temperature"], 0.5, rtol=1e-6)


def test_the_actor_alone_follows_its_loss():
    agent, batch = some(actor_optimizer=keras.optimizers.SGD(1.0))
    critics = [critic.get_weights() for critic in agent.critic_networks]
    before = expectations(agent, batch["obs"], agent.critic_networks)
    values = agent.train_step(batch)
    after = expectations(agent, batch["obs"], agent.critic_networks)
    assert np.mean(sum(after)) > np.mean(sum(before))
    assert values["temperature"] == 1
    for critic, weights in zip(agent.critic_networks, critics):
        for array, old in zip(critic.get_weights(), weights):
            np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize(("target", "rises"), [(1.0, True), (0.5, False)])
def test_the_entropy_is_steered_to_a_part_of_the_most(target, rises):
    # The policy begins nearly uniform: just below the most, log 4.
    agent, batch = some(target_entropy=target)
    before = float(agent.log_temperature)
    agent.train_step(batch)
    assert (float(agent.log_temperature) > before) == rises


def test_only_allowed_actions_count_for_the_most_entropy():
    logits = tf.constant(
        [[0.3, -2, 9], [1, rl.spaces.MASKED, 2], [rl.spaces.MASKED] * 2 + [1]]
    )
    np.testing.assert_allclose(
        discrete_sac._most_entropy(logits), (np.log(3) + np.log(2)) / 3
    )


@pytest.mark.parametrize("target", [-0.1, 1.1])
def test_target_entropy_is_a_part(target):
    with pytest.raises(ValueError, match="`target_entropy` must be a part"):
        some(target_entropy=target)


def test_other_spaces_are_refused():
    network = rl.networks.mlp(gym.Box(-1, 1, (2,)))
    with pytest.raises(TypeError, match="DiscreteSAC acts in a `Discrete`"):
        agents.DiscreteSAC(network, gym.Box(-1, 1, (2,)), [network])


def test_critics_must_be_two():
    network = rl.networks.mlp(gym.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match="DiscreteSAC needs 2 critics"):
        agents.DiscreteSAC(network, gym.Discrete(2), [network])


def test_what_becomes_a_priority_is_not_weighted():
    seen = []
    for weight in (1.0, 0.25):
        agent, batch = some()
        batch["weight"] = tf.fill([4], weight)
        agent.finish = lambda batch, **values: values
        seen.append(agent.train_step(batch)["td_error"].numpy())
    assert seen[0].shape == (4,) and np.all(seen[0] > 0)
    np.testing.assert_allclose(*seen, rtol=1e-5)
