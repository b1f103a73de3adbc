"""TQC: what is its own; see `test_continuous` for the rest."""

import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents.test_continuous import batch_of
from tests.agents.test_continuous import draw
from tests.agents.test_continuous import judge
from tests.agents.test_continuous import some
from tests.ops.test_quantile import slow_loss


def test_an_update_is_that_of_the_paper():
    agent, batch = some(
        agents.TQC, temperature=0.5, quantiles=5, top_quantiles_to_drop=2
    )
    ((action, log_prob),) = draw(agent, batch["next_obs"])
    pooled = np.concatenate(
        judge(agent.target_critics, batch["next_obs"], action), axis=1
    )
    assert pooled.shape == (4, 10)
    kept = np.sort(pooled)[:, :6]
    soft = kept - 0.5 * np.array(log_prob)[:, None]
    reward, discount = np.array(batch["reward"]), np.array(batch["discount"])
    target = reward[:, None] + discount[:, None] * soft
    fractions = np.tile([0.1, 0.3, 0.5, 0.7, 0.9], (4, 1))
    quantiles = np.array(
        judge(agent.critic_networks, batch["obs"], batch["action"])
    )
    losses = [
        np.mean(batch["weight"] * slow_loss(q, fractions, target).mean(axis=1))
        for q in quantiles
    ]
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], sum(losses), rtol=1e-5)
    mean = quantiles[0].mean(axis=1)
    np.testing.assert_allclose(values["q_value"], mean.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        values["td_error"], np.abs(target.mean(axis=1) - mean).mean(), rtol=1e-5
    )


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
    values = agent.train_step(batch_of(envs))
    assert np.isfinite(values["loss"])
    assert len(agent.targets) == count


def test_no_critics():
    with pytest.raises(ValueError, match="TQC needs one or more critics"):
        some(agents.TQC, critics=[])


@pytest.mark.parametrize(("quantiles", "drop"), [(1, 0), (5, 5), (5, -1)])
def test_wrong_numbers_of_quantiles(quantiles, drop):
    with pytest.raises(ValueError, match="at least one left"):
        some(agents.TQC, quantiles=quantiles, top_quantiles_to_drop=drop)
