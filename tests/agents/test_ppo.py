"""PPO: the common harness on its variants, and what is its own."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents import harness


def ppo(second="critic", **arguments):
    """A `make_agent` of the harness."""
    return harness.on_policy(rl.agents.PPO, second, **arguments)


def test_check_agent(tmp_path):
    harness.check_agent(
        ppo(
            normalize=True,
            value_clip=0.2,
            entropy_weight=0.01,
            clip=keras.optimizers.schedules.PolynomialDecay(0.3, 300, 0.1),
        ),
        tmp_path,
        make_data=harness.make_rollout,
    )


def test_shared_features():
    arguments = ppo(None), toy.Identity
    harness.check_config(*arguments)
    harness.check_loss_falls(*arguments, harness.make_rollout)
    harness.check_fit(*arguments, harness.make_rollout)


def test_normalized_rewards(tmp_path):
    make_agent = ppo(normalize_rewards=True)
    harness.check_fit(make_agent, toy.Identity, harness.make_rollout)
    harness.save(make_agent, tmp_path, make_data=harness.make_rollout)
    harness.resume(tmp_path)
    harness.check_resumed(tmp_path)


SEVERAL_PASSES = {"minibatch_size": 32, "passes": 4}


@pytest.mark.parametrize("second", ["critic", None])
def test_solves_bandit(second):
    agent = harness.live(ppo(second), toy.Bandit, 30, **SEVERAL_PASSES)
    assert rl.evaluate(agent, toy.Bandit, episodes=4)["min"] == 1


@pytest.mark.parametrize("second", ["critic", None])
def test_solves_identity(second):
    agent = harness.live(
        ppo(second), toy.Identity, 40, gamma=0.5, **SEVERAL_PASSES
    )
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


def test_equation_on_numbers():
    agent = harness.linear_agent(
        rl.agents.PPO,
        spaces.Discrete(2),
        spread=0.0,
        clip=0.2,
        normalize_advantage=False,
    )
    # The probability of each action is a half by now; before, it was less, or
    # more.
    ratio = np.array([1.1, 1.3, 1.3, 0.7, 0.7])
    advantage = [10.0, 10.0, -10.0, 10.0, -10.0]
    _, bias, *_ = harness.heads(agent)
    moved = []
    for old, sign in zip(ratio, advantage):
        bias.assign([0, 0])
        batch = {
            "obs": [[0.0, 0.0]],
            "action": [0],
            "log_prob": [float(np.log(0.5 / old))],
            "advantage": [sign],
            "return": [0.0],
            "value": [0.0],
            "weight": [1.0],
        }
        logs = agent.train_step({k: tf.constant(v) for k, v in batch.items()})
        moved.append(float(bias[0]))
    # Ratio times advantage times (1 - p), but nothing where the ratio has
    # already gone too far in the direction of the advantage.
    expected = [1.1 * 5, 0, -1.3 * 5, 0.7 * 5, 0]
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    assert set(logs) == set(agent.metric_names)


@pytest.mark.parametrize("value_clip", [None, 0.2])
@pytest.mark.parametrize("normalize_advantage", [False, True])
def test_equation(value_clip, normalize_advantage):
    agent = harness.linear_agent(
        rl.agents.PPO,
        spaces.Discrete(3),
        clip=0.25,
        value_weight=0.3,
        entropy_weight=0.2,
        value_clip=value_clip,
        normalize_advantage=normalize_advantage,
    )
    batch = harness.some_batch(size=40)
    batch["log_prob"] -= 1.0  # As likely as actions are.
    advantage = batch["advantage"].numpy()
    if normalize_advantage:
        live = advantage[batch["weight"].numpy() > 0]
        advantage = (advantage - live.mean()) / live.std()
    seen = {}

    def loss_fn(log_p, value):
        now = harness.of_actions(log_p, batch)
        ratio = tf.exp(now - batch["log_prob"])
        near = tf.clip_by_value(ratio, 0.75, 1.25)
        surrogate = tf.where(
            advantage > 0,
            tf.minimum(ratio, 1.25) * advantage,
            tf.maximum(ratio, 0.75) * advantage,
        )
        error = (value - batch["return"]) ** 2
        if value_clip is not None:
            moved = value - batch["value"]
            limited = tf.clip_by_value(moved, -value_clip, value_clip)
            other = (batch["value"] + limited - batch["return"]) ** 2
            error = tf.where(error > other, error, other)
        entropy = -tf.reduce_sum(tf.exp(log_p) * log_p, axis=1)
        log_ratio = now - batch["log_prob"]
        seen.update(
            policy_loss=-surrogate,
            value_loss=error,
            entropy=entropy,
            kl=ratio - 1 - log_ratio,
            clipped=tf.cast(near != ratio, "float32"),
        )
        return harness.mean_of_live(
            0.3 * error - surrogate - 0.2 * entropy, batch
        )

    logs = harness.check_update(agent, batch, loss_fn)
    for name, values in seen.items():
        expected = harness.mean_of_live(values, batch)
        np.testing.assert_allclose(
            logs[name], expected, rtol=1e-4, err_msg=name
        )
    assert 0.2 < logs["clipped"] < 0.9  # Else the clip would not be tested.


def test_clip_follows_a_schedule_over_env_steps():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.4, 100, 0.0)
    clipped = []
    for env_steps in (0, 75, 1_000):
        agent = harness.linear_agent(
            rl.agents.PPO, spaces.Discrete(3), clip=schedule
        )
        agent.env_steps.assign(env_steps)
        batch = harness.some_batch()
        logs = agent.train_step(batch)
        kernel, bias, *_ = harness.heads(
            harness.linear_agent(rl.agents.PPO, spaces.Discrete(3))
        )
        log_p = tf.nn.log_softmax(batch["obs"] @ kernel + bias)
        now = harness.of_actions(log_p, batch)
        ratio = tf.exp(now - batch["log_prob"])
        clip = max(0.4 * (1 - env_steps / 100), 0.0)
        far = tf.cast(tf.abs(ratio - 1) > clip, "float32")
        np.testing.assert_allclose(
            logs["clipped"], harness.mean_of_live(far, batch)
        )
        clipped.append(float(logs["clipped"]))
    assert clipped == sorted(clipped) and clipped[-1] == 1
    config = json.loads(json.dumps(agent.get_config()))
    copy = rl.agents.PPO.from_config(config)
    assert copy.clip.get_config() == schedule.get_config()


def test_dead_cells_teach_nothing():
    batch = harness.some_batch()
    agents = []
    for change in (0.0, 100.0):
        agent = harness.linear_agent(
            rl.agents.PPO, spaces.Discrete(3), entropy_weight=0.1
        )
        dead = change * (1 - batch["weight"])
        names = ("advantage", "return", "value", "log_prob")
        changed = {name: batch[name] + dead for name in names}
        obs = batch["obs"] + dead[:, None]
        # Exponents of 100 are infinite, and infinity times 0 is NaN: such
        # ratios do not occur, as the log-probabilities are the agent's own.
        changed["log_prob"] = batch["log_prob"]
        agent.train_step({**batch, **changed, "obs": obs})
        agents.append(agent)
    for one, other in zip(*map(harness.heads, agents)):
        np.testing.assert_allclose(one, other, atol=1e-5)
