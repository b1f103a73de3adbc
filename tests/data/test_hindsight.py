import collections
import functools

import hypothesis
import keras
import numpy as np
import optree
import pytest
import scipy.stats
import tensorflow as tf
from gymnasium import spaces
from hypothesis import strategies as st

import keras_rl2x as rl
from keras_rl2x import data
from keras_rl2x.acting import Driver
from keras_rl2x.acting import Policy
from keras_rl2x.data import state_files
from keras_rl2x.envs import toy
from tests.callbacks.living import Living
from tests.data.lives import Life
from tests.data.lives import check_batch
from tests.data.lives import eagerly
from tests.data.lives import environments
from tests.data.test_replay import bytes_of

# A step of `begin`, or a chunk of so many rows.
BEGIN = 0

GOAL = spaces.Box(0, 1e6, (2,))
SPACE = spaces.Dict(
    observation=spaces.Box(0, 1e6, ()), achieved_goal=GOAL, desired_goal=GOAL
)


def reward_fn(achieved, desired):
    """Another number for every pair of goals that there is in these tests."""
    return achieved[..., 0] - 3 * desired[..., 0] - 500 * desired[..., 1]


def achieved_goal(number):
    return np.stack([number, np.zeros_like(number)], -1)


def desired_goal(episode):
    """What nothing achieves: known by its second number."""
    return np.array([episode["obs"][0], 1], "f4")


class GoalLife(Life):
    """A life in which every episode has a goal."""

    def begin(self):
        return self._with_goals(super().begin())

    def rows(self, steps):
        rows, next_obs = super().rows(steps)
        rows["obs"] = self._with_goals(rows["obs"])
        next_obs = self._with_goals(next_obs)
        achieved = np.concatenate(
            [rows["obs"]["achieved_goal"], next_obs["achieved_goal"][None]]
        )[1:]
        # What a dead row holds besides must not matter.
        rows["reward"] = np.where(
            rows["dead"],
            np.float32(7),
            reward_fn(achieved, rows["obs"]["desired_goal"]),
        )
        for episode in self.episodes:
            episode["rewards"] = rewards(episode, desired_goal(episode))
        return rows, next_obs

    def _with_goals(self, numbers):
        goals = {
            number: desired_goal(episode)
            for episode in self.episodes
            for number in episode["obs"]
        }
        return {
            "observation": numbers,
            "achieved_goal": achieved_goal(numbers),
            "desired_goal": np.reshape(
                [goals[number] for number in numbers.flat], (*numbers.shape, 2)
            ).astype("f4"),
        }


def rewards(episode, goal):
    """The rewards of all of an episode's steps, had this been its goal."""
    achieved = achieved_goal(np.array(episode["obs"][1:], "f4"))
    return reward_fn(achieved, goal).tolist()


def hindsight(num_envs, keep, **arguments):
    envs = environments(num_envs, SPACE)
    return data.HindsightReplay(
        envs,
        keep * num_envs,
        **{"gamma": 0.9, **arguments},
        reward_fn=reward_fn,
    )


def check_draws(batch, life, keep, n_step=1, gamma=0.9):
    """Every transition of the batch was lived, or might have been.

    Returns:
        List of pairs: the number of the first observation, and of that whose
        achieved goal it was given, `None` for its own goal.
    """
    transitions = life.transitions(keep, n_step, gamma)
    of = {n: e for e in life.episodes for n in e["obs"]}
    batch = optree.tree_map(np.asarray, batch)
    goals = batch["obs"]["desired_goal"]
    np.testing.assert_array_equal(batch["next_obs"]["desired_goal"], goals)
    for name in ("obs", "next_obs"):
        numbers = batch[name].pop("observation")
        np.testing.assert_array_equal(
            batch[name]["achieved_goal"], achieved_goal(numbers)
        )
        batch[name] = numbers
    expected, pairs = {}, []
    for place, (number, goal) in enumerate(zip(batch["obs"].tolist(), goals)):
        transition, episode = transitions[number], of[number]
        later = None
        if goal[1]:
            np.testing.assert_array_equal(goal, desired_goal(episode))
        else:
            later = float(goal[0])
            start = episode["obs"].index(number)
            assert later in episode["obs"][start + 1 :]
            under_goal = rewards(episode, goal)[start : start + n_step]
            reward = sum(gamma**i * r for i, r in enumerate(under_goal))
            transition = {**transition, "reward": reward}
        # A name for each, as one is drawn with several goals.
        expected[place] = transition
        pairs.append((number, later))
    check_batch({**batch, "obs": np.arange(len(pairs))}, expected)
    return pairs


