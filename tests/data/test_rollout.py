import os

import hypothesis
import numpy as np
import optree
import pytest
import tensorflow as tf
from gymnasium import spaces
from hypothesis import strategies as st

from keras_rl2x import data
from keras_rl2x.data import rollout
from keras_rl2x.data import state_files
from tests.data.lives import Life
from tests.data.lives import eagerly
from tests.data.lives import environments

# A step of `begin`, or of filling it anew.
BEGIN, FILL = 0, 1


def cells_of(life, gamma):
    """What each cell must be: a dict from observations, which are unique."""
    cells = {}
    for episode in life.episodes:
        so_far, last = 0.0, len(episode["rewards"]) - 1
        steps = zip(episode["obs"], episode["actions"], episode["rewards"])
        for i, (obs, action, reward) in enumerate(steps):
            so_far = reward + gamma * so_far
            ended = episode["ended"] if i == last else None
            cells[obs] = {
                "live": True,
                "action": action,
                "reward": reward,
                "discount": 0 if ended in ("terminated", "both") else gamma,
                "cut": ended is not None,
                "reward_so_far": so_far,
                "next_obs": episode["obs"][i + 1],
            }
        # The final observation, if it is a row at all.
        cells[episode["obs"][-1]] = {
            "live": False,
            "reward": 0,
            "cut": True,
            "reward_so_far": 0,
        }
    return cells


def check_rows(rows, given, cells):
    """Asserts that these rows are what was given, and what was lived."""
    obs = rows["obs"].numpy()
    np.testing.assert_array_equal(obs[:-1], given["obs"])
    for place in np.ndindex(*given["reward"].shape):
        expected = dict(cells[obs[place]])
        if expected["live"]:
            successor = obs[place[0] + 1, place[1]]
            assert successor == expected.pop("next_obs")
        for name, value in expected.items():
            np.testing.assert_allclose(
                rows[name][place], value, rtol=1e-5, atol=1e-4, err_msg=name
            )


def rows_of(rollout):
    """What `prepare` would hand to an agent of what was written last."""
    written = tf.nest.map_structure(tf.constant, rollout._written)
    rows = rollout.rows(*written)
    return {**rows, "reward_so_far": rollout._rewards_so_far(rows)}


@hypothesis.settings(
    max_examples=40, deadline=None, derandomize=True, database=None
)
@hypothesis.given(
    num_envs=st.integers(1, 4),
    steps=st.integers(1, 9),
    gamma=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    end=st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]),
    seed=st.integers(0, 10_000),
    # Three fillings and more go round the ring, whose length is one row more
    # than a filling: each has its seam elsewhere.
    commands=st.lists(
        st.sampled_from([FILL, FILL, BEGIN]), min_size=3, max_size=10
    ),
)
def test_rows_are_what_was_lived(num_envs, steps, gamma, end, seed, commands):
    life = Life(num_envs, seed, end)
    with eagerly():
        rollout = data.Rollout(environments(num_envs), steps, gamma)
        rollout.begin(life.begin())
        for command in commands:
            if command == BEGIN:
                rollout.begin(life.begin())
                continue
            given, next_obs = life.rows(steps)
            rollout.write(given, next_obs)
            rows = rows_of(rollout)
            assert rows["obs"].shape == (steps + 1, num_envs)
            np.testing.assert_array_equal(rows["obs"][-1], next_obs)
            check_rows(rows, given, cells_of(life, gamma))


def hand_written(obs=(1, 2, 3, 4, 5)):
    """Five steps: one environment for each way in which one can end."""
    shape = (5, 4)
    rows = {
        "obs": np.tile(np.array(obs, "f4")[:, None], (1, 4)),
        "action": np.zeros(shape, "i4"),
        "reward": np.ones(shape, "f4"),
        "terminated": np.zeros(shape, bool),
        "truncated": np.zeros(shape, bool),
        "dead": np.zeros(shape, bool),
    }
    # Environment 0 goes on for ever.
    rows["terminated"][1, 1] = True
    rows["truncated"][1, 2] = True
    rows["terminated"][1, 3] = rows["truncated"][1, 3] = True
    rows["dead"][2, 1:] = True
    rows["reward"][2, 1:] = 0
    return rows, np.full(4, 6, "f4")


