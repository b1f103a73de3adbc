"""PQN: the common harness, and what is its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.agents.test_on_policy import some_rows


def pqn(normalize=False, epsilon=0.2, **arguments):
    """A `make_agent` of the harness."""

    def make_agent(envs):
        network = rl.networks.mlp(
            envs.single_observation_space,
            (16,),
            normalize=normalize,
            seed=0,
            normalization=keras.layers.LayerNormalization,
            before_activation=True,
        )
        actions = envs.single_action_space
        return rl.agents.PQN(network, actions, epsilon, seed=0, **arguments)

    return make_agent


def test_check_agent(tmp_path):
    harness.check_agent(
        pqn(normalize=True), tmp_path, make_data=harness.make_rollout
    )


def test_dueling():
    arguments = pqn(head="dueling"), toy.Identity
    harness.check_config(*arguments)
    harness.check_loss_falls(*arguments, harness.make_rollout)


def live(env, rollouts, **arguments):
    return harness.live(
        pqn(), env, rollouts, minibatch_size=32, passes=2, **arguments
    )


def test_solves_bandit():
    agent = live(toy.Bandit, 150)
    q = agent.q_network.predict(np.ones((1, 1)), verbose=0)[0]
    np.testing.assert_allclose(q, [0, 1 / 3, 2 / 3, 1], atol=0.1)
    assert rl.evaluate(agent, toy.Bandit, episodes=4)["min"] == 1


def test_solves_identity():
    agent = live(toy.Identity, 100, gamma=0.5)
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


def test_bootstraps_at_the_time_limit():
    agent = live(toy.Chain, 250)
    values = agent.q_network.predict(np.zeros(1), verbose=0)[0]
    # Not to wait is worth 1. To wait, if that is not taken to end at the limit,
    # V = 1 + 0.9 (0.35 V + 0.65 (0.9 V + 0.1)): one step of ten explores.
    np.testing.assert_allclose(values, [6.68, 1], rtol=0.05)


def linear_agent(**arguments):
    """Its head is all there is, of observations `[B, 2]`; the loss moves it."""
    network = keras.Sequential(
        [keras.Input((2,)), keras.layers.Activation("linear")]
    )
    agent = rl.agents.PQN(network, spaces.Discrete(3), seed=0, **arguments)
    agent.compile(keras.optimizers.SGD(1.0))
    return agent


def test_what_it_makes_of_a_rollout():
    agent, rows = linear_agent(lambda_=0.7), some_rows()
    added = agent.prepare(rows)
    rows = {name: value.numpy() for name, value in rows.items()}
    kernel, bias = (v.numpy() for v in agent.trainable_variables)
    best = (rows["obs"] @ kernel + bias).max(-1)
    assert (rows["cut"] & (rows["discount"] > 0)).any()
    for env in range(5):
        after = best[-1, env]
        for t in reversed(range(12)):
            if rows["cut"][t, env]:
                after = best[t + 1, env]
            mixed = 0.7 * after + 0.3 * best[t + 1, env]
            after = rows["reward"][t, env] + rows["discount"][t, env] * mixed
            np.testing.assert_allclose(
                added["return"][t, env], after, atol=1e-4
            )
    np.testing.assert_allclose(added["value"], best[:-1], atol=1e-5)
    np.testing.assert_allclose(
        added["advantage"], added["return"] - added["value"], atol=1e-5
    )
    np.testing.assert_array_equal(added["weight"], rows["live"])
    np.testing.assert_array_equal(added["log_prob"], 0)


def test_what_is_not_allowed_is_not_the_best():
    space = spaces.Dict(
        action_mask=spaces.MultiBinary(2), at=spaces.Box(-1, 1, (1,))
    )
    network = rl.networks.mlp(space, ())
    agent = rl.agents.PQN(network, spaces.Discrete(2), lambda_=0.0, seed=0)
    kernel, bias = agent.trainable_variables
    kernel.assign(tf.zeros_like(kernel))
    bias.assign([1.0, 9.0])
    added = agent.prepare(
        {
            "obs": {
                "action_mask": tf.constant([[[1, 1]], [[1, 0]], [[1, 1]]]),
                "at": tf.zeros((3, 1, 1)),
            },
            "reward": tf.zeros((2, 1)),
            "discount": tf.fill((2, 1), 0.5),
            "cut": tf.zeros((2, 1), bool),
            "live": tf.ones((2, 1), bool),
        }
    )
    np.testing.assert_array_equal(added["return"], [[0.5], [4.5]])


def test_an_update_follows_the_error_of_what_was_done():
    agent, batch = linear_agent(), harness.some_batch()
    before = [tf.Variable(v.numpy()) for v in agent.trainable_variables]
    with tf.GradientTape() as tape:
        q_values = batch["obs"] @ before[0] + before[1]
        error = batch["return"] - harness.of_actions(q_values, batch)
        loss = harness.mean_of_live(error**2 / 2, batch)
    gradients = tape.gradient(loss, before)
    logs = agent.train_step(batch)
    for new, old, gradient in zip(agent.trainable_variables, before, gradients):
        np.testing.assert_allclose(new, old - gradient, atol=1e-6)
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-6)
    wanted = harness.mean_of_live(tf.abs(error), batch)
    np.testing.assert_allclose(logs["td_error"], wanted, rtol=1e-6)


def test_epsilon_follows_a_schedule_over_env_steps():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 64, 0.0)
    agent = harness.live(pqn(epsilon=schedule), toy.Identity, 1)
    # One rollout of 64 cells, some of which are dead.
    lived = int(agent.env_steps)
    assert 32 < lived < 64
    np.testing.assert_allclose(
        agent.exploration()["epsilon"], 1 - lived / 64, atol=1e-6
    )


def test_wrong_arguments():
    envs = harness.make_envs(toy.Identity)
    space, actions = envs.single_observation_space, envs.single_action_space
    network = rl.networks.mlp(space, (4,))
    with pytest.raises(TypeError, match="PQN acts in a `Discrete` space only"):
        rl.agents.PQN(network, spaces.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match="from 0 to 1. Received: lambda_=1.5"):
        rl.agents.PQN(network, actions, lambda_=1.5)
    with pytest.raises(ValueError, match="head='duelling'"):
        rl.agents.PQN(network, actions, head="duelling")
    with pytest.raises(ValueError, match="'lstm' must end in one vector"):
        rl.agents.PQN(rl.networks.lstm(space), actions)


def test_it_learns_from_rollouts_only():
    with rl.envs.make(toy.Identity, 2, seed=0) as envs:
        agent = pqn()(envs)
        agent.compile(keras.optimizers.Adam(1e-3))
        replay = rl.data.Replay(envs, 100, gamma=0.9)
        with pytest.raises(ValueError, match="use `rl.data.Rollout`"):
            agent.fit(
                replay.dataset(8),
                steps_per_epoch=4,
                callbacks=[rl.callbacks.Collect(envs, replay)],
                verbose=0,
            )


def test_a_noisy_network_is_drawn_anew_at_each_update():
    with harness.make_envs(toy.Identity) as envs:
        network = rl.networks.mlp(
            envs.single_observation_space, (8,), noisy=True, seed=0
        )
        agent = rl.agents.PQN(network, envs.single_action_space, seed=0)
        agent.compile(keras.optimizers.Adam(1e-3))
        batches = harness.fixed_batches(
            envs, harness.make_rollout(envs), 2, agent
        )
        drawn = []
        for batch in batches:
            agent.train_step(batch)
            noise = rl.networks.noise_variables(agent.q_network)
            drawn.append(np.concatenate([v.numpy() for v in noise]))
    assert np.all(drawn[0]) and np.all(drawn[0] != drawn[1])
