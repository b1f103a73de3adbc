"""Agents that remember: what they carry, and what they learn with it."""

import keras
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import harness


def recurrent(kind, units=(8,), memory=8, **arguments):
    def make_agent(envs):
        network = rl.networks.lstm(
            envs.single_observation_space, units, memory, seed=0
        )
        return kind(network, envs.single_action_space, seed=0, **arguments)

    return make_agent


def fit(agent, envs, minibatch_size, passes, epochs, where="auto"):
    rollout = rl.data.Rollout(envs, steps=32, gamma=0.9)
    agent.fit(
        rollout.dataset(minibatch_size, passes, sequences=True),
        steps_per_epoch=rollout.updates * 10,
        epochs=epochs,
        callbacks=[rl.callbacks.Collect(envs, rollout, where=where)],
        verbose=0,
    )
    return rollout


@pytest.mark.parametrize("kind", [agents.A2C, agents.PPO])
def test_solves_memory(kind):
    # Without a memory the best is 0.5.
    with rl.envs.make(toy.Memory, 8, seed=0) as envs:
        agent = recurrent(kind, (16,), 16, entropy_weight=0.01)(envs)
        agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=4)
        if kind is agents.PPO:
            fit(agent, envs, 128, 2, epochs=6)
        else:
            agent.steps_per_execution = 1
            fit(agent, envs, 256, 1, epochs=25)
    assert rl.evaluate(agent, toy.Memory, episodes=40)["mean"] > 0.95


def test_minibatches_begin_with_their_own_memory():
    # An agent that does not learn meets the policy that acted, in each of two
    # minibatches of four environments, in both passes.
    with rl.envs.make(toy.Memory, 8, seed=0) as envs:
        agent = recurrent(agents.PPO)(envs)
        agent.compile(keras.optimizers.SGD(0.0), steps_per_execution=4)
        rollout = rl.data.Rollout(envs, steps=7, gamma=0.9)
        history = agent.fit(
            rollout.dataset(28, passes=2, sequences=True),
            steps_per_epoch=rollout.updates * 5,
            callbacks=[rl.callbacks.Collect(envs, rollout)],
            verbose=0,
        ).history
    assert history["kl"][0] < 1e-9
    assert history["clipped"] == [0]


def test_a_network_without_memory_cannot():
    with rl.envs.make(toy.Memory, 8, seed=0) as envs:
        network = rl.networks.mlp(envs.single_observation_space, (16,), seed=0)
        agent = agents.PPO(network, envs.single_action_space, seed=0)
        agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=4)
        rollout = rl.data.Rollout(envs, steps=32, gamma=0.9)
        agent.fit(
            rollout.dataset(128, 2),
            steps_per_epoch=240,
            callbacks=[rl.callbacks.Collect(envs, rollout)],
            verbose=0,
        )
    assert rl.evaluate(agent, toy.Memory, episodes=200)["mean"] < 0.7


@pytest.mark.parametrize("where", ["host", "graph"])
def test_acting_remembers_until_an_episode_ends(where):
    envs = rl.envs.make(toy.Memory, 3, seed=0)
    agent = recurrent(agents.PPO)(envs)
    policy = rl.acting.Policy(agent, 3, where)
    policy.snapshot()
    obs = harness.random_obs(envs, 3)
    begins = np.array([True, False, False])
    first = policy.greedy(obs, np.ones(3, bool)), policy.memory
    policy.greedy(obs, begins)
    # The first has begun again; the others have gone on.
    np.testing.assert_array_equal(policy.memory[0], first[1][0])
    assert (policy.memory[1:] != first[1][1:]).any(axis=1).all()


def test_the_memory_of_a_rollout_is_that_of_the_acting():
    # Log-probabilities recomputed over the sequences, from the memory that was
    # carried over, are those of the distributions that were drawn from.
    with rl.envs.make(toy.Memory, 4, seed=0) as envs:
        agent = recurrent(agents.PPO)(envs)
        seen = []
        sampler = agent.sampler

        def sample(logits, rng, **arguments):
            action = sampler(logits, rng, **arguments)
            log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            seen.append(log_p[np.arange(4), action])
            return action

        agent.sampler = sample
        agent.compile(keras.optimizers.SGD(0.0))
        rollout = fit(agent, envs, 128, 1, epochs=1)
    told = rollout._cells["log_prob"].numpy().reshape(32, 4)
    live = rollout._cells["weight"].numpy().reshape(32, 4) == 1
    assert 0 < live.sum() < live.size
    np.testing.assert_allclose(
        told[live], np.array(seen[-32:])[live], atol=1e-5
    )