@hypothesis.settings(
    max_examples=40, deadline=None, derandomize=True, database=None
)
@hypothesis.given(
    strategy=st.sampled_from(["final", "future"]),
    k=st.sampled_from([0, 0.5, 4, 1e9]),
    num_envs=st.integers(1, 4),
    keep=st.integers(1, 12),
    n_step=st.integers(1, 5),
    gamma=st.sampled_from([0.0, 0.5, 1.0]),
    end=st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]),
    seed=st.integers(0, 10_000),
    commands=st.lists(st.integers(BEGIN, 12), min_size=1, max_size=10),
)
def test_every_goal_is_one_that_was_reached_later_in_the_episode(
    strategy, k, num_envs, keep, n_step, gamma, end, seed, commands
):
    life = GoalLife(num_envs, seed, end)
    with eagerly():
        replay = hindsight(
            num_envs, keep, gamma=gamma, n_step=n_step, strategy=strategy, k=k
        )
        replay.begin(life.begin())
        for command in commands:
            if command == BEGIN:
                replay.begin(life.begin())
            else:
                replay.write(*life.rows(min(command, keep)))
            transitions = life.transitions(keep, n_step, gamma)
            assert replay.size == len(transitions)
            if not transitions:
                continue
            batch = replay.draw(1, 20 * len(transitions))
            pairs = check_draws(batch, life, keep, n_step, gamma)
            if k == 0:
                assert {later for _, later in pairs} == {None}
            if k == 1e9:
                assert None not in {later for _, later in pairs}
            if strategy == "final":
                finals = {e["obs"][-1] for e in life.episodes}
                assert {later for _, later in pairs} - {None} <= finals


def filled(steps=(7, 5, 9, 3), num_envs=3, **arguments):
    """A ring that has gone round, and the life that it holds."""
    life = GoalLife(num_envs, seed=1)
    replay = hindsight(num_envs, 12, **arguments)
    replay.begin(life.begin())
    for count in steps:
        replay.write(*life.rows(count))
    return replay, life


def chances(life, keep, strategy, k):
    """Dict: with which probability each pair of `check_draws` is drawn."""
    transitions = life.transitions(keep)
    found = {}
    for episode in life.episodes:
        for start, number in enumerate(episode["obs"]):
            if number not in transitions:
                continue
            laters = episode["obs"][start + 1 :]
            if strategy == "final":
                laters = laters[-1:]
            found[number, None] = 1 / (k + 1) / len(transitions)
            for later in laters:
                found[number, later] = (
                    k / (k + 1) / len(laters) / len(transitions)
                )
    return found


@pytest.mark.parametrize(
    ("strategy", "k", "block"),
    [("future", 4, 8), ("future", 1, 1), ("final", 4, 8), ("final", 0.25, 1)],
)
def test_goals_are_drawn_uniformly_of_those_that_follow(strategy, k, block):
    replay, life = filled(strategy=strategy, k=k)
    wanted = chances(life, 12, strategy, k)
    assert sum(wanted.values()) == pytest.approx(1)
    # Some goals are of the heads, of episodes that are under way.
    heads = {float(episode["obs"][-1]) for episode in life.now}
    assert heads & {later for _, later in wanted}
    replay.set_block(block)
    counts = collections.Counter()
    for batch in replay.dataset(512).take(64):
        counts.update(check_draws(batch, life, 12))
    assert set(counts) == set(wanted)
    drawn = [counts[pair] for pair in wanted]
    expected = np.array(list(wanted.values())) * sum(drawn)
    assert expected.min() > 5
    assert scipy.stats.chisquare(drawn, expected).pvalue > 1e-3


def test_most_goals_are_new_by_default():
    replay, life = filled()
    pairs = check_draws(replay.draw(1, 5_000), life, 12)
    new = np.mean([later is not None for _, later in pairs])
    assert abs(new - 4 / 5) < 0.02  # Standard deviation 0.006.


def test_seeds():
    def goals(seed):
        replay, _ = filled(seed=seed)
        batch = next(iter(replay.dataset(64)))
        return batch["obs"]["desired_goal"].numpy()

    np.testing.assert_array_equal(goals(1), goals(1))
    assert not np.array_equal(goals(1), goals(2))


def test_the_dataset():
    replay, _ = filled()
    replay.set_block(4)
    dataset = replay.dataset(batch_size=32)
    batch = next(iter(dataset))
    assert optree.tree_structure(dataset.element_spec) == (
        optree.tree_structure(batch)
    )
    for spec, leaf in zip(
        optree.tree_leaves(dataset.element_spec), optree.tree_leaves(batch)
    ):
        assert (spec.shape, spec.dtype) == (leaf.shape, leaf.dtype)
        assert leaf.shape[0] == 32
    np.testing.assert_array_equal(batch["weight"], 1)


