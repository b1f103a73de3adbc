import collections
import contextlib
import functools
import os

import gymnasium
import numpy as np
import pytest
from gymnasium import vector

from keras_rl2x import envs
from keras_rl2x.envs import toy

NEXT_STEP = vector.AutoresetMode.NEXT_STEP


def vectorized(mode, num_envs=2):
    return vector.SyncVectorEnv([toy.Chain] * num_envs, autoreset_mode=mode)


def test_an_id():
    with envs.make("CartPole-v1", num_envs=3, seed=7) as made:
        assert isinstance(made, vector.VectorEnv)
        assert (made.num_envs, made.seed) == (3, 7)
        assert made.single_action_space.n == 2
        assert made.metadata["autoreset_mode"] == NEXT_STEP
        obs, _ = made.reset(seed=made.seed)
        assert obs.shape == (3, 4)


def test_a_function_and_its_arguments():
    with envs.make(toy.Bandit, num_envs=2, arms=7) as made:
        assert made.single_action_space.n == 7
    with envs.make(lambda limit: toy.Chain(limit), limit=3) as made:
        assert made.num_envs == 1
        assert made.env.envs[0].limit == 3


def test_arguments_reach_gymnasium():
    with envs.make("CartPole-v1", render_mode="rgb_array") as made:
        made.reset(seed=0)
        assert made.render()[0].shape == (400, 600, 3)


def test_a_vector_environment_is_taken_as_it_is():
    inner = vectorized(NEXT_STEP)
    with envs.make(inner, seed=1) as made:
        assert made.env is inner
        assert (made.num_envs, made.seed) == (2, 1)
    with envs.make(vectorized(NEXT_STEP), num_envs=2) as made:
        assert made.num_envs == 2


@pytest.mark.parametrize(
    "arguments", [{"num_envs": 3}, {"limit": 3}, {"vectorization": "async"}]
)
def test_a_vector_environment_takes_no_arguments(arguments):
    with (
        contextlib.closing(vectorized(NEXT_STEP)) as inner,
        pytest.raises(ValueError, match="taken as it is"),
    ):
        envs.make(inner, **arguments)


@pytest.mark.parametrize(
    "mode", [vector.AutoresetMode.SAME_STEP, vector.AutoresetMode.DISABLED]
)
def test_other_autoreset_modes_are_refused_with_the_fix(mode):
    with (
        contextlib.closing(vectorized(mode)) as inner,
        pytest.raises(
            ValueError,
            match="autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP",
        ) as error,
    ):
        envs.make(inner)
    assert str(error.value).endswith(f"Received: autoreset_mode={mode}")


def test_one_environment_is_refused():
    with pytest.raises(ValueError, match="make\\(lambda: MyEnv\\(\\)\\)"):
        envs.make(toy.Chain())


@pytest.mark.parametrize("num_envs", [0, -1, 1.5, None, (2,)])
def test_num_envs_is_checked(num_envs):
    with pytest.raises(ValueError, match="`num_envs` must be an integer >= 1"):
        envs.make(toy.Chain, num_envs=num_envs)


def test_num_envs_of_numpy():
    with envs.make(toy.Chain, num_envs=np.int64(2)) as made:
        assert made.num_envs == 2


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="'sync', 'async'.*'threads'"):
        envs.make(toy.Chain, vectorization="threads")
    with pytest.raises(ValueError, match="`frame_stack` must be an integer"):
        envs.make("keras_rl2x/Bricks-v0", frame_stack="four")
    with pytest.raises(ValueError, match="`env` must be a Gymnasium id"):
        envs.make(3)
    with pytest.raises(gymnasium.error.Error, match="NoSuchEnv"):
        envs.make("NoSuchEnv-v0")


def play(made, steps=12):
    obs, _ = made.reset(seed=made.seed)
    seen = [np.copy(obs)]
    for step in range(steps):
        obs, reward, terminated, truncated, _ = made.step(
            np.full(made.num_envs, step % 2)
        )
        seen += [np.copy(obs), reward, terminated | truncated]
    return np.concatenate([np.ravel(array) for array in seen])


def test_seeds_decide():
    def run(seed):
        with envs.make("CartPole-v1", 2, seed=seed) as made:
            return play(made)

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_seeds_of_numpy_and_lists_of_them(vectorization):
    with envs.make("CartPole-v1", 2, vectorization=vectorization) as made:
        first = made.reset(seed=3)[0].copy()
        for seed in (np.int64(3), [3, 4], np.array([3, 4])):
            np.testing.assert_array_equal(made.reset(seed=seed)[0], first)
        made.reset(seed=2**70)
        with pytest.raises(ValueError, match="`seed` must .*Received: seed=3."):
            made.reset(seed=3.0)


def test_environments_of_one_seed_differ_from_each_other():
    with envs.make("CartPole-v1", 2, seed=3) as made:
        obs, _ = made.reset(seed=made.seed)
    assert not np.array_equal(obs[0], obs[1])


def test_async_lives_the_same_life():
    make = functools.partial(envs.make, "CartPole-v1", 2, seed=3)
    with make(vectorization="sync") as sync:
        assert isinstance(sync.unwrapped, vector.SyncVectorEnv)
        expected = play(sync)
    with make(vectorization="async") as made:
        assert isinstance(made.unwrapped, vector.AsyncVectorEnv)
        np.testing.assert_array_equal(play(made), expected)


class Closes(toy.Chain):
    closed = 0

    def close(self):
        Closes.closed += 1


def test_the_block_closes_also_after_an_exception(monkeypatch):
    monkeypatch.setattr(Closes, "closed", 0)
    with envs.make(Closes, num_envs=3) as made:
        assert not made.closed
    assert (made.closed, Closes.closed) == (True, 3)
    with pytest.raises(KeyError), envs.make(Closes, num_envs=3) as made:
        raise KeyError
    assert (made.closed, Closes.closed) == (True, 6)
    made.close()  # Twice does no harm.
    assert Closes.closed == 6


class Dies(toy.Identity):
    def step(self, action):
        os._exit(1)


def test_what_failed_is_told_and_not_that_it_cannot_be_closed():
    with (
        pytest.raises(KeyError),
        envs.make(Dies, 2, vectorization="async") as made,
    ):
        made.reset(seed=0)
        with pytest.raises(EOFError):
            made.step(made.action_space.sample())
        raise KeyError
    processes = made.unwrapped.processes
    for process in processes:
        process.join(10)
    assert not any(process.is_alive() for process in processes)
    made.close()


def test_the_row_after_an_end_is_dead():
    with envs.make(toy.Chain, limit=2) as made:
        made.reset(seed=0)
        steps = [made.step(np.array([0])) for _ in range(4)]
    assert [float(reward[0]) for _, reward, *_ in steps] == [1, 1, 0, 1]
    assert [bool(truncated[0]) for *_, truncated, _ in steps] == [0, 1, 0, 0]


def test_observations_come_in_the_order_of_the_space():
    class Backwards(vector.VectorWrapper):
        def reset(self, **kwargs):
            obs, info = super().reset(**kwargs)
            return collections.OrderedDict(reversed(obs.items())), info

        def step(self, actions):
            obs, *others = super().step(actions)
            return collections.OrderedDict(reversed(obs.items())), *others

    given = envs.make(toy.BitFlip, 2, seed=0)
    with envs.make(Backwards(given.env)) as made:
        for obs in (made.reset(seed=0)[0], made.step(np.zeros(2, int))[0]):
            assert type(obs) is dict
            assert list(obs) == sorted(obs)
            same = obs["achieved_goal"] == obs["observation"]
            assert same.all() and obs["desired_goal"].shape == (2, 8)
