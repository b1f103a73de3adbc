"""Munchausen: its equation; see `test_value_based` for the rest."""

import keras
import numpy as np
import pytest
from gymnasium import spaces as gym

import keras_rl2x as rl
from keras_rl2x import agents
from tests.agents.test_value_based import batch_of
from tests.agents.test_value_based import differing


@pytest.mark.parametrize(
    ("alpha", "temperature", "least"), [(0.9, 0.5, -0.6), (0.0, 2.0, -1.0)]
)
def test_an_update_is_that_of_the_paper(alpha, temperature, least):
    agent = differing(
        agents.Munchausen,
        alpha=alpha,
        temperature=temperature,
        least_bonus=least,
        loss="squared",
    )
    batch, rows = batch_of(), np.arange(4)

    def soft(obs):
        q = np.array(agent.target_network(obs), "f8")
        p = np.exp(q / temperature)
        return q, p / p.sum(axis=-1, keepdims=True)

    _, p = soft(batch["obs"])
    unclipped = temperature * np.log(p[rows, batch["action"]])
    bonus = np.clip(unclipped, least, 0)
    assert 0 < np.sum(bonus > unclipped) < 4
    q_next, p_next = soft(batch["next_obs"])
    value_next = np.sum(p_next * (q_next - temperature * np.log(p_next)), 1)
    target = batch["reward"] + alpha * bonus + batch["discount"] * value_next
    q_value = np.array(agent.q_network(batch["obs"]))[rows, batch["action"]]
    error = target - q_value

    values = agent.train_step(batch)
    np.testing.assert_allclose(
        values["loss"],
        np.mean(batch["weight"] * 0.5 * np.square(error)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        values["td_error"], np.abs(error).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(values["bonus"], bonus.mean(), rtol=1e-5)


def test_without_bonus_and_entropy_it_is_dqn():
    batch, losses = batch_of(), []
    for kind, arguments in (
        (agents.Munchausen, {"alpha": 0.0, "temperature": 1e-4}),
        (agents.DQN, {"double": False}),
    ):
        network = rl.networks.mlp(gym.Discrete(4), (8,), seed=0)
        agent = kind(network, gym.Discrete(4), seed=0, **arguments)
        agent.compile(keras.optimizers.Adam(1e-2))
        losses.append([float(agent.train_step(batch)["loss"]) for _ in "123"])
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"temperature": float("nan")}, {"least_bonus": 0.1}],
)
def test_wrong_numbers(wrong):
    network = rl.networks.mlp(gym.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        agents.Munchausen(network, gym.Discrete(2), **wrong)


def test_a_head_may_be_left_out():
    network = rl.networks.mlp(gym.Discrete(4), (8, 4))
    agent = agents.Munchausen(network, gym.Discrete(4), head=None)
    assert agent.policy is network
    with pytest.raises(ValueError, match="one of .*'squared'.*loss='hubris'"):
        agents.Munchausen(network, gym.Discrete(4), loss="hubris")
