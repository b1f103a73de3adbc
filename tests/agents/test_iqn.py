"""IQN: its equations; see `test_value_based` for the rest."""

import keras
import numpy as np
import pytest
from gymnasium import spaces as gym

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents.test_dqn import train
from tests.agents.test_value_based import batch_of
from tests.agents.test_value_based import differing
from tests.agents.test_value_based import make
from tests.ops.test_quantile import slow_loss


@pytest.mark.parametrize("head", ["q_values", "dueling"])
def test_an_update_is_that_of_the_paper(head):
    agent = differing(agents.IQN, quantiles=5, target_quantiles=3, head=head)
    batch, rows = batch_of(), np.arange(4)
    seed = agent.seed_generator.state.numpy()
    next_fractions, fractions = (
        keras.random.uniform((4, count), seed=agent.seed_generator)
        for count in (3, 5)
    )
    agent.seed_generator.state.assign(seed)
    values_next, following = agent.target_network(
        {"fractions": next_fractions, "observation": batch["next_obs"]}
    )
    best = np.argmax(values_next, axis=-1)
    reward, discount = batch["reward"].numpy(), batch["discount"].numpy()
    following = following.numpy()[rows, best]
    target = reward[:, None] + discount[:, None] * following
    q, quantiles = agent.distribution_network(
        {"fractions": fractions, "observation": batch["obs"]}
    )
    quantiles = quantiles.numpy()[rows, batch["action"]]
    q_value = q.numpy()[rows, batch["action"]]
    # Summed over the fractions, a mean over those of the target.
    errors = slow_loss(quantiles, fractions.numpy(), target).sum(axis=-1)

    values = agent.train_step(batch)
    np.testing.assert_allclose(
        values["loss"], np.mean(batch["weight"] * errors), rtol=1e-5
    )
    np.testing.assert_allclose(values["q_value"], q_value.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        values["td_error"],
        np.abs(target.mean(axis=-1) - q_value).mean(),
        rtol=1e-5,
    )


def test_fractions_are_drawn_anew_in_each_update():
    agent, batch = differing(agents.IQN), batch_of()
    losses = [float(agent.train_step(batch)["loss"]) for _ in "12"]
    assert losses[0] != losses[1]  # The optimizer moves nothing.
    again = differing(agents.IQN)
    np.testing.assert_array_equal(again.train_step(batch)["loss"], losses[0])


def test_acting_draws_nothing():
    agent, obs = differing(agents.IQN), np.arange(4, dtype="int32")
    seed = agent.seed_generator.state.numpy()
    np.testing.assert_array_equal(agent.policy(obs), agent.policy(obs))
    agent(obs)
    np.testing.assert_array_equal(agent.seed_generator.state, seed)


def test_learns_the_quantiles_of_a_random_reward():
    class Dice(toy.Bandit):
        """Pays any number from 0 to 10, whatever is done."""

        def step(self, action):
            obs, _, *rest = super().step(action)
            return obs, 10 * self.np_random.random(), *rest

    updates = 1_200
    agent = train(
        Dice,
        lambda envs: rl.data.Replay(envs, 4_000, gamma=0.9),
        updates,
        make(agents.IQN, quantiles=16, target_quantiles=1),
        keras.optimizers.schedules.PolynomialDecay(0.02, updates, 0.0),
        env_steps_per_update=4,
    )
    fractions = np.array([[0.1, 0.3, 0.5, 0.7, 0.9]], "float32")
    q, quantiles = agent.distribution_network(
        {"fractions": fractions, "observation": np.ones((1, 1), "float32")}
    )
    # The quantile at each fraction is ten times that fraction.
    np.testing.assert_allclose(
        quantiles[0], 10 * np.tile(fractions, (4, 1)), atol=1.2
    )
    np.testing.assert_allclose(q, np.full((1, 4), 5.0), atol=0.4)


@pytest.mark.parametrize(
    "name", ["quantiles", "target_quantiles", "acting_quantiles", "cosines"]
)
def test_there_must_be_one_of_each(name):
    network = rl.networks.mlp(gym.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match=f"at least one of each.*{name}=0"):
        agents.IQN(network, gym.Discrete(2), **{name: 0})