def test_every_kind_of_end():
    rollout = data.Rollout(environments(4), steps=5, gamma=0.5)
    rollout.begin(np.ones(4, "f4"))
    rollout.write(*hand_written())
    rows = {k: np.array(v).T for k, v in rows_of(rollout).items()}
    on = [0.5] * 5
    stopped = [0.5, 0, 0.5, 0.5, 0.5]
    np.testing.assert_array_equal(rows["discount"], [on, stopped, on, stopped])
    cut = [0, 1, 1, 0, 0]
    np.testing.assert_array_equal(rows["cut"], [[0] * 5, cut, cut, cut])
    live = [1, 1, 0, 1, 1]
    np.testing.assert_array_equal(rows["live"], [[1] * 5, live, live, live])
    sums = [1, 1.5, 0, 1, 1.5]
    np.testing.assert_array_equal(
        rows["reward_so_far"],
        [[1, 1.5, 1.75, 1.875, 1.9375], sums, sums, sums],
    )
    # The dead row is the successor of the last step.
    np.testing.assert_array_equal(rows["obs"], [[1, 2, 3, 4, 5, 6]] * 4)


def test_rewards_so_far_are_carried_over_and_begin_anew():
    rollout = data.Rollout(environments(4), steps=5, gamma=0.5)
    rollout.begin(np.ones(4, "f4"))

    def fill():
        rollout.write(*hand_written())
        return rows_of(rollout)["reward_so_far"].numpy()[0]

    first, second = fill(), fill()
    np.testing.assert_array_equal(first, [1, 1, 1, 1])
    np.testing.assert_array_equal(
        second, 1 + 0.5 * np.array([1.9375] + [1.5] * 3)
    )
    rollout.begin(np.ones(4, "f4"))
    np.testing.assert_array_equal(fill(), [1, 1, 1, 1])


def test_rewards_so_far_end_with_the_last_row():
    rollout = data.Rollout(environments(4), steps=5, gamma=0.5)
    rollout.begin(np.ones(4, "f4"))
    rows, next_obs = hand_written()
    rows["terminated"][-1, 0] = rows["truncated"][-1, 1] = True
    rollout.write(rows, next_obs)
    rows_of(rollout)
    rows, next_obs = hand_written()
    rows["dead"][0, :2], rows["reward"][0, :2] = True, 0
    rollout.write(rows, next_obs)
    second = rows_of(rollout)
    np.testing.assert_array_equal(second["cut"][0], [1, 1, 0, 0])
    np.testing.assert_array_equal(second["reward_so_far"][0, :2], [0, 0])
    np.testing.assert_array_equal(second["reward_so_far"][1, :2], [1, 1])


class Copies:
    """Stands for an agent: what it adds tells which cell it belongs to."""

    def __init__(self, number=lambda obs: obs):
        self.number = number
        self.traces = 0
        self.normalize_rewards = True
        self.env_steps = tf.Variable(0, dtype=tf.int64)

    def prepare(self, rows):
        self.traces += 1
        obs = tf.nest.map_structure(lambda x: x[:-1], rows["obs"])
        return {
            "value": self.number(obs),
            "log_prob": -self.number(obs),
            "advantage": rows["reward_so_far"],
            "return": rows["reward"],
            "weight": tf.cast(rows["live"], "float32"),
        }


class Filling:
    """A rollout and the life that fills it."""

    def __init__(self, steps=6, num_envs=4, seed=0):
        self.life = Life(num_envs, seed=3, end=0.3)
        self.rollout = data.Rollout(
            environments(num_envs), steps, 0.9, seed=seed
        )
        self.agent = Copies()
        self.rollout.begin(self.life.begin())

    def fill(self):
        """Returns the observations, flat, in the order in which they came."""
        rows, next_obs = self.life.rows(self.rollout.steps)
        self.rollout.write(rows, next_obs)
        self.rollout.prepare(self.agent)
        return rows["obs"].reshape(-1)


