"""TQC: what is its own; see `test_continuous` for the rest."""

import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import test_continuous
from tests.ops.test_quantile import slow_loss


def make(**arguments):
    envs = rl.envs.make(toy.Reach)
    agent = test_continuous.make(agents.TQC, **arguments)(envs)
    agent.compile(keras.optimizers.SGD(0.0))
    return agent, test_continuous.batch_of(envs)


def test_an_update_is_that_of_the_paper():
    agent, batch = make(temperature=0.5, quantiles=5, top_quantiles_to_drop=2)
    seed = agent.seed_generator.state.numpy()
    action, log_prob = agent.distribution.sample_and_log_prob(
        agent.actor(batch["next_obs"]), agent.seed_generator
    )
    agent.seed_generator.state.assign(seed)
    inputs = {"action": action, "observation": batch["next_obs"]}
    pooled = np.concatenate([c(inputs) for c in agent.target_critics], axis=1)
    assert pooled.shape == (4, 10)
    kept = np.sort(pooled)[:, :6]
    soft = kept - 0.5 * np.array(log_prob)[:, None]
    reward, discount = np.array(batch["reward"]), np.array(batch["discount"])
    target = reward[:, None] + discount[:, None] * soft
    inputs = {"action": batch["action"], "observation": batch["obs"]}
    fractions = np.tile([0.1, 0.3, 0.5, 0.7, 0.9], (4, 1))
    quantiles = [critic(inputs).numpy() for critic in agent.critic_networks]
    losses = [slow_loss(q, fractions, target).mean() for q in quantiles]
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], sum(losses), rtol=1e-5)
    mean = quantiles[0].mean(axis=1)
    np.testing.assert_allclose(values["q_value"], mean.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        values["td_error"], np.abs(target.mean(axis=1) - mean).mean(), rtol=1e-5
    )


def test_the_actor_follows_the_mean_of_all_quantiles():
    # Next to no entropy: what is left of the loss are the quantiles.
    agent, batch = make(temperature=1e-6, quantiles=3, top_quantiles_to_drop=1)
    seed = agent.seed_generator.state.numpy()
    for obs in (batch["next_obs"], batch["obs"]):
        action, _ = agent.distribution.sample_and_log_prob(
            agent.actor(obs), agent.seed_generator
        )
    agent.seed_generator.state.assign(seed)
    inputs = {"action": action, "observation": batch["obs"]}
    wanted = np.mean([critic(inputs) for critic in agent.critic_networks])
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["actor_loss"], -wanted, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_critics(count):
    envs = rl.envs.make(toy.Reach)
    space, actions = envs.single_observation_space, envs.single_action_space
    critics = [
        rl.networks.mlp(space, (8,), action_space=actions) for _ in range(count)
    ]
    network = rl.networks.mlp(space, (8,))
    agent = agents.TQC(network, actions, critics, seed=0)
    agent.compile(keras.optimizers.Adam(1e-3))
    values = agent.train_step(test_continuous.batch_of(envs))
    assert np.isfinite(values["loss"])
    assert len(agent.targets) == count


def test_no_critics():
    with pytest.raises(ValueError, match="TQC needs one or more critics"):
        make(critics=[])


@pytest.mark.parametrize(("quantiles", "drop"), [(1, 0), (5, 5), (5, -1)])
def test_wrong_numbers_of_quantiles(quantiles, drop):
    with pytest.raises(ValueError, match="at least one left"):
        make(quantiles=quantiles, top_quantiles_to_drop=drop)
