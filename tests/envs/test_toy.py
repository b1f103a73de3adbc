import gymnasium
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
        toy.BitFlip(),
        toy.BitFlip(bits=3),
        toy.Bricks(),
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


def test_bits_are_flipped():
    env = toy.BitFlip(bits=4)

    def wrong(obs):
        return np.flatnonzero(obs["observation"] != obs["desired_goal"])

    obs, _ = env.reset(seed=0)
    distance = len(wrong(obs))
    assert distance == 2
    # The wrong ones, then one to and fro.
    rewards, terminated, truncated = play(
        env, lambda obs: wrong(obs)[0] if len(wrong(obs)) else 0
    )
    assert rewards == [-1.0, 0.0, -1.0, 0.0]
    assert (terminated, truncated) == (False, True)


def test_bits_tell_whether_they_are_those_of_the_goal():
    env = toy.BitFlip(bits=1)
    obs, _ = env.reset(seed=0)
    right = (obs["observation"] == obs["desired_goal"]).all()
    assert [env.step(0)[-1] for _ in range(2)] == [
        {"is_success": not right},
        {"is_success": right},
    ]


def test_goals_of_bits():
    env = toy.BitFlip(bits=3)
    obs, _ = env.reset(seed=1)
    goal = obs["desired_goal"]
    for action in (0, 2, 1):
        before = obs
        obs, reward, _, _, info = env.step(action)
        np.testing.assert_array_equal(obs["desired_goal"], goal)
        np.testing.assert_array_equal(obs["achieved_goal"], obs["observation"])
        flipped = np.flatnonzero(before["observation"] != obs["observation"])
        np.testing.assert_array_equal(flipped, [action])
        assert reward == env.compute_reward(obs["achieved_goal"], goal, info)
    pairs = np.array([[0, 0, 1], [0, 0, 1]]), np.array([[0, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(env.compute_reward(*pairs, {}), [0, -1])


def test_every_start_and_goal_is_drawn():
    env = toy.BitFlip(bits=2)
    env.reset(seed=0)
    drawn = {
        (*obs["observation"].tolist(), *obs["desired_goal"].tolist())
        for obs, _ in (env.reset() for _ in range(200))
    }
    assert len(drawn) == 16


def follow(obs):
    """Brings the paddle under the ball."""
    paddle = obs[-1, :, 0].argmax()
    ball = (obs[..., 1] == 255).any(axis=0).argmax()
    return 0 if ball == paddle else 1 + (ball > paddle)


def test_bricks_ball_is_lost():
    rewards, terminated, truncated = play(toy.Bricks(), lambda obs: 1)
    # Five steps down to the bottom; the paddle is in a corner.
    assert rewards == [0.0] * 5
    assert terminated and not truncated


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_bricks_who_follows_the_ball_never_loses_it(seed):
    env = gymnasium.make("keras_rl2x/Bricks-v0")
    rewards, terminated, truncated = play(env, follow, seed)
    assert len(rewards) == 1_000 and truncated and not terminated
    assert set(rewards) == {0.0, 1.0}
    assert sum(rewards) > 2 * 30  # Walls were built anew.


def test_bricks_pay_as_they_go():
    env = toy.Bricks()
    obs, _ = env.reset(seed=0)
    for _ in range(200):
        before = (obs[..., 2] > 0).sum()
        obs, reward, *_ = env.step(follow(obs))
        assert reward == before - (obs[..., 2] > 0).sum()
        assert (obs[..., 1] == 255).sum() == (obs[..., 0] == 255).sum() == 1