def orders(filling, minibatch_size=8, passes=3, fillings=2):
    """The observations of each pass, in the order in which they are drawn."""
    batches = iter(filling.rollout.dataset(minibatch_size, passes))
    for _ in range(fillings):
        filling.fill()
        for _ in range(passes):
            drawn = [
                next(batches)["obs"].numpy()
                for _ in range(filling.rollout.size // minibatch_size)
            ]
            assert all(len(obs) == minibatch_size for obs in drawn)
            yield np.concatenate(drawn)


@pytest.mark.parametrize("minibatch_size", [24, 12, 8, 1])
def test_every_cell_once_in_each_pass(minibatch_size):
    filling = Filling()
    batches = iter(filling.rollout.dataset(minibatch_size, passes=2))
    assert filling.rollout.updates == 2 * 24 // minibatch_size
    for _ in range(3):
        lived = filling.fill()
        for _ in range(2):
            drawn = [next(batches) for _ in range(24 // minibatch_size)]
            obs = np.concatenate([batch["obs"] for batch in drawn])
            assert sorted(obs) == sorted(lived)


def test_what_belongs_together_is_drawn_together():
    filling = Filling()
    batches = iter(filling.rollout.dataset(8))
    dead = 0
    for _ in range(3):
        filling.fill()
        cells = cells_of(filling.life, gamma=0.9)
        for _ in range(3):
            batch = {k: v.numpy() for k, v in next(batches).items()}
            assert set(batch) == {
                "obs",
                "action",
                "value",
                "log_prob",
                "advantage",
                "return",
                "weight",
            }
            np.testing.assert_array_equal(batch["value"], batch["obs"])
            np.testing.assert_array_equal(batch["log_prob"], -batch["obs"])
            for i, obs in enumerate(batch["obs"]):
                cell = cells[obs]
                assert batch["weight"][i] == cell["live"]
                assert batch["return"][i] == cell["reward"]
                np.testing.assert_allclose(
                    batch["advantage"][i],
                    cell["reward_so_far"],
                    rtol=1e-5,
                    atol=1e-5,
                )
                if cell["live"]:
                    assert batch["action"][i] == cell["action"]
                dead += not cell["live"]
    assert dead > 3  # Else their weight would not have been seen.


def test_large_passes_are_drawn_one_by_one_and_alike(monkeypatch):
    at_once = list(orders(Filling()))
    monkeypatch.setattr(rollout, "_BLOCK_BYTES", 0)
    np.testing.assert_array_equal(list(orders(Filling())), at_once)


def test_every_pass_has_an_order_of_its_own():
    filling = Filling()
    # By place: the same order in two fillings would be seen, too.
    seen = set()
    for order in orders(filling):
        seen.add(tuple(np.argsort(np.argsort(order))))
    assert len(seen) == 6
    assert tuple(range(24)) not in seen


def test_seeds():
    def drawn(seed):
        return np.stack(list(orders(Filling(seed=seed))))

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


def test_the_order_is_uniform():
    # Which of three cells comes first, over many passes: a third each.
    filling = Filling(steps=3, num_envs=1)
    filling.rollout.begin(filling.life.begin())
    first = [
        order[0] - order.min()
        for order in orders(filling, minibatch_size=1, passes=300, fillings=1)
    ]
    counts = np.unique(first, return_counts=True)[1]
    assert len(counts) == 3 and counts.min() > 70  # 100 of deviation 8.


def test_a_minibatch_is_the_whole_by_default():
    filling = Filling()
    batches = iter(filling.rollout.dataset())
    assert filling.rollout.updates == 1
    for _ in range(3):
        lived = filling.fill()
        np.testing.assert_array_equal(next(batches)["obs"], lived)


def test_a_rollout_of_one_step():
    filling = Filling(steps=1)
    batches = iter(filling.rollout.dataset(2))
    for _ in range(4):
        lived = filling.fill()
        drawn = [next(batches)["obs"].numpy() for _ in range(2)]
        assert sorted(np.concatenate(drawn)) == sorted(lived)


def test_updates():
    rollout = data.Rollout(environments(4), 6, 0.9)
    assert rollout.size == 24 and rollout.updates is None
    rollout.dataset(minibatch_size=8, passes=5)
    assert rollout.updates == 15


def test_the_agent_counts_the_live_cells():
    filling = Filling()
    counted = 0
    for _ in range(3):
        filling.fill()
        batch = next(iter(filling.rollout.dataset()))
        counted += int(np.sum(batch["weight"]))
        assert filling.agent.env_steps.numpy() == counted
    assert 0 < counted < 3 * filling.rollout.size


def test_prepared_once_for_each_agent_and_traced_once():
    filling = Filling()
    for _ in range(3):
        filling.fill()
    assert filling.agent.traces == 1
    other = Copies(lambda obs: 2 * obs)
    filling.rollout.prepare(other)
    batch = next(iter(filling.rollout.dataset()))
    np.testing.assert_array_equal(batch["value"], 2 * batch["obs"])


def nested(obs):
    """A nested observation made of one number."""
    pair = np.stack([obs, -obs], -1)
    return {"where": (pair, obs.astype("i4"))}


def test_nested_observations_and_actions():
    envs = environments(
        2,
        obs=spaces.Dict(
            where=spaces.Tuple([spaces.Box(0, 1e6, (2,)), spaces.Discrete(999)])
        ),
        action=spaces.Tuple([spaces.Discrete(10), spaces.Box(-1, 1, (2,))]),
    )
    life = Life(2, seed=3)
    rollout = data.Rollout(envs, 6, 0.9)
    rollout.begin(nested(life.begin()))
    agent = Copies(lambda obs: obs["where"][0][..., 0])
    batches = iter(rollout.dataset(4))
    for _ in range(3):
        rows, next_obs = life.rows(6)
        action = rows["action"]
        pair = np.stack([action, -action], -1).astype("f4")
        rows.update(obs=nested(rows["obs"]), action=(action, pair))
        rollout.write(rows, nested(next_obs))
        rollout.prepare(agent)
        for _ in range(3):
            batch = next(batches)
            numbers = batch["value"].numpy()
            optree.tree_map(
                np.testing.assert_array_equal,
                optree.tree_map(np.asarray, batch["obs"]),
                nested(numbers),
            )
            first, second = batch["action"]
            np.testing.assert_array_equal(first, second[:, 0])
            np.testing.assert_array_equal(first, -second[:, 1])


# Arguments, size and memory.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 1.1}, r"`gamma` must be a number from 0 to 1.*gamma=1.1"),
        ({"gamma": -0.1}, r"`gamma` must be a number from 0 to 1.*gamma=-0.1"),
        ({"steps": 0}, "`steps` must be an integer >= 1.*steps=0"),
        ({"steps": 1.5}, "`steps` must be an integer >= 1.*steps=1.5"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.Rollout(environments(4), **{"steps": 6, "gamma": 0.9, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # The message names a size that would fit.
        (
            {"minibatch_size": 7},
            r"must divide the 24 cells .*\(6 steps of 4 environments\), "
            "[68] for instance.*minibatch_size=7, passes=1",
        ),
        ({"minibatch_size": 25}, "24 for instance.*minibatch_size=25"),
        ({"minibatch_size": -8}, "must divide.*minibatch_size=-8"),
        ({"passes": 0}, "`passes` be an integer >= 1.*passes=0"),
        ({"passes": 1.5}, "`passes`.*passes=1.5"),
    ],
)
def test_minibatches_and_passes_are_checked(arguments, message):
    rollout = data.Rollout(environments(4), 6, 0.9)
    with pytest.raises(ValueError, match=message):
        rollout.dataset(**arguments)


def test_unsupported_spaces_are_refused():
    for given in ({"obs": spaces.Text(3)}, {"action": spaces.Text(3)}):
        with pytest.raises(TypeError, match="not supported"):
            data.Rollout(environments(1, **given), 10, 0.9)


@pytest.mark.parametrize("steps", [5, 7])
def test_it_is_written_whole(steps):
    filling = Filling()
    with pytest.raises(
        ValueError, match=f"written whole, 6 rows at once.*{steps} rows"
    ):
        filling.rollout.write(*filling.life.rows(steps))


def assert_empty(rollout):
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="(?s)The rollout is empty: fill it with the `Collect` callback",
    ):
        next(iter(rollout.dataset(8)))


def test_nothing_is_drawn_from_an_empty_one():
    filling = Filling()
    assert_empty(filling.rollout)
    filling.fill()
    next(iter(filling.rollout.dataset(8)))
    # What it held belongs to episodes that were left.
    filling.rollout.begin(filling.life.begin())
    assert_empty(filling.rollout)


def test_nothing_is_drawn_before_it_is_prepared():
    filling = Filling()
    filling.rollout.write(*filling.life.rows(6))
    assert_empty(filling.rollout)


def test_more_than_the_memory_is_refused(monkeypatch):
    with pytest.raises(MemoryError, match="this machine has"):
        data.Rollout(environments(2), 10**12, 0.9)
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 100}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    # A cell: an observation, an action and 5 numbers of what is prepared, of
    # 4 bytes each: 28 bytes, 409,600 of which fit.
    data.Rollout(environments(2), 7_300, 0.9)
    with pytest.raises(MemoryError):
        data.Rollout(environments(2), 7_400, 0.9)


def test_the_refusal_names_an_argument_that_there_is():
    with pytest.raises(MemoryError, match="lower `steps`"):
        data.Rollout(environments(2), 10**12, 0.9)


# Saving.


def test_a_restored_rollout_goes_on_alike(tmp_path):
    filling = Filling()
    list(orders(filling))
    path = str(tmp_path / "rollout")
    state_files.write(filling.rollout.get_state(), path)
    restored = Filling()
    restored.rollout.set_state(state_files.read(path))
    # What was lived is used up, so both begin new episodes.
    first, second = (
        np.stack([np.argsort(order) for order in orders(each)])
        for each in (filling, restored)
    )
    np.testing.assert_array_equal(first, second)
    fresh = np.stack([np.argsort(order) for order in orders(Filling())])
    assert not np.array_equal(first, fresh)


def test_another_rollout_is_not_restored():
    state = Filling().rollout.get_state()
    other = Filling(steps=5)
    with pytest.raises(
        ValueError, match="another size.*`steps`.*24 cells.* of 20"
    ):
        other.rollout.set_state(state)


def test_clipped_rewards():
    life = Life(1, end=0.0)
    rollout = data.Rollout(environments(1), 3, 0.5, clip_rewards=True)
    rollout.begin(life.begin())
    rows, next_obs = life.rows(3)
    rows["reward"][:, 0] = [3.0, -7.0, 0.25]
    rollout.write(rows, next_obs)
    rollout.prepare(Copies())
    batch = next(iter(rollout.dataset()))
    np.testing.assert_array_equal(batch["return"], [1, -1, 0.25])
    # Sums of what is learned from: 1, then -1 + 0.5 * 1, and so on.
    np.testing.assert_array_equal(batch["advantage"], [1, -0.5, 0])


def test_where_episodes_begin():
    rollout = data.Rollout(environments(4), steps=5, gamma=0.5)
    rollout.begin(np.ones(4, "f4"))
    rows, next_obs = hand_written()
    # An episode that ends with the last step but one, and a dead last row.
    rows["terminated"][3, 0] = rows["dead"][4, 0] = True

    def fill():
        rollout.write(rows, next_obs)
        return rows_of(rollout)["begins"].numpy().T

    first, second = fill(), fill()
    np.testing.assert_array_equal(
        first[:2], [[1, 0, 0, 0, 0, 1], [1, 0, 0, 1, 0, 0]]
    )
    np.testing.assert_array_equal(second[:, 0], [1, 0, 0, 0])
    rollout.begin(np.ones(4, "f4"))
    np.testing.assert_array_equal(fill()[:, 0], [1, 1, 1, 1])
