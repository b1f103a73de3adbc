"""Frames that are stored once, against a naive store of whole stacks."""

import resource
import shutil
import sys
import types

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.acting import Driver
from keras_rl2x.data import frames
from keras_rl2x.data import state_files
from keras_rl2x.envs.frames import EpisodicLife
from keras_rl2x.envs.frames import FrameStack


class Noise(gymnasium.Env):
    """Random images; episodes end at random, some by a time limit."""

    action_space = spaces.Discrete(2)

    def __init__(self, channels=1, end=0.15):
        shape = (6, 5, channels) if channels > 1 else (6, 5)
        self.observation_space = spaces.Box(0, 255, shape, "uint8")
        self.end = end

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self._image(), {}

    def step(self, action):
        ends = self.np_random.random(2) < self.end / 2
        return self._image(), 1.0, bool(ends[0]), bool(ends[1]), {}

    def _image(self):
        shape = self.observation_space.shape
        return self.np_random.integers(1, 255, shape, "uint8")


class Naive:
    """The last rows with their whole stacks, beside a replay's ring."""

    def __init__(self, envs, replay, seed=0):
        self.replay, self.driver = replay, Driver(envs)
        self.rng = np.random.default_rng(seed)
        self.actions = envs.single_action_space.n
        self.obs = []
        self.forgotten = 0
        self.begin(seed)

    @property
    def rows(self):
        return self.forgotten + len(self.obs)

    def begin(self, seed):
        if self.rows:
            self.obs.append(self.head)  # The dead row of what is cut here.
        self.head = np.array(self.driver.reset(seed))
        self.replay.begin(self.head)
        assert int(self.replay.stream.cursor.numpy()) == self.rows

    def live(self, steps):
        envs = self.driver.envs.num_envs
        chunk = self.driver.run(
            steps, lambda *_: self.rng.integers(self.actions, size=envs)
        )
        assert chunk.error is None
        self.replay.write(chunk.rows, chunk.next_obs)
        self.obs += list(chunk.rows["obs"])
        self.head = chunk.next_obs
        old = max(0, len(self.obs) - self.replay.stream.rows)
        self.forgotten += old
        del self.obs[:old]

    def check(self, batch, n_step=1):
        """Asserts that a batch is what the naive store holds."""
        stream = self.replay.stream
        stored = np.stack([*self.obs[-stream.rows + 1 :], self.head])
        oldest = self.rows + 1 - len(stored)
        index = batch["index"].numpy()
        row, env = index // stream.num_envs, index % stream.num_envs
        place = (row - oldest) % stream.rows
        np.testing.assert_array_equal(batch["obs"], stored[place, env])
        if n_step == 1:
            successor = stored[place + 1, env]
            np.testing.assert_array_equal(batch["next_obs"], successor)
        return row


@pytest.mark.parametrize(
    ("channels", "stack", "prioritized", "n_step"),
    [(1, 4, False, 1), (3, 4, False, 1), (1, 3, True, 1), (1, 4, True, 3)],
)
def test_equal_to_a_naive_store(channels, stack, prioritized, n_step):
    kind = rl.data.PrioritizedReplay if prioritized else rl.data.Replay
    with rl.envs.make(
        lambda: Noise(channels), num_envs=3, frame_stack=stack
    ) as envs:
        replay = kind(envs, capacity=60, gamma=0.9, n_step=n_step)
        naive = Naive(envs, replay)
        batches = iter(replay.dataset(64))
        seen = set()
        for i in range(25):
            naive.live(7)
            if i % 6 == 5:
                naive.begin(seed=i)
            seen |= set(naive.check(next(batches), n_step))
    assert seen == set(range(replay.stream.rows))  # The seam included.
    assert replay.capacity == 60


