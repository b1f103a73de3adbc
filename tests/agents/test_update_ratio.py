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
WARMUP, UPDATES, RATIO = 21, 96, 0.3


def make_dqn(envs):
    network = rl.networks.mlp(envs.single_observation_space, (16,), seed=0)
    return agents.DQN(network, envs.single_action_space, epsilon=0.5, seed=0)


def make_rainbow(envs):
    network = rl.networks.mlp(envs.single_observation_space, (16,), seed=0)
    space = envs.single_action_space
    return agents.Rainbow(network, space, v_min=-1, v_max=3, atoms=11, seed=0)


DISCRETE = {
    agents.DQN: make_dqn,
    agents.Rainbow: make_rainbow,
    agents.DiscreteSAC: test_discrete_sac.make_agent,
}


def fit(kind, overlap, num_envs, steps_per_execution):
    env = toy.Identity if kind in DISCRETE else toy.Reach
    make_agent = DISCRETE.get(kind) or make(kind)
    with rl.envs.make(env, num_envs, seed=0) as envs:
        agent = make_agent(envs)
        agent.compile(
            keras.optimizers.Adam(1e-2),
            steps_per_execution=steps_per_execution,
        )
        callbacks = [rl.callbacks.TargetUpdate(2, 0.05)]
        if kind is agents.Rainbow:
            replay = rl.data.PrioritizedReplay(envs, 201, gamma=0.9, n_step=3)
            callbacks.append(rl.callbacks.UpdatePriorities(replay))
        else:
            replay = rl.data.Replay(envs, 201, gamma=0.9)
        collect = rl.callbacks.Collect(
            envs, replay, RATIO, warmup=WARMUP, chunk=4, overlap=overlap
        )
        agent.fit(
            replay.dataset(16),
            steps_per_epoch=UPDATES // 2,
            epochs=2,
            callbacks=[collect, *callbacks],
            verbose=0,
        )
    return agent, collect


@pytest.mark.parametrize(
    ("kind", "overlap", "num_envs"),
    [
        (agents.DQN, False, 1),
        (agents.DQN, True, 1),
        (agents.Rainbow, False, 3),
        (agents.SAC, False, 1),
        (agents.TD3, False, 1),
        *(
            pytest.param(kind, False, 1, marks=pytest.mark.slow)
            for kind in (
                agents.DDPG,
                agents.TQC,
                agents.DiscreteSAC,
                agents.CrossQ,
            )
        ),
    ],
)
def test_more_updates_than_steps(kind, overlap, num_envs):
    one, _ = fit(kind, overlap, num_envs, steps_per_execution=1)
    agent, collect = fit(kind, overlap, num_envs, steps_per_execution=4)
    assert int(agent.optimizer.iterations.numpy()) == UPDATES
    # Each update has called for its part of a step: taken, or still owed.
    owed = collect.get_state()["owed"]
    assert 0 <= owed < num_envs + 1
    taken = int(agent.env_steps.numpy()) - WARMUP
    np.testing.assert_allclose(taken + owed, RATIO * UPDATES)
    # How many updates are one graph call changes nothing.
    harness.assert_same(agent.get_state(), one.get_state())
