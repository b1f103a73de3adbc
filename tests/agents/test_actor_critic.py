"""The one-step actor-critic: the common harness, and what is its own."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents import harness


def actor_critic(second="critic", **arguments):
    """A `make_agent` of the harness."""
    return harness.on_policy(rl.agents.ActorCritic, second, **arguments)


def test_check_agent(tmp_path):
    harness.check_agent(
        actor_critic(normalize=True), tmp_path, make_data=harness.make_rollout
    )


def test_shared_features():
    arguments = actor_critic(None), toy.Identity
    harness.check_config(*arguments)
    harness.check_loss_falls(*arguments, harness.make_rollout)


def test_solves_bandit():
    agent = harness.live(actor_critic(), toy.Bandit, 300, steps=4)
    assert rl.evaluate(agent, toy.Bandit, episodes=4)["min"] == 1


def test_solves_identity_step_by_step():
    agent = harness.live(
        actor_critic(), toy.Identity, 1_000, steps=1, num_envs=8, gamma=0.5
    )
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


def test_equation_on_numbers():
    agent = harness.linear_agent(
        rl.agents.ActorCritic, spaces.Discrete(2), spread=0.0, value_weight=0.5
    )
    rows = {
        "obs": np.array([[[1, 0]], [[0, 1]]], "f4"),
        "action": np.zeros((1, 1), "i4"),
        "reward": np.full((1, 1), 3, "f4"),
        "discount": np.full((1, 1), 0.5, "f4"),
        "cut": np.zeros((1, 1), bool),
        "live": np.ones((1, 1), bool),
        "reward_so_far": np.zeros((1, 1), "f4"),
    }
    kernel, bias, value_kernel, value_bias = harness.heads(agent)
    value_kernel.assign([[1], [4]])
    added = agent.prepare({k: tf.constant(v) for k, v in rows.items()})
    # 3 + V(s') / 2 - V(s) = 3 + 2 - 1.
    np.testing.assert_allclose(added["advantage"], [[4]])
    np.testing.assert_allclose(added["return"], [[5]])
    batch = {k: tf.reshape(v, [-1]) for k, v in added.items()}
    batch.update(obs=rows["obs"][0], action=rows["action"][0])
    logs = agent.train_step(batch)
    # The actor ascends delta (1 - p), the critic moves by delta.
    np.testing.assert_allclose(kernel, [[2, -2], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(bias, [2, -2], atol=1e-6)
    np.testing.assert_allclose(value_kernel, [[5], [4]], atol=1e-6)
    np.testing.assert_allclose(value_bias, [4], atol=1e-6)
    np.testing.assert_allclose(logs["td_error"], 4)
    np.testing.assert_allclose(logs["value_loss"], 16)


def test_equation():
    agent = harness.linear_agent(
        rl.agents.ActorCritic, spaces.Discrete(3), value_weight=0.3
    )
    batch = harness.some_batch()

    def loss_fn(log_p, value):
        score = harness.of_actions(log_p, batch) * batch["advantage"]
        error = (value - batch["return"]) ** 2
        return harness.mean_of_live(0.3 * error - score, batch)

    harness.check_update(agent, batch, loss_fn)
