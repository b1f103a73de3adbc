import numpy as np
import pytest
from gymnasium.utils import env_checker

from keras_rl2x.envs import toy


def play(env, act, seed=0):
    """One episode: its rewards, and how it ended."""
    obs, _ = env.reset(seed=seed)
    rewards, terminated, truncated = [], False, False
    while not (terminated or truncated):
        obs, reward, terminated, truncated, _ = env.step(act(obs))
        rewards.append(reward)
    return rewards, terminated, truncated


@pytest.mark.filterwarnings("ignore:.*not having a spec")
@pytest.mark.parametrize(
    "env",
    [
        toy.Bandit(),
        toy.Bandit(arms=2),
        toy.Chain(),
        toy.Chain(limit=2),
        toy.Identity(),
        toy.Identity(categories=2, limit=3),
        toy.Memory(),
        toy.Memory(cues=5, delay=0),
    ],
    ids=lambda env: type(env).__name__,
)
def test_gymnasium_accepts_it(env):
    env_checker.check_env(env)


def test_bandit():
    env = toy.Bandit(arms=5)
    returns = [play(env, lambda obs, arm=arm: arm)[0] for arm in range(5)]
    assert returns == [[0.0], [0.25], [0.5], [0.75], [1.0]]
    assert play(env, lambda obs: 0)[1:] == (True, False)


def test_chain():
    env = toy.Chain(limit=4)
    # Waiting is cut off by the limit, leaving terminates.
    assert play(env, lambda obs: 0) == ([1.0] * 4, False, True)
    assert play(env, lambda obs: 1) == ([1.0], True, False)


def test_identity():
    env = toy.Identity(categories=3, limit=6)
    assert play(env, lambda obs: obs) == ([1.0] * 6, False, True)
    assert sum(play(env, lambda obs: (obs + 1) % 3)[0]) == 0


def test_identity_shows_every_category():
    env = toy.Identity(categories=3, limit=60)
    shown = []
    play(env, lambda obs: shown.append(obs) or 0)
    assert set(shown) == {0, 1, 2}


def test_memory_with_memory():
    env = toy.Memory(cues=3, delay=2)
    cues = set()
    for seed in range(20):
        first = []

        def act(obs, first=first):
            first.append(int(obs[0]))
            return first[0] - 1

        rewards, terminated, _ = play(env, act, seed)
        assert rewards == [0.0, 0.0, 1.0]
        assert terminated
        assert first[1:] == [0, 0]  # Shown once.
        cues.add(first[0])
    assert cues == {1, 2, 3}


def test_memory_without_memory():
    env = toy.Memory(cues=2, delay=1)
    returns = [sum(play(env, lambda obs: 1, seed)[0]) for seed in range(400)]
    # A coin's mean: standard deviation 0.025.
    assert abs(np.mean(returns) - 0.5) < 0.1
