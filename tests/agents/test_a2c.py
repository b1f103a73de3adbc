"""A2C: the common harness, and what is its own."""

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents import harness


def a2c(second="critic", **arguments):
    """A `make_agent` of the harness."""
    return harness.on_policy(rl.agents.A2C, second, **arguments)


def test_check_agent(tmp_path):
    harness.check_agent(
        a2c(normalize=True, normalize_rewards=True, entropy_weight=0.01),
        tmp_path,
        make_data=harness.make_rollout,
    )


def test_shared_features():
    arguments = a2c(None), toy.Identity
    harness.check_config(*arguments)
    harness.check_loss_falls(*arguments, harness.make_rollout)


@pytest.mark.parametrize("second", ["critic", None])
def test_solves_bandit(second):
    agent = harness.live(a2c(second), toy.Bandit, 200, steps=5)
    assert rl.evaluate(agent, toy.Bandit, episodes=4)["min"] == 1


def test_solves_identity():
    agent = harness.live(
        a2c(), toy.Identity, 400, steps=5, num_envs=8, gamma=0.5
    )
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


def test_equation_on_numbers():
    agent = harness.linear_agent(rl.agents.A2C, spaces.Discrete(2), spread=0.0)
    batch = {
        "obs": [[1.0, 0.0], [0.0, 1.0]],
        "action": [0, 1],
        "advantage": [2.0, -4.0],
        "return": [2.0, -4.0],
        "weight": [1.0, 1.0],
    }
    logs = agent.train_step({k: tf.constant(v) for k, v in batch.items()})
    kernel, bias, value_kernel, value_bias = harness.heads(agent)
    # The mean over two of advantage / 2, for the action that was taken.
    np.testing.assert_allclose(kernel, [[0.5, -0.5], [1, -1]], atol=1e-6)
    np.testing.assert_allclose(bias, [1.5, -1.5], atol=1e-6)
    np.testing.assert_allclose(value_kernel, [[1], [-2]], atol=1e-6)
    np.testing.assert_allclose(value_bias, [-1], atol=1e-6)
    np.testing.assert_allclose(logs["policy_loss"], -np.log(2), rtol=1e-6)
    np.testing.assert_allclose(logs["value_loss"], 10, rtol=1e-6)
    np.testing.assert_allclose(logs["entropy"], np.log(2), rtol=1e-6)


@pytest.mark.parametrize("normalize_advantage", [False, True])
def test_equation(normalize_advantage):
    agent = harness.linear_agent(
        rl.agents.A2C,
        spaces.Discrete(3),
        value_weight=0.3,
        entropy_weight=0.2,
        normalize_advantage=normalize_advantage,
    )
    batch = harness.some_batch()
    advantage = batch["advantage"].numpy()
    if normalize_advantage:
        live = advantage[batch["weight"].numpy() > 0]
        advantage = (advantage - live.mean()) / live.std()

    def loss_fn(log_p, value):
        score = harness.of_actions(log_p, batch) * advantage
        error = (value - batch["return"]) ** 2
        entropy = -tf.reduce_sum(tf.exp(log_p) * log_p, axis=1)
        return harness.mean_of_live(0.3 * error - score - 0.2 * entropy, batch)

    harness.check_update(agent, batch, loss_fn)
