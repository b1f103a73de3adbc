"""REINFORCE: the common harness, and what is its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents import harness


def reinforce(second="baseline", **arguments):
    """A `make_agent` of the harness."""
    return harness.on_policy(rl.agents.REINFORCE, second, **arguments)


def test_check_agent(tmp_path):
    harness.check_agent(
        reinforce(normalize=True), tmp_path, make_data=harness.make_rollout
    )


def test_without_a_baseline(tmp_path):
    make_agent, given = reinforce(None), (toy.Identity, harness.make_rollout)
    harness.check_config(make_agent, toy.Identity)
    harness.check_loss_falls(make_agent, *given)
    trained = harness.save(make_agent, tmp_path, *given)
    harness.check_eager(make_agent, *given, trained)


@pytest.mark.parametrize("second", ["baseline", None])
def test_solves_bandit(second):
    agent = harness.live(reinforce(second), toy.Bandit, 100)
    assert rl.evaluate(agent, toy.Bandit, episodes=4)["min"] == 1


@pytest.mark.parametrize("second", ["baseline", None])
def test_solves_identity(second):
    # Longer than an episode: one that does not end does not count.
    agent = harness.live(
        reinforce(second), toy.Identity, 150, steps=33, gamma=0.5
    )
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


def test_equation_on_numbers():
    agent = harness.linear_agent(
        rl.agents.REINFORCE, spaces.Discrete(2), spread=0.0
    )
    batch = {
        "obs": [[1.0, 0.0]],
        "action": [0],
        "advantage": [2.0],
        "return": [2.0],
        "weight": [1.0],
    }
    logs = agent.train_step({k: tf.constant(v) for k, v in batch.items()})
    # Both actions are as probable: 2 times the gradient of log p is 2 / 2.
    kernel, bias, *value = harness.heads(agent)
    np.testing.assert_allclose(kernel, [[1, -1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(bias, [1, -1], atol=1e-6)
    np.testing.assert_allclose(logs["loss"], 2 * np.log(2), rtol=1e-6)
    # Without a baseline, no value is learnt.
    assert all(np.all(weight.numpy() == 0) for weight in value)


@pytest.mark.parametrize("second", ["baseline", None])
def test_equation(second):
    agent = harness.linear_agent(
        rl.agents.REINFORCE,
        spaces.Discrete(3),
        second=second,
        baseline_weight=0.3,
    )
    batch = harness.some_batch()

    def loss_fn(log_p, value):
        score = harness.of_actions(log_p, batch) * batch["advantage"]
        error = harness.mean_of_live((value - batch["return"]) ** 2, batch)
        loss = -harness.mean_of_live(score, batch)
        return loss + 0.3 * error if second else loss

    logs = harness.check_update(agent, batch, loss_fn)
    assert logs["complete"] == 0.75


@pytest.mark.parametrize("second", ["baseline", None])
def test_returns_of_whole_episodes(second):
    agent = harness.linear_agent(
        rl.agents.REINFORCE, spaces.Discrete(2), second=second
    )
    zeros = np.zeros((5, 3), "f4")
    # Environment 0 terminates in row 1, environment 1 is truncated there, and
    # so is 2, in the last row.
    ended = np.array([[0, 1, 0, 0, 0]] * 2 + [[0, 0, 0, 0, 1]], bool).T
    dead = np.array([[0, 0, 1, 0, 0]] * 2 + [[0] * 5], bool).T
    terminated = ended * [True, False, False]
    added = agent.prepare(
        keras.tree.map_structure(
            tf.constant,
            {
                "obs": np.ones((6, 3, 2), "f4"),
                "action": zeros.astype("i4"),
                "reward": np.where(
                    dead, 0, zeros + [[1], [2], [3], [4], [5]]
                ).astype("f4"),
                "discount": (0.5 * ~terminated).astype("f4"),
                "cut": ended | dead,
                "live": ~dead,
                "reward_so_far": zeros,
            },
        )
    )
    weight = added["weight"].numpy().T
    np.testing.assert_array_equal(weight, [[1, 1, 0, 0, 0]] * 2 + [[1] * 5])
    returns = added["return"].numpy().T
    # No value is added where the episode was truncated: 1 + 2 / 2.
    np.testing.assert_allclose(returns[:2, :2], [[2, 2]] * 2)
    np.testing.assert_allclose(returns[2], [3.5625, 5.125, 6.25, 6.5, 5])
    expected = returns - added["value"].numpy().T if second else returns
    np.testing.assert_allclose(added["advantage"].numpy().T, expected)