def test_goals_may_be_nested():
    def nested(goal):
        return {"at": goal[..., :1], "how": (goal[..., 1].astype("i4"),)}

    def nested_reward_fn(achieved, desired):
        at = achieved["at"] - 3 * desired["at"]
        (how,) = desired["how"]
        return at[:, 0] - 500 * keras.ops.cast(how, "float32")

    def with_nested(obs):
        goals = ("achieved_goal", "desired_goal")
        return {**obs, **{name: nested(obs[name]) for name in goals}}

    goal = spaces.Dict(
        at=spaces.Box(0, 1e6, (1,)), how=spaces.Tuple([spaces.Discrete(2)])
    )
    space = spaces.Dict(
        observation=spaces.Box(0, 1e6, ()),
        achieved_goal=goal,
        desired_goal=goal,
    )
    replay = data.HindsightReplay(
        environments(2, space), 20, 0.9, nested_reward_fn, n_step=2
    )
    life = GoalLife(2)
    replay.begin(with_nested(life.begin()))
    rows, next_obs = life.rows(8)
    rows["obs"] = with_nested(rows["obs"])
    replay.write(rows, with_nested(next_obs))
    batch = next(iter(replay.dataset(200)))
    for name in ("obs", "next_obs"):
        for goal in ("achieved_goal", "desired_goal"):
            parts = batch[name][goal]
            batch[name][goal] = tf.concat(
                [parts["at"], tf.cast(parts["how"][0], tf.float32)[:, None]], 1
            )
    assert len(set(check_draws(batch, life, 10, n_step=2))) > 20


# In a real environment.


def lived(steps=400, bits=6, **arguments):
    """A replay of random play at flipping bits."""
    envs = rl.envs.make(toy.BitFlip, 4, bits=bits, seed=0)
    replay = data.HindsightReplay(
        envs,
        300,
        **{
            "gamma": 0.9,
            "reward_fn": rl.ops.sparse_goal_reward,
            **arguments,
        },
    )
    driver = Driver(envs)
    replay.begin(driver.reset(seed=0))
    envs.action_space.seed(0)
    for _ in range(steps // 40):
        chunk = driver.run(10, lambda obs, begins: envs.action_space.sample())
        replay.write(chunk.rows, chunk.next_obs)
    return replay


def test_rewards_are_those_that_the_environment_computes():
    replay = lived()
    batch = next(iter(replay.dataset(2_000)))
    obs, next_obs = optree.tree_map(
        np.asarray, (batch["obs"], batch["next_obs"])
    )
    expected = toy.BitFlip(6).compute_reward(
        next_obs["achieved_goal"], next_obs["desired_goal"], {}
    )
    np.testing.assert_array_equal(batch["reward"], expected)
    # Reached so often only in hindsight; and reaching it ends nothing.
    assert 0.1 < np.mean(expected == 0) < 0.9
    np.testing.assert_array_equal(batch["discount"], np.float32(0.9))
    flipped = np.argmax(obs["observation"] != next_obs["observation"], axis=1)
    np.testing.assert_array_equal(batch["action"], flipped)


# Arguments and rewards are checked.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "episode"}, "`strategy` must be one of .*'episode'"),
        ({"k": -1}, "`k` must be a number >= 0.*k=-1"),
        (
            {"reward_fn": lambda achieved, desired: achieved},
            r"one reward for each pair of goals.*shape \(2, 2\)",
        ),
        (
            {"reward_fn": lambda achieved, desired, info: achieved},
            "without its `info`.*TypeError.*info",
        ),
        (
            {"reward_fn": lambda achieved, desired: np.array(achieved)[:, 0]},
            "write it with `keras.ops`.*raises NotImplementedError",
        ),
        ({"gamma": 2}, "`gamma` must be a number from"),
    ],
)
def test_arguments_are_checked(arguments, message):
    arguments = {"gamma": 0.9, "reward_fn": reward_fn, **arguments}
    with pytest.raises(ValueError, match=message):
        data.HindsightReplay(environments(2, SPACE), 10, **arguments)


@pytest.mark.parametrize(
    "space",
    [
        GOAL,
        spaces.Dict(observation=GOAL, achieved_goal=GOAL),
        spaces.Dict(achieved_goal=GOAL, desired_goal=GOAL),
    ],
)
def test_observations_without_goals_are_refused(space):
    with pytest.raises(ValueError, match="with the entries.*'desired_goal'"):
        data.HindsightReplay(environments(2, space), 10, 0.9, reward_fn)


@pytest.mark.parametrize(
    "other",
    [
        spaces.Box(0, 1e6, (3,)),
        spaces.Box(0, 1e6, (2,), "int32"),
        spaces.MultiDiscrete([5, 5]),
        spaces.Dict(at=GOAL),
    ],
)
def test_goals_of_two_kinds_are_refused(other):
    space = spaces.Dict({**SPACE.spaces, "desired_goal": other})
    with pytest.raises(ValueError, match="of the same shape and dtype"):
        data.HindsightReplay(environments(2, space), 10, 0.9, reward_fn)


