"""More than one update for each environment step, for each agent of replays."""

import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.agents.test_continuous import make

# A chunk of 4 updates calls for 1.2 steps.
WARMUP, UPDATES, RATIO = 20, 96, 0.3


def make_dqn(envs):
    network = rl.networks.mlp(envs.single_observation_space, (16,), seed=0)
    return agents.DQN(network, envs.single_action_space, epsilon=0.5, seed=0)


def fit(kind, steps_per_execution, chunk=4):
    env, make_agent = toy.Reach, make(kind)
    if kind is agents.DQN:
        env, make_agent = toy.Identity, make_dqn
    with rl.envs.make(env, seed=0) as envs:
        agent = make_agent(envs)
        agent.compile(
            keras.optimizers.Adam(1e-2),
            steps_per_execution=steps_per_execution,
        )
        replay = rl.data.Replay(envs, 200, gamma=0.9)
        collect = rl.callbacks.Collect(
            envs, replay, RATIO, warmup=WARMUP, chunk=chunk
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
    "kind", [agents.DQN, agents.DDPG, agents.SAC, agents.TD3]
)
def test_more_updates_than_steps(kind):
    one, _ = fit(kind, steps_per_execution=1)
    agent, collect = fit(kind, steps_per_execution=4)
    assert int(agent.optimizer.iterations.numpy()) == UPDATES
    # Each update has called for its part of a step: taken, or still owed.
    owed = collect.get_state()["owed"]
    assert 0 <= owed < 2
    taken = int(agent.env_steps.numpy()) - WARMUP
    np.testing.assert_allclose(taken + owed, RATIO * UPDATES)
    # How many updates are one graph call changes nothing.
    harness.assert_same(agent.get_state(), one.get_state())
