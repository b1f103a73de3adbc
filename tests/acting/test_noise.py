"""Ornstein-Uhlenbeck noise against its closed form."""

import types

import numpy as np
import pytest
import scipy.stats
from gymnasium import spaces as gym

from keras_rl2x import networks
from keras_rl2x import spaces
from keras_rl2x.acting import OrnsteinUhlenbeck
from keras_rl2x.acting import Policy
from keras_rl2x.acting import samplers

ENVS, STEPS = 2_000, 40


def draw(correlation, begins=None, envs=ENVS, steps=STEPS, seed=0):
    """Array `[steps, envs, 2]`; `begins` maps a step to `begin`'s argument."""
    noise = OrnsteinUhlenbeck(np.random.default_rng(seed), correlation)
    drawn = []
    for t in range(steps):
        noise.begin((begins or {}).get(t))
        drawn.append(noise.standard_normal((envs, 2), "float32"))
    return np.array(drawn)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.85, 0.99])
def test_stationary_from_the_first_step(correlation):
    drawn = draw(correlation)
    assert drawn.dtype == "float32"
    for t in (0, 1, 5, STEPS - 1):
        for entry in drawn[t].T:
            assert scipy.stats.kstest(entry, "norm").pvalue > 1e-3


@pytest.mark.parametrize("correlation", [0.5, 0.85, 0.99])
def test_autocorrelation(correlation):
    drawn = draw(correlation).reshape(STEPS, -1).astype("f8")
    for lag in (1, 2, 7, 30):
        found = np.mean(drawn[3] * drawn[3 + lag])
        # Of products of normal numbers the variance is 1 + rho^2.
        rho = correlation**lag
        error = np.sqrt((1 + rho**2) / drawn.shape[1])
        assert abs(found - rho) < 4 * error


def test_a_step_worked_by_hand():
    first, fresh = np.random.default_rng(0).standard_normal((2, 1, 2), "f4")
    # sqrt(1 - 0.6^2) = 0.8.
    wanted = [first, 0.6 * first + 0.8 * fresh]
    np.testing.assert_allclose(draw(0.6, envs=1, steps=2), wanted, rtol=1e-6)


def test_numbers_are_independent_of_each_other():
    last = draw(0.9)[-1]
    rows = np.corrcoef(last.T)[0, 1], np.corrcoef(last[1:, 0], last[:-1, 1])
    assert np.abs(rows[0]) < 4 / np.sqrt(ENVS)
    assert np.abs(rows[1][0, 1]) < 4 / np.sqrt(ENVS)


def test_an_episode_begins_without_a_past():
    begins = np.arange(ENVS) % 2 == 0
    drawn = draw(0.95, {10: begins})
    for env, rho in ((begins, 0), (~begins, 0.95)):
        found = np.corrcoef(drawn[9, env].ravel(), drawn[10, env].ravel())
        assert abs(found[0, 1] - rho) < 4 / np.sqrt(ENVS)
    # The numbers that begin are those of the generator.
    white = draw(0.0)[10]
    np.testing.assert_array_equal(drawn[10, begins], white[begins])


def test_no_correlation_is_the_generator():
    rng = np.random.default_rng(0)
    white = [rng.standard_normal((ENVS, 2), "float32") for _ in range(STEPS)]
    np.testing.assert_array_equal(draw(0.0), white)


def agent_of(correlation):
    """What a policy needs of an agent; its greedy actions are 0."""
    network = networks.real_actions(networks.mlp(gym.Box(-1, 1, (3,))), 2, 1)
    network.set_weights([0 * weight for weight in network.get_weights()])
    return types.SimpleNamespace(
        policy=network,
        sampler=lambda *args, **kwargs: samplers.noisy(
            *args, shape=(2,), **kwargs
        ),
        exploration=lambda: {"noise": 0.1},
        no_exploration={},
        noise_correlation=correlation,
        memory_size=0,
        action_spec=spaces.action_spec(gym.Box(-1, 1, (2,))),
    )


@pytest.mark.parametrize("where", ["host", "graph"])
def test_a_policy_explores_with_it(where):
    policy = Policy(agent_of(0.6), 5, where, seed=3)
    policy.snapshot()
    obs = np.zeros((5, 3), "f4")
    some = np.array([True, False, True, False, False])
    begins = {0: np.ones(5, "bool"), 4: some}
    explored = []
    for t in range(8):
        # What is greedy in between draws nothing, and forgets nothing.
        np.testing.assert_array_equal(policy.greedy(obs), np.zeros((5, 2)))
        explored.append(policy.explore(obs, begins.get(t)))
    wanted = 0.1 * draw(0.6, begins, envs=5, steps=8, seed=3)
    np.testing.assert_allclose(explored, wanted, rtol=1e-5)