class Counting(gymnasium.vector.VectorEnv):
    """A game of six steps, a life for two of them; images of the step."""

    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
    num_envs = 1
    single_action_space = spaces.Discrete(2)
    action_space = spaces.MultiDiscrete([2])
    single_observation_space = spaces.Box(0, 255, (2, 2), "uint8")
    observation_space = spaces.Box(0, 255, (1, 2, 2), "uint8")

    def reset(self, seed=None, options=None):
        self.now = 0
        return self._image(), {"lives": np.array([3])}

    def step(self, actions):
        begins = self.now == 6
        self.now = 0 if begins else self.now + 1
        over, no = np.array([self.now == 6]), np.zeros(1, "bool")
        lives = np.array([3 - self.now // 2])
        reward = np.array([0.0 if begins else 1.0])
        return self._image(), reward, over, no, {"lives": lives}

    def _image(self):
        return np.full((1, 2, 2), 10 + self.now, "uint8")


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_lost_life_ends_what_is_bootstrapped_and_no_stack(n_step):
    envs = rl.envs.make(FrameStack(EpisodicLife(Counting()), 2))
    replay = rl.data.Replay(envs, capacity=20, gamma=0.5, n_step=n_step)
    Naive(envs, replay).live(7)  # A whole game, and the row of its end.
    batch = next(iter(replay.dataset(500)))
    drawn = zip(
        batch["obs"][:, 0, 0].numpy().tolist(),
        batch["next_obs"][:, 0, 0].numpy().tolist(),
        batch["reward"].numpy(),
        batch["discount"].numpy(),
    )
    # A life lasts two steps, and the stack goes on from one to the next.
    one = {
        ((0, 10), (10, 11), 1, 0.5),
        ((10, 11), (11, 12), 1, 0),
        ((11, 12), (12, 13), 1, 0.5),
        ((12, 13), (13, 14), 1, 0),
        ((13, 14), (14, 15), 1, 0.5),
        ((14, 15), (15, 16), 1, 0),
    }
    several = {
        ((0, 10), 1.5, 0),
        ((10, 11), 1, 0),
        ((11, 12), 1.5, 0),
        ((12, 13), 1, 0),
        ((13, 14), 1.5, 0),
        ((14, 15), 1, 0),
    }
    if n_step == 1:
        assert {(tuple(o), tuple(n), r, d) for o, n, r, d in drawn} == one
    else:
        assert {(tuple(o), r, d) for o, _, r, d in drawn} == several


def test_every_live_transition_is_drawn_and_no_other():
    with rl.envs.make(Noise, num_envs=2, frame_stack=4) as envs:
        replay = rl.data.Replay(envs, capacity=20, gamma=0.9)
        naive = Naive(envs, replay)
        naive.live(8)
        naive.live(8)
        drawn = set(next(iter(replay.dataset(2_000)))["index"].numpy())
        stream = replay.stream
        dead = stream.fields["dead"].numpy()
        rows = np.arange(16 - stream.capacity, 16) % stream.rows
        cells = {c for c in stream.cells_of(rows) if not dead[c]}
    assert drawn == cells and len(drawn) == replay.size


def test_a_restored_replay_draws_the_same(tmp_path):
    with rl.envs.make(Noise, num_envs=2, frame_stack=4) as envs:
        one, two = (rl.data.Replay(envs, 40, gamma=0.9) for _ in range(2))
        naive = Naive(envs, one)
        for _ in range(6):
            naive.live(9)
        state_files.write(one.get_state(), tmp_path / "state")
        two.set_state(state_files.read(tmp_path / "state"))
        batches = [next(iter(r.dataset(32))) for r in (one, two)]
    tf.nest.map_structure(np.testing.assert_array_equal, *batches)


def test_restoring_forgets_what_came_later():
    with rl.envs.make(Noise, num_envs=2, frame_stack=4) as envs:
        one, two = (rl.data.Replay(envs, 40, gamma=0.9) for _ in range(2))
        naive = Naive(envs, one)
        naive.live(2)
        state = one.get_state()
        for _ in range(2):  # The ring is full, and its seam is crossed.
            naive.live(18)
        for replay in (one, two):
            replay.set_state(state)
        batches = [next(iter(r.dataset(32))) for r in (one, two)]
    tf.nest.map_structure(np.testing.assert_array_equal, *batches)


def test_a_frame_is_stored_once():
    with rl.envs.make(Noise, num_envs=2, frame_stack=4) as envs:
        stacked = rl.data.Replay(envs, 1_000, gamma=0.9)
    with rl.envs.make(Noise, num_envs=2) as envs:
        single = rl.data.Replay(envs, 1_000, gamma=0.9)
    assert stacked.nbytes - single.nbytes < 10 * 2 * (6 * 5 + 40)


def test_the_two_ways_to_stack_are_the_same():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (40, 4, 6, 5, 1), "uint8")
    begins = rng.random((40, 3)) < 0.3
    fast = frames.stack(tf.constant(pictures), tf.constant(begins)).numpy()
    slow = frames.stack(
        tf.constant(pictures.astype("int32")), tf.constant(begins)
    ).numpy()
    np.testing.assert_array_equal(fast, slow)
    for picture, begin, stack in zip(pictures, begins, fast):
        first = max([i + 1 for i in range(3) if begin[i]], default=0)
        picture[:first] = 0
        np.testing.assert_array_equal(stack, picture[..., 0].transpose(1, 2, 0))


@pytest.mark.slow
@pytest.mark.parametrize("game", ["Pong", "Breakout", "Seaquest"])
def test_100_000_steps_of_atari(game):
    with rl.envs.atari(game, num_envs=8) as envs:
        replay = rl.data.Replay(envs, capacity=2_000, gamma=0.99)
        naive = Naive(envs, replay)
        batches = iter(replay.dataset(32))
        for i in range(250):
            naive.live(50)
            if i % 50 == 49:
                naive.begin(seed=i)
            for _ in range(10):
                naive.check(next(batches))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_million_frames_take_no_more_than_was_said(tmp_path):
    frame = spaces.Box(0, 255, (84, 84), "uint8")
    envs = types.SimpleNamespace(
        num_envs=8,
        frame_stack=4,
        single_observation_space=spaces.Box(0, 255, (84, 84, 4), "uint8"),
        single_action_space=spaces.Discrete(6),
    )
    rng = np.random.default_rng(0)
    some = rng.integers(256, size=(16, 8, *frame.shape), dtype="uint8")
    no = np.zeros((16, 8), "bool")
    rows = {
        "obs": np.repeat(some[..., None], 4, axis=-1),
        "action": np.zeros((16, 8), "int32"),
        "reward": np.zeros((16, 8), "float32"),
        "terminated": no,
        "truncated": no,
        "dead": no,
    }
    before = resident_gb()
    replay = rl.data.Replay(envs, capacity=1_000_000, gamma=0.99)
    replay.begin(rows["obs"][0])
    batches = iter(replay.dataset(32))
    taken = []
    for _ in range(12):  # Ten fill it; then it goes round.
        for _ in range(782):
            replay.write(rows, rows["obs"][0])
            next(batches)
        taken.append(resident_gb() - before)
    assert replay.size == 1_000_000
    assert 7.0 < taken[9] < 7.6 and taken[11] - taken[9] < 0.05
    # There is no room for a second one, on a machine of twice its size.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    state_files.write(replay.get_state(), str(tmp_path / "state"))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - peak) * 1024 < 0.5e9
    shutil.rmtree(tmp_path / "state")


def resident_gb():
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * resource.getpagesize() / 1e9