def test_executions_change_nothing():
    def run(steps_per_execution):
        with rl.envs.make(toy.Memory, 4, seed=0) as envs:
            agent = recurrent(agents.PPO)(envs)
            agent.compile(
                keras.optimizers.Adam(1e-2),
                steps_per_execution=steps_per_execution,
            )
            fit(agent, envs, 64, 2, epochs=2)
            return agent.get_state()

    harness.assert_same(run(1), run(4))


def test_saved_and_loaded(tmp_path):
    envs = rl.envs.make(toy.Memory, 4, seed=0)
    agent = recurrent(agents.PPO)(envs)
    path = tmp_path / "agent.keras"
    agent.save(path)
    loaded = rl.load(path)
    assert loaded.memory_size == agent.memory_size == 16
    obs = harness.random_obs(envs)
    np.testing.assert_array_equal(loaded.predict(obs, verbose=0), agent(obs))
    np.testing.assert_array_equal(agent.act(obs, explore=False), agent(obs))


def test_single_cells_are_refused():
    with rl.envs.make(toy.Memory, 4, seed=0) as envs:
        agent = recurrent(agents.PPO)(envs)
        agent.compile("adam")
        rollout = rl.data.Rollout(envs, steps=8, gamma=0.9)
        with pytest.raises(ValueError, match="sequences=True"):
            agent.fit(
                rollout.dataset(),
                steps_per_epoch=1,
                callbacks=[rl.callbacks.Collect(envs, rollout)],
                verbose=0,
            )


def test_sequences_are_not_cut():
    envs = rl.envs.make(toy.Memory, 4)
    rollout = rl.data.Rollout(envs, steps=8, gamma=0.9)
    with pytest.raises(ValueError, match="a multiple of the 8 steps"):
        rollout.dataset(4, sequences=True)


def test_trpo_is_refused():
    envs = rl.envs.make(toy.Memory)
    with pytest.raises(ValueError, match="TRPO does not learn from sequences"):
        recurrent(agents.TRPO, critic=None)(envs)


class Named(toy.Identity):
    """`Identity`, with observations that are called as the inputs are."""

    other = "observation"

    def __init__(self):
        super().__init__()
        inner = self.observation_space
        self.observation_space = spaces.Dict(
            {"memory": inner, self.other: inner}
        )

    def _draw(self):
        self.state = int(self.np_random.integers(4))
        return {"memory": self.state, self.other: self.state}


class NamedOtherwise(Named):
    other = "x"


@pytest.mark.parametrize("env", [Named, NamedOtherwise])
@pytest.mark.parametrize("kind", [agents.DQN, agents.PPO])
def test_an_observation_may_be_called_memory(kind, env):
    def make_agent(envs):
        network = rl.networks.mlp(envs.single_observation_space, (16,))
        return kind(network, envs.single_action_space, seed=0)

    with rl.envs.make(env, 2, seed=0) as envs:
        agent = make_agent(envs)
        assert agent.memory_size == 0
        agent.check_spaces(envs)
        obs, _ = envs.reset(seed=0)
        assert agent.act(obs).shape == (2,)
        policy = rl.acting.Policy(agent, 2)
        policy.snapshot()
        assert policy.greedy(obs).shape == (2,)


def test_one_that_remembers_may_be_given_it(tmp_path):
    make_agent = recurrent(agents.PPO)
    harness.check_config(make_agent, Named)
    harness.check_export(make_agent, tmp_path / "exported", Named)
    with rl.envs.make(Named, 2, seed=0) as envs:
        agent = make_agent(envs)
        assert agent.memory_size == 16
        agent.compile(keras.optimizers.Adam(1e-3))
        fit(agent, envs, 32, 1, 1)
