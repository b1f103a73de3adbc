"""Agents can be made and loaded whatever observations and layers are called.

Keras wants every name in a model once, and an agent builds upon networks whose
names are a user's, or were given by Keras in another process.
"""

import concurrent.futures
import multiprocessing
import types

import gymnasium.spaces as gym
import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x import agents
from tests.agents import harness
from tests.agents import test_continuous
from tests.agents import test_value_based

DISCRETE, REAL = gym.Discrete(3), gym.Box(-1, 1, (2,))
# Of layers of heads, and of what Keras calls operations.
NAMES = ("value", "policy", "logits", "log_std", "mask", "mean", "clip", "add")
MASKED = gym.Dict(
    action_mask=gym.MultiBinary(3),
    **{name: gym.Box(-1, 1, (2,)) for name in NAMES},
)
OBSERVED = gym.Dict({key: MASKED[key] for key in MASKED if "action" not in key})


def discrete_sac(envs):
    network, *critics = (
        rl.networks.mlp(envs.single_observation_space, (16,)) for _ in range(3)
    )
    return agents.DiscreteSAC(network, envs.single_action_space, critics)


def with_memory(envs):
    network = rl.networks.lstm(envs.single_observation_space, (8,), memory=4)
    return agents.PPO(network, envs.single_action_space)


VALUE_BASED = {
    f"{kind.__name__}-{head}": test_value_based.make(kind, head=head)
    for kind in (*test_value_based.ARGUMENTS, agents.DQN)
    for head in ("q_values", "dueling")
}
POLICIES = {
    "a2c": harness.on_policy(agents.A2C),
    "ppo": harness.on_policy(agents.PPO, second="critic"),
    "ppo-lstm": with_memory,
}
MADE = [
    *(
        pytest.param(make, MASKED, DISCRETE, id=name)
        for name, make in {
            **VALUE_BASED,
            **POLICIES,
            "pqn": harness.on_policy(agents.PQN),
            "discrete_sac": discrete_sac,
        }.items()
    ),
    *(
        pytest.param(make, OBSERVED, REAL, id=f"{name}-real")
        for name, make in {
            **POLICIES,
            **{
                kind.__name__: test_continuous.make(kind)
                for kind in (
                    agents.DDPG,
                    agents.TD3,
                    agents.SAC,
                    agents.TQC,
                    agents.CrossQ,
                )
            },
        }.items()
    ),
]


@pytest.fixture(scope="module")
def fresh():
    """Processes that have imported this and made nothing, one for each call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with concurrent.futures.ProcessPoolExecutor(
        1, context, max_tasks_per_child=1
    ) as pool:
        yield pool


def acted(path, obs):
    return np.array(rl.load(path)(obs))


@pytest.mark.parametrize(("make_agent", "observed", "actions"), MADE)
def test_a_process_that_made_no_layer_loads_it(
    make_agent, observed, actions, fresh, tmp_path
):
    envs = types.SimpleNamespace(
        single_observation_space=observed, single_action_space=actions
    )
    agent = make_agent(envs)
    agent.compile(keras.optimizers.Adam())
    path, obs = str(tmp_path / "agent.keras"), harness.random_obs(envs)
    agent.save(path)
    np.testing.assert_allclose(
        fresh.submit(acted, path, obs).result(), agent(obs), atol=1e-6
    )
