"""More than one update for each environment step, for each agent of replays."""

import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.agents import test_discrete_sac
from tests.agents.test_continuous import make

# A chunk of 4 updates calls for 1.2 steps.
WARMUP, UPDATES, RATIO = 20, 96, 0.3


def make_dqn(envs):
    network = rl.networks.mlp(envs.single_observation_space, (16,), seed=0)
    return agents.DQN(network, envs.single_action_space, epsilon=0.5, seed=0)


DISCRETE = {
    agents.DQN: make_dqn,
    agents.DiscreteSAC: test_discrete_sac.make_agent,
}


def fit(kind, overlap, steps_per_execution):
    env = toy.Identity if kind in DISCRETE else toy.Reach
    make_agent = DISCRETE.get(kind) or make(kind)
    with rl.envs.make(env, seed=0) as envs:
        agent = make_agent(envs)
        agent.compile(
            keras.optimizers.Adam(1e-2),
            steps_per_execution=steps_per_execution,
        )
        replay = rl.data.Replay(envs, 200, gamma=0.9)
        collect = rl.callbacks.Collect(
            envs, replay, RATIO, warmup=WARMUP, chunk=4, overlap=overlap
        )
        agent.fit(
            replay.dataset(16),
            steps_per_epoch=UPDATES // 2,
            epochs=2,
            callbacks=[collect, rl.callbacks.TargetUpdate(2, 0.05)],
            verbose=0,
        )
    return agent, collect


@pytest.mark.parametrize(
    ("kind", "overlap"),
    [
        (agents.DQN, False),
        (agents.DQN, True),
        (agents.DDPG, False),
        (agents.SAC, False),
        (agents.TD3, False),
        (agents.TQC, False),
        (agents.DiscreteSAC, False),
        pytest.param(agents.CrossQ, False, marks=pytest.mark.slow),
    ],
)
def test_more_updates_than_steps(kind, overlap):
    one, _ = fit(kind, overlap, steps_per_execution=1)
    agent, collect = fit(kind, overlap, steps_per_execution=4)
    assert int(agent.optimizer.iterations.numpy()) == UPDATES
    # Each update has called for its part of a step: taken, or still owed.
    owed = collect.get_state()["owed"]
    assert 0 <= owed < 2
    taken = int(agent.env_steps.numpy()) - WARMUP
    np.testing.assert_allclose(taken + owed, RATIO * UPDATES)
    # How many updates are one graph call changes nothing.
    harness.assert_same(agent.get_state(), one.get_state())