def test_bounds_of_goals_may_differ():
    everywhere = spaces.Box(-np.inf, np.inf, (2,))
    space = spaces.Dict({**SPACE.spaces, "achieved_goal": everywhere})
    replay = data.HindsightReplay(environments(2, space), 10, 0.9, reward_fn)
    assert replay.is_empty


def test_a_wrong_reward_fn_is_refused_with_the_numbers():
    far = functools.partial(rl.ops.sparse_goal_reward, threshold=1.5)
    message = (
        r"does not for \d+ of the \d+ transitions that were just written. "
        r"Received: 0.0 where the reward was -1.0"
    )
    with pytest.raises(ValueError, match=message):
        lived(reward_fn=far)


def test_a_wrong_reward_fn_ends_fit_however_often_it_is_called():
    living = Living(
        functools.partial(toy.BitFlip, bits=4),
        make_replay=functools.partial(
            data.HindsightReplay,
            reward_fn=lambda achieved, desired: keras.ops.cast(
                achieved[:, 0], "float32"
            ),
        ),
    )
    for _ in range(2):
        with pytest.raises(ValueError, match="`reward_fn` must give"):
            living.fit()


# Size and saving.


def test_nbytes_is_the_true_size():
    replay = hindsight(3, 300)
    true = bytes_of(replay) + bytes_of(replay.stream)
    counters = 8 * 4
    assert true <= replay.nbytes <= true + counters


@pytest.mark.parametrize("steps", [(), (4,), (7, 5, 9, 3)])
def test_a_restored_replay_goes_on_alike(steps, tmp_path):
    replay, life = filled(steps)
    batches = iter(replay.dataset(16))
    if steps:
        next(batches)
    path = str(tmp_path / "replay")
    state_files.write(replay.get_state(), path)
    restored, _ = filled()  # Whatever it held before.
    restored.set_state(state_files.read(path))
    others = iter(restored.dataset(16))
    for count in (3, 12):
        chunk = life.rows(count)
        for each in (replay, restored):
            each.write(*chunk)
        for _ in range(2):
            batch, other = next(batches), next(others)
            optree.tree_map(np.testing.assert_array_equal, batch, other)
        check_draws(batch, life, 12)


def test_training_is_resumed_bit_for_bit(tmp_path):
    def fit(epochs, folder):
        living = Living(
            toy.BitFlip,
            make_replay=functools.partial(
                data.HindsightReplay, reward_fn=rl.ops.sparse_goal_reward
            ),
        )
        living.fit(rl.callbacks.Checkpoint(folder), epochs=epochs)
        return living

    fit(2, tmp_path / "resumed")
    resumed = fit(4, tmp_path / "resumed")
    whole = fit(4, tmp_path / "whole")
    for one, other in (
        (resumed.agent, whole.agent),
        (resumed.replay, whole.replay),
    ):
        np.testing.assert_equal(one.get_state(), other.get_state())


# Learning.


def success(make_replay, bits, updates, seed):
    """How often DQN reaches the goal in the end."""
    make = functools.partial(rl.envs.make, toy.BitFlip, bits=bits, seed=seed)
    with make(8) as envs:
        network = rl.networks.mlp(
            envs.single_observation_space, (128,), seed=seed
        )
        agent = rl.agents.DQN(
            network, envs.single_action_space, epsilon=0.2, seed=seed
        )
        agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=16)
        replay = make_replay(envs, capacity=50_000, gamma=0.95, seed=seed)
        agent.fit(
            replay.dataset(128),
            steps_per_epoch=updates,
            callbacks=[
                rl.callbacks.Collect(
                    envs, replay, env_steps_per_update=4, warmup=1_000
                ),
                rl.callbacks.TargetUpdate(1, tau=0.01),
            ],
            verbose=0,
        )
    with make(20) as envs:
        returns = Policy(agent, 20).play(envs, 200, seed=1_000).returns
    return np.mean(returns > -bits)


WITH_HINDSIGHT = functools.partial(
    data.HindsightReplay, reward_fn=rl.ops.sparse_goal_reward
)


@pytest.mark.parametrize("strategy", ["future", "final"])
def test_flips_bits(strategy):
    replay = functools.partial(WITH_HINDSIGHT, strategy=strategy)
    assert success(replay, bits=8, updates=1_600, seed=0) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_flips_bits_that_are_too_many_without_hindsight(seed):
    assert success(WITH_HINDSIGHT, bits=12, updates=4_800, seed=seed) >= 0.95
    assert success(data.Replay, bits=12, updates=4_800, seed=seed) <= 0.05
