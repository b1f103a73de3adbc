"""C51: its equation; see `test_value_based` for the rest."""

import numpy as np
import pytest
from gymnasium import spaces as gym

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.agents import value_based
from keras_rl2x.spaces import MASKED
from tests.agents.test_value_based import batch_of
from tests.agents.test_value_based import differing
from tests.ops.test_categorical import slow_projection


def softmax(logits):
    e = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("head", ["q_values", "dueling"])
@pytest.mark.parametrize("double", [False, True])
def test_an_update_is_that_of_the_paper(double, head):
    agent, batch = differing(agents.C51, double=double, head=head), batch_of()
    rows, z = np.arange(4), np.linspace(-1, 3, 21)
    network, target_network = agent.distribution_network, agent.target_network
    p_next = softmax(np.array(target_network(batch["next_obs"])[1], "f8"))
    judge = network(batch["next_obs"])[1] if double else np.log(p_next)
    best = (softmax(np.array(judge, "f8")) @ z).argmax(axis=-1)
    m = slow_projection(
        batch["reward"].numpy(),
        batch["discount"].numpy(),
        p_next[rows, best],
        z,
    )
    p = softmax(np.array(network(batch["obs"])[1], "f8"))[rows, batch["action"]]
    cross_entropy = -np.sum(m * np.log(p), axis=1)
    entropy = -np.sum(m * np.log(np.where(m > 0, m, 1)), axis=1)
    divergence = cross_entropy - entropy

    values = agent.train_step(batch)
    np.testing.assert_allclose(
        values["loss"], np.mean(batch["weight"] * divergence), rtol=1e-4
    )
    np.testing.assert_allclose(values["td_error"], divergence.mean(), rtol=1e-4)
    np.testing.assert_allclose(values["q_value"], (p @ z).mean(), rtol=1e-4)


def test_the_networks_choose_differently():
    # Else the test above would not tell `double` from what it is not.
    agent, obs = differing(agents.C51), batch_of()["next_obs"]
    online, target = agent.q_network(obs), agent.target_network(obs)[0]
    assert np.any(np.argmax(online, axis=-1) != np.argmax(target, axis=-1))


def test_a_masked_action_is_never_the_target():
    space = gym.Dict(at=gym.Box(-1, 1, (2,)), action_mask=gym.MultiBinary(3))
    network = rl.networks.mlp(space, (8,), seed=0)
    agent = agents.C51(network, gym.Discrete(3), 0.0, 1.0, atoms=3, seed=0)
    # Action 1 returns 1 for certain, the others 0; but once it is forbidden.
    head = agent.distribution_network.get_layer("distributions_head")
    kernel, bias = head.get_weights()
    certain = 50 * np.eye(3)
    head.set_weights([0 * kernel, certain[[0, 2, 0]].ravel()])
    rl.networks.track(*agent.targets[0], tau=1.0)
    obs = {
        "at": np.zeros((2, 2), "float32"),
        "action_mask": np.array([[1, 0, 1], [1, 1, 1]], "uint8"),
    }
    np.testing.assert_allclose(
        agent.policy(obs), [[0, MASKED, 0], [0, 1, 0]], atol=1e-6
    )
    for double in (False, True):
        logits = value_based.next_distribution(agent, obs, double)
        np.testing.assert_allclose(logits, certain[[0, 2]])


@pytest.mark.parametrize(
    "wrong", [{"v_max": 0.0}, {"v_min": float("nan")}, {"atoms": 1}]
)
def test_wrong_support(wrong):
    network = rl.networks.mlp(gym.Box(-1, 1, (2,)))
    arguments = {"v_min": 0.0, "v_max": 1.0, **wrong}
    with pytest.raises(ValueError, match="2 `atoms` or more"):
        agents.C51(network, gym.Discrete(2), **arguments)
