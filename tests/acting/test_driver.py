import functools
import warnings

import gymnasium
import numpy as np
import optree
import pytest
from gymnasium import spaces
from gymnasium import vector

from keras_rl2x import data
from keras_rl2x import envs
from keras_rl2x.acting import Driver
from keras_rl2x.acting import driver
from keras_rl2x.acting import play_episodes
from keras_rl2x.envs import toy


class Script(gymnasium.Env):
    """Episodes of fixed length; every observation is a number of its own.

    The observation is `1000 * number + 100 * episode + step`, the reward is
    `number + 1`. Even numbers terminate, odd ones are truncated.

    Args:
        number: Integer, the environment's.
        length: Integer.
        faults: Dict from the count of all steps taken to what goes wrong in
            it: a reward, `"obs"` or an exception.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (1,))
    action_space = spaces.Discrete(10)

    def __init__(self, number=0, length=3, faults=None):
        self.number = number
        self.length = length
        self.faults = faults or {}
        self.episode = -1
        self.steps = 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        fault = self.faults.get(self.steps)
        self.steps += 1
        self.t += 1
        if isinstance(fault, Exception):
            raise fault
        obs, reward = self._observe(), self.number + 1.0
        if fault == "obs":
            obs[:] = np.nan
        elif fault == "far":
            obs[0] = -np.inf
        elif fault is not None:
            reward = fault
        over = self.t == self.length
        even = self.number % 2 == 0
        return obs, reward, over and even, over and not even, {}

    def _observe(self):
        value = 1000 * self.number + 100 * self.episode + self.t
        return np.full(1, value, "f4")


def scripts(*lengths, faults=None):
    """A vector environment; the faults are those of number 1."""
    makers = [
        lambda i=i, length=length: Script(i, length, faults if i == 1 else None)
        for i, length in enumerate(lengths)
    ]
    mode = vector.AutoresetMode.NEXT_STEP
    return envs.make(
        vector.SyncVectorEnv(makers, copy=False, autoreset_mode=mode)
    )


class Counting:
    """Acts 0, 1, 2, ...: all environments alike."""

    def __init__(self):
        self.calls = -1

    def __call__(self, obs, begins):
        self.calls += 1
        return np.full(len(obs), self.calls % 10)


def drive(steps, *lengths, faults=None):
    """Chunks of so many steps each."""
    driver = Driver(scripts(*lengths, faults=faults))
    driver.reset(seed=0)
    act = Counting()
    return [driver.run(count, act) for count in steps]


def join(chunks):
    return {
        name: np.concatenate([chunk.rows[name] for chunk in chunks])
        for name in chunks[0].rows
    }


def test_rows():
    (chunk,) = drive([6], 2, 3)
    rows = chunk.rows
    # Environment 0 plays episodes of 2 steps, environment 1 of 3; the row
    # after an end holds the final observation, and is dead.
    np.testing.assert_array_equal(
        rows["obs"][..., 0].T,
        [[0, 1, 2, 100, 101, 102], [1000, 1001, 1002, 1003, 1100, 1101]],
    )
    np.testing.assert_array_equal(chunk.next_obs[:, 0], [200, 1102])
    np.testing.assert_array_equal(
        rows["dead"].T, [[0, 0, 1, 0, 0, 1], [0, 0, 0, 1, 0, 0]]
    )
    np.testing.assert_array_equal(
        rows["reward"].T, [[1, 1, 0, 1, 1, 0], [2, 2, 2, 0, 2, 2]]
    )
    np.testing.assert_array_equal(
        rows["terminated"].T, [[0, 1, 0, 0, 1, 0], [0] * 6]
    )
    np.testing.assert_array_equal(
        rows["truncated"].T, [[0] * 6, [0, 0, 1, 0, 0, 0]]
    )
    np.testing.assert_array_equal(rows["action"].T, [range(6), range(6)])
    assert chunk.error is None
    assert chunk.env_steps == 9
    assert chunk.episodes == [(2.0, 2), (6.0, 3), (2.0, 2)]
    dtypes = {name: str(rows[name].dtype) for name in rows}
    assert dtypes == {
        "obs": "float32",
        "action": "int32",
        "reward": "float32",
        "terminated": "bool",
        "truncated": "bool",
        "dead": "bool",
    }


def test_the_cuts_between_chunks_do_not_matter():
    (whole,) = drive([12], 2, 3, 5)
    chunks = drive([1, 4, 0, 2, 5], 2, 3, 5)
    optree.tree_map(np.testing.assert_array_equal, whole.rows, join(chunks))
    np.testing.assert_array_equal(whole.next_obs, chunks[-1].next_obs)
    assert whole.episodes == sum((c.episodes for c in chunks), [])
    assert whole.env_steps == sum(c.env_steps for c in chunks)
    for chunk, following in zip(chunks, chunks[1:]):
        if len(following.rows["obs"]):
            np.testing.assert_array_equal(
                chunk.next_obs, following.rows["obs"][0]
            )


def test_chunks_are_not_overwritten_later():
    driver = Driver(scripts(2, 3))
    driver.reset(seed=0)
    act = Counting()
    chunk = driver.run(3, act)
    before = optree.tree_map(np.copy, (chunk.rows, chunk.next_obs))
    driver.run(5, act)
    optree.tree_map(
        np.testing.assert_array_equal, before, (chunk.rows, chunk.next_obs)
    )


def test_reset_begins_anew():
    driver = Driver(scripts(3))
    assert not driver.started
    driver.reset(seed=0)
    assert driver.started
    driver.run(4, Counting())
    np.testing.assert_array_equal(driver.reset(seed=0), [[200]])
    chunk = driver.run(3, Counting())
    assert not chunk.rows["dead"].any()
    assert chunk.episodes == [(3.0, 3)]


# What goes wrong. Whatever it is, at step k of environment 1, what came
# before is kept: k rows, and the observation that follows them.


@pytest.mark.parametrize(
    ("k", "length"),
    [(0, 10), (1, 10), (5, 10), (0, 2), (1, 2), (3, 2), (4, 2)],
)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (np.nan, "Environment 1 .* reward that is not finite.*nan"),
        (np.inf, "Environment 1 .* reward that is not finite.*inf"),
        (1e300, "Environment 1 .* reward that is not finite.*inf"),
        ("obs", "Environment 1 .* observation with NaN"),
        ("far", "Environment 1 .* observation with NaN or an infinity"),
        (KeyError("door"), "door"),
    ],
    ids=["nan", "inf", "float64", "obs", "far", "raises"],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_what_came_before_a_fault_is_kept(fault, message, k, length):
    steps = k - k // (length + 1)  # A dead row is no step of it.
    (good,) = drive([6], 5, length)
    (chunk,) = drive([6], 5, length, faults={steps: fault})
    with pytest.raises(type(chunk.error), match=message):
        raise chunk.error
    assert isinstance(
        chunk.error, KeyError if isinstance(fault, KeyError) else ValueError
    )
    optree.tree_map(
        lambda rows, all_rows: np.testing.assert_array_equal(
            rows, all_rows[:k]
        ),
        chunk.rows,
        good.rows,
    )
    np.testing.assert_array_equal(chunk.next_obs, good.rows["obs"][k])
    ended = chunk.rows["terminated"] | chunk.rows["truncated"]
    assert len(chunk.episodes) == ended.sum()
    assert chunk.env_steps == (~good.rows["dead"][:k]).sum()


@pytest.mark.parametrize(
    "faults",
    [
        {2: "obs", 4: np.inf},
        {2: np.inf, 4: "obs"},
        {2: "obs", 4: KeyError()},
        {2: np.nan, 4: KeyError()},
        {2: "obs", 3: "obs"},
    ],
)
def test_the_first_fault_counts(faults):
    (chunk,) = drive([6], 10, 10, faults=faults)
    assert isinstance(chunk.error, ValueError)
    wanted = "observation" if faults[2] == "obs" else "reward"
    assert wanted in str(chunk.error)
    assert len(chunk.rows["reward"]) == 2
    np.testing.assert_array_equal(chunk.next_obs[:, 0], [2, 1002])


def test_after_a_fault_the_driver_must_be_reset():
    driver = Driver(scripts(10, 10, faults={2: KeyError()}))
    driver.reset(seed=0)
    driver.run(6, Counting())
    assert not driver.started
    driver.reset(seed=0)
    chunk = driver.run(6, Counting())
    assert chunk.error is None
    assert len(chunk.rows["reward"]) == 6


def test_nan_in_the_first_observation():
    class Broken(Script):
        def reset(self, seed=None, options=None):
            obs, info = super().reset(seed=seed)
            return obs * np.nan, info

    driver = Driver(envs.make(Broken))
    driver.reset(seed=0)
    chunk = driver.run(3, Counting())
    assert "observation with NaN" in str(chunk.error)
    assert len(chunk.rows["reward"]) == chunk.env_steps == 0


class Nested(gymnasium.Env):
    """Nested observations; keeps the actions that it was given."""

    observation_space = spaces.Dict(
        z=spaces.Box(-9, 9, (2,), "float64"),
        a=spaces.Tuple([spaces.Discrete(9, start=1), spaces.MultiBinary(2)]),
    )
    action_space = spaces.Tuple(
        [spaces.Discrete(3, start=5), spaces.Box(-1, 1, (1,))]
    )

    def __init__(self, nan_at=None):
        self.nan_at = nan_at

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.actions = []
        return self._observe(), {}

    def step(self, action):
        self.actions.append(action)
        return self._observe(), 1.0, False, False, {}

    def _observe(self):
        t = len(self.actions)
        z = np.full(2, np.nan if t == self.nan_at else t)
        return {"z": z, "a": (t + 1, np.array([t % 2, 1], "int8"))}


def test_nested_observations_and_actions():
    made = envs.make(Nested, num_envs=2)
    driver = Driver(made)
    driver.reset(seed=0)
    chunk = driver.run(
        3,
        lambda obs, begins: (
            obs["a"][0] - 1,
            obs["z"][:, :1].astype("f4") / 10,
        ),
    )
    obs, steps = chunk.rows["obs"], np.arange(3)
    assert obs["z"].dtype == "float32"
    np.testing.assert_array_equal(obs["z"][:, 1, 0], steps)
    np.testing.assert_array_equal(obs["a"][0][:, 1], steps + 1)
    np.testing.assert_array_equal(obs["a"][1][:, 1, 0], steps % 2)
    np.testing.assert_array_equal(chunk.next_obs["a"][0], [4, 4])
    discrete, box = chunk.rows["action"]
    # As the agent counts, and as the environment does.
    np.testing.assert_array_equal(discrete[:, 1], steps)
    np.testing.assert_allclose(box[:, 1, 0], steps / 10)
    taken = made.env.envs[1].actions
    assert [int(action[0]) for action in taken] == [5, 6, 7]


def test_nan_in_one_of_several_observations():
    driver = Driver(envs.make(Nested, nan_at=2))
    driver.reset(seed=0)
    chunk = driver.run(
        5, lambda obs, begins: (np.zeros(1, int), np.zeros((1, 1)))
    )
    assert "observation with NaN" in str(chunk.error)
    assert len(chunk.rows["reward"]) == 1
    np.testing.assert_array_equal(chunk.next_obs["z"], [[1, 1]])


def test_other_processes_live_the_same_life():
    def life(vectorization):
        with envs.make("CartPole-v1", 2, vectorization=vectorization) as made:
            driver = Driver(made)
            driver.reset(seed=3)
            return driver.run(
                40, lambda obs, begins: (obs[:, 2] > 0).astype(int)
            )

    one, other = life("sync"), life("async")
    assert one.episodes
    optree.tree_map(np.testing.assert_array_equal, one.rows, other.rows)
    np.testing.assert_array_equal(one.next_obs, other.next_obs)


def test_from_the_environment_to_the_batch():
    with envs.make(toy.Chain, num_envs=2, limit=3) as made:
        replay = data.Replay(made, 100, gamma=0.5, n_step=2)
        driver = Driver(made)
        replay.begin(driver.reset(seed=0))

        def collect(action):
            chunk = driver.run(8, lambda obs, begins: np.full(2, action))
            replay.write(chunk.rows, chunk.next_obs)
            return next(iter(replay.dataset(200)))

        waiting = collect(action=0)
        # Two steps, or one that the limit or the newest row cut off.
        pairs = set(zip(waiting["reward"].numpy(), waiting["discount"].numpy()))
        assert pairs == {(1.5, 0.25), (1.0, 0.5)}
        leaving = collect(action=1)
        ends = leaving["discount"].numpy() == 0
        assert ends.any()
        assert set(leaving["reward"].numpy()[ends]) <= {1.0, 1.5}


# play_episodes


@pytest.mark.parametrize(
    ("episodes", "num_envs"), [(1, 1), (5, 1), (5, 2), (7, 3), (2, 4)]
)
def test_exactly_so_many_episodes_are_played(episodes, num_envs):
    lengths = range(2, 2 + num_envs)
    made = scripts(*lengths)
    played = play_episodes(made, Counting(), episodes, seed=0)
    share = [
        episodes // num_envs + (i < episodes % num_envs)
        for i in range(num_envs)
    ]
    expected = sorted(
        (float((i + 1) * length), length)
        for i, length in enumerate(lengths)
        for _ in range(share[i])
    )
    assert sorted(zip(played.returns, played.lengths)) == expected
    assert not len(played.successes)
    assert played.lengths.dtype.kind == "i"


def test_successes_are_those_of_the_last_steps():
    # What was reached may be lost again; where it is not told, it is not known.
    told = {(0, 1): [True], (1, 1, 0): [False], (1, None): []}
    for reached, expected in told.items():
        with envs.make(functools.partial(Goal, reached)) as made:
            played = play_episodes(made, Counting(), 3, seed=0)
        assert played.successes.tolist() == expected * 3


@pytest.mark.parametrize("sizes", [[9], [2, 1, 6]])
def test_a_chunk_tells_successes(sizes):
    # Beside each other: one that reaches its goal, one that loses it again,
    # and one that does not know.
    lives = [(0, 1), (1, 1, 0), (1, None)]
    copies = [functools.partial(Goal, reached) for reached in lives]
    made = gymnasium.vector.SyncVectorEnv(
        copies, autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP
    )
    with envs.make(made) as made:
        driver = Driver(made)
        driver.reset(0)
        chunks = [driver.run(size, still) for size in sizes]
    told = sum((chunk.successes for chunk in chunks), [])
    # At the steps 2, 3, 5, 7 and 8.
    assert told == [True, False, True, False, True]
    assert sum(len(chunk.episodes) for chunk in chunks) == 3 + 2 + 3


def still(obs, begins):
    return np.zeros(len(obs), "int32")


class Goal(gymnasium.Env):
    """Episodes that say in each step whether the goal is reached."""

    observation_space = spaces.Box(0, 1, (1,))
    action_space = spaces.Discrete(10)

    def __init__(self, reached):
        self.reached = reached

    def reset(self, seed=None, options=None):
        self.t = 0
        return np.zeros(1, "float32"), {}

    def step(self, action):
        reached = self.reached[self.t]
        told = {} if reached is None else {"is_success": bool(reached)}
        self.t += 1
        over = self.t == len(self.reached)
        return np.zeros(1, "float32"), 0.0, over, False, told


def test_short_episodes_are_not_favoured():
    played = play_episodes(scripts(1, 50), Counting(), 10, seed=0)
    # Five of length 1 and five of length 50, however soon the short ends.
    assert played.lengths.mean() == 25.5


def test_on_step_is_called_before_each_step():
    calls = []
    act = Counting()
    play_episodes(
        scripts(3), act, 2, 0, on_step=lambda: calls.append(act.calls)
    )
    # Two episodes of 3 steps and the reset between them.
    assert calls == [-1, 0, 1, 2, 3, 4, 5]


def test_on_step_ends_the_play():
    act = Counting()
    played = play_episodes(
        scripts(3), act, 4, 0, on_step=lambda: act.calls == 5
    )
    # An episode of three steps, and a reset; the second is not complete.
    assert act.calls == 5 and played.lengths.tolist() == [3]


def test_an_episode_without_end_is_told(monkeypatch):
    monkeypatch.setattr(driver, "ENDLESS", 20)
    with pytest.warns(UserWarning, match="lasted for 20 steps.*TimeLimit"):
        play_episodes(scripts(3, 25), Counting(), 4, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play_episodes(scripts(3, 19), Counting(), 4, seed=0)


def test_the_seed_of_play_decides():
    with envs.make("CartPole-v1", 2) as made:

        def play(seed):
            return play_episodes(
                made, lambda obs, begins: (obs[:, 2] > 0).astype(int), 6, seed
            )

        np.testing.assert_equal(play(1), play(1))
        assert not np.array_equal(play(1).returns, play(2).returns)
        np.testing.assert_array_equal(play(1).returns, play(1).lengths)


def test_an_episode_begins_after_the_reset():
    seen = []

    def act(obs, begins):
        seen.append(begins)
        return np.zeros(len(obs), int)

    play_episodes(scripts(2, 3), act, 4, seed=0)
    # Two steps and a reset, three and a reset, twice each.
    np.testing.assert_array_equal(
        np.transpose(seen), [[1, 0, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0]]
    )
