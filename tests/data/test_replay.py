import os
import re

import hypothesis
import numpy as np
import optree
import pytest
import scipy.stats
import tensorflow as tf
from gymnasium import spaces
from hypothesis import strategies as st

from keras_rl2x import data
from keras_rl2x.data import memory
from keras_rl2x.data import state_files
from keras_rl2x.data.memory import cell_bytes
from keras_rl2x.data.stream import cell_spec
from tests.data.lives import Life
from tests.data.lives import check_batch
from tests.data.lives import eagerly
from tests.data.lives import environments

# A step of `begin`, or a chunk of so many rows.
BEGIN = 0


@hypothesis.settings(
    max_examples=150, deadline=None, derandomize=True, database=None
)
@hypothesis.given(
    kind=st.sampled_from([data.Replay, data.PrioritizedReplay]),
    num_envs=st.integers(1, 4),
    keep=st.integers(1, 12),
    spare=st.integers(0, 3),
    n_step=st.integers(1, 5),
    gamma=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    end=st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]),
    seed=st.integers(0, 10_000),
    commands=st.lists(st.integers(BEGIN, 12), min_size=1, max_size=10),
)
def test_what_is_drawn_is_what_was_lived(
    kind, num_envs, keep, spare, n_step, gamma, end, seed, commands
):
    # Any capacity that is rounded up to `keep` rows.
    capacity = max(keep * num_envs - spare % num_envs, num_envs)
    life = Life(num_envs, seed, end)
    with eagerly():
        replay = kind(environments(num_envs), capacity, gamma, n_step)
        assert replay.capacity == keep * num_envs
        replay.begin(life.begin())
        for command in commands:
            if command == BEGIN:
                replay.begin(life.begin())
            else:
                replay.write(*life.rows(min(command, keep)))
            transitions = life.transitions(keep, n_step, gamma)
            assert replay.size == len(transitions)
            if transitions:
                # So many that one left out, of all drawn alike, would be a
                # matter of exp(-30).
                batch = replay.draw(1, 30 * len(transitions))
                assert check_batch(batch, transitions) == set(transitions)
                np.testing.assert_array_equal(batch["weight"], 1)


def filled(kind=data.Replay, steps=(7, 5, 9, 3), num_envs=3, **arguments):
    """A ring that has gone round, and the life that it holds."""
    life = Life(num_envs, seed=1)
    replay = kind(environments(num_envs), 12 * num_envs, 0.9, **arguments)
    replay.begin(life.begin())
    for count in steps:
        replay.write(*life.rows(count))
    return replay, life


@pytest.mark.parametrize("block", [1, 8])
def test_draws_are_uniform_over_the_live(block):
    replay, life = filled()
    transitions = life.transitions(keep=12)
    assert len(transitions) < replay.capacity  # Some are dead.
    replay.set_block(block)
    dataset = replay.dataset(batch_size=256)
    drawn = []
    for batch in dataset.take(160):
        drawn.append(batch["obs"].numpy())
    check_batch(batch, transitions)
    obs, counts = np.unique(np.concatenate(drawn), return_counts=True)
    assert set(obs) == set(transitions)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_batches_are_independent():
    replay, life = filled()
    pairs = np.zeros((2, 2))
    half = np.median(list(life.transitions(keep=12)))
    replay.set_block(4)
    for batch in replay.dataset(256).take(80):
        old = (batch["obs"].numpy() < half).astype(int)
        np.add.at(pairs, (old[::2], old[1::2]), 1)
    assert scipy.stats.chi2_contingency(pairs).pvalue > 1e-3


def test_no_batch_is_drawn_twice():
    replay, _ = filled()
    replay.set_block(2)
    draws = {
        batch["index"].numpy().tobytes()
        for batch in replay.dataset(64).take(40)
    }
    assert len(draws) == 40


@pytest.mark.parametrize(
    ("fitting", "block", "together"),
    [(8, 8, 8), (7, 8, 4), (5, 15, 5), (3, 7, 1), (0.5, 8, 1)],
)
def test_what_is_drawn_together_fits_in_memory(
    fitting, block, together, monkeypatch
):
    nbytes = 2 * 32 * cell_bytes(cell_spec(environments(3)))
    limit = "keras_rl2x.data.replay.DRAWN_BYTES"
    monkeypatch.setattr(limit, int(fitting * nbytes))
    replay, _ = filled()
    draw, drawn = replay.draw, []

    def count(batches, batch_size):
        tf.py_function(lambda n: drawn.append(int(n)), [batches], [])
        return draw(batches, batch_size)

    monkeypatch.setattr(replay, "draw", count)
    replay.set_block(block)
    batches = list(replay.dataset(32).take(block))
    assert drawn[0] == together
    assert len({batch["index"].numpy().tobytes() for batch in batches}) == block


def test_index_is_where_it_is_stored():
    replay, _ = filled()
    batch = next(iter(replay.dataset(200)))
    for name in ("obs", "action"):
        np.testing.assert_array_equal(
            batch[name], replay.stream.gather(name, batch["index"])
        )


def test_seeds():
    def indices(seed):
        replay, _ = filled(seed=seed)
        return next(iter(replay.dataset(64)))["index"].numpy()

    np.testing.assert_array_equal(indices(1), indices(1))
    assert not np.array_equal(indices(1), indices(2))


def test_draws_see_what_was_just_written():
    replay, life = filled()
    batches = iter(replay.dataset(200))
    before = check_batch(next(batches), life.transitions(keep=12))
    replay.write(*life.rows(12))  # All that was there is gone.
    after = check_batch(next(batches), life.transitions(keep=12))
    assert before.isdisjoint(after)


def test_the_dataset():
    replay, _ = filled()
    replay.set_block(4)
    dataset = replay.dataset(batch_size=32)
    assert int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
    spec = dataset.element_spec
    assert set(spec) == {
        *("obs", "action", "reward", "discount", "next_obs", "weight", "index")
    }
    assert {leaf.shape.as_list()[0] for leaf in spec.values()} == {32}
    for leaf, array in zip(spec.values(), next(iter(dataset)).values()):
        assert (leaf.shape, leaf.dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("kind", [data.Replay, data.PrioritizedReplay])
def test_an_empty_replay_says_how_to_fill_it(kind):
    replay = kind(environments(2), 10, 0.9)
    batches = iter(replay.dataset(4))
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        next(batches)
    assert "The replay is empty: fill it with the `Collect`" in str(error.value)
    life = Life(2)
    replay.begin(life.begin())
    with pytest.raises(tf.errors.InvalidArgumentError, match="is empty"):
        next(batches)
    replay.write(*life.rows(2))
    assert next(batches)["obs"].shape == 4


# What observations and actions may be.


@pytest.mark.parametrize(
    "dtype",
    [
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
        *("float16", "float32", "float64", "bool"),
    ],
)
def test_every_dtype_is_stored(dtype):
    space = spaces.Box(0, 1, (2,), dtype)
    envs = environments(1, space)
    with eagerly():
        replay = data.Replay(envs, 8, 0.9)
        stored = replay.stream.fields["obs"].dtype.as_numpy_dtype
        rows, _ = one_env_rows(4)
        rows["obs"] = np.array([0, 1, 1, 0], stored)[:, None, None].repeat(2, 2)
        replay.write(rows, np.ones((1, 2), stored))
        batch = replay.draw(1, 40)
    assert batch["obs"].dtype == stored
    place = batch["index"].numpy()
    np.testing.assert_array_equal(
        batch["obs"][:, 0], np.array([0, 1, 1, 0], stored)[place]
    )
    np.testing.assert_array_equal(
        batch["next_obs"][:, 1], np.array([1, 1, 0, 1], stored)[place]
    )


def one_env_rows(steps):
    """Rows of an endless episode."""
    life = Life(1, end=0)
    life.begin()
    return life.rows(steps)


NESTED = {
    "obs": spaces.Dict(
        where=spaces.Tuple([spaces.Box(0, 1e6, (2,)), spaces.Discrete(99)]),
        camera=spaces.Box(0, 255, (3, 3, 1), "uint8"),
    ),
    "action": spaces.Tuple([spaces.Discrete(10), spaces.Box(-1, 1, (2,))]),
}


def nested(obs):
    """A nested observation made of one number."""
    numbers = obs[..., None]
    return {
        "where": (
            np.concatenate([numbers, -numbers], -1),
            obs.astype("i4"),
        ),
        "camera": np.tile(obs.astype("u1")[..., None, None, None], (3, 3, 1)),
    }


@pytest.mark.parametrize("kind", [data.Replay, data.PrioritizedReplay])
def test_nested_observations_and_actions(kind):
    life = Life(2, seed=3)
    replay = kind(environments(2, **NESTED), 16, 0.9, n_step=2)
    replay.begin(nested(life.begin()))
    for _ in range(3):
        rows, next_obs = life.rows(6)
        rows["obs"] = nested(rows["obs"])
        action = rows["action"]
        rows["action"] = (
            action,
            np.stack([action, -action], -1).astype("f4"),
        )
        replay.write(rows, nested(next_obs))
    replay.begin(nested(life.begin()))
    batch = next(iter(replay.dataset(64)))
    for name in ("obs", "next_obs"):
        leaves = optree.tree_map(np.asarray, batch[name])
        numbers = leaves["where"][0][:, 0]
        optree.tree_map(np.testing.assert_array_equal, leaves, nested(numbers))
        batch[name] = numbers
    first, second = batch["action"]
    np.testing.assert_array_equal(
        second, np.stack([first, -first], -1).astype("f4")
    )
    batch["action"] = first
    check_batch(batch, life.transitions(keep=8, n_step=2))


# Arguments, size and memory.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 1.1}, "`gamma` must be a number from 0 to 1"),
        ({"gamma": -0.1}, "`gamma` must be a number from 0 to 1"),
        ({"gamma": None}, "`gamma` must be a number from 0 to 1"),
        ({"gamma": np.nan}, "`gamma` must be a number from 0 to 1"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
        ({"capacity": None}, "`capacity` must be a number > 0"),
        ({"n_step": 0}, "`n_step` must be an integer >= 1"),
        ({"n_step": 1.5}, "`n_step` must be an integer >= 1"),
        ({"capacity": 3}, "one transition of each of the 4 environments"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.Replay(
            environments(4), **{"capacity": 100, "gamma": 0.9, **arguments}
        )


def test_unsupported_spaces_are_refused():
    for given in ({"obs": spaces.Text(3)}, {"action": spaces.Text(3)}):
        with pytest.raises(TypeError, match="not supported"):
            data.Replay(environments(1, **given), 10, 0.9)


def test_a_chunk_that_does_not_fit_is_refused():
    replay, life = filled()
    with pytest.raises(ValueError, match="a smaller `chunk`"):
        replay.write(*life.rows(13))


def bytes_of(thing):
    """The bytes of all arrays that it keeps in variables."""
    variables = {
        id(variable): variable.numpy()
        for variable in tf.nest.flatten(list(vars(thing).values()))
        if isinstance(variable, tf.Variable) and variable.shape.rank
    }
    return sum(array.nbytes for array in variables.values())


@pytest.mark.parametrize("kind", [data.Replay, data.PrioritizedReplay])
def test_nbytes_is_the_true_size(kind, capsys):
    replay = kind(environments(3, **NESTED), 1_000, 0.9)
    true = bytes_of(replay) + bytes_of(replay.stream)
    counters = 8 * 4
    assert true <= replay.nbytes <= true + counters
    # Observation 8 + 4 + 9, action 4 + 8, reward 4, three flags; the rest is
    # what finds the live ones.
    cells = 3 * (334 + 1)
    assert replay.stream.nbytes == cells * (21 + 12 + 4 + 3)
    assert f"{replay.nbytes / 1e6:,.1f} MB" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [data.Replay, data.PrioritizedReplay])
def test_more_than_the_memory_is_refused(kind, monkeypatch):
    with pytest.raises(MemoryError, match="this machine has"):
        kind(environments(2), 10**12, 0.9)
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 100}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    with pytest.raises(MemoryError) as error:
        kind(environments(2), 10**6, 0.9)
    fits = re.search("at most ([0-9,]+) transitions", str(error.value))[1]
    replay = kind(environments(2), int(fits.replace(",", "")), 0.9)
    assert 0.7 < replay.nbytes / 409_600 < 0.9
    with pytest.raises(MemoryError):
        kind(environments(2), 1.3 * replay.capacity, 0.9)


def test_a_container_may_have_less_memory(monkeypatch, tmp_path):
    limit = tmp_path / "limit"
    paths = str(tmp_path / "of another version"), str(limit)
    monkeypatch.setattr(memory, "_LIMITS", paths)
    for text in ("", "max\n"):
        limit.write_text(text)
        data.Replay(environments(2), 1_000, 0.9)
    limit.write_text("20000\n")
    with pytest.raises(MemoryError, match="this machine has 0.0 GB"):
        data.Replay(environments(2), 1_000, 0.9)


# Saving.


@pytest.mark.parametrize("kind", [data.Replay, data.PrioritizedReplay])
@pytest.mark.parametrize("steps", [(), (4,), (7, 5, 9, 3)])
def test_a_restored_replay_goes_on_alike(kind, steps, tmp_path):
    replay, life = filled(kind, steps)
    batches = iter(replay.dataset(16))
    if steps:
        next(batches)
    path = str(tmp_path / "replay")
    state_files.write(replay.get_state(), path)
    restored, _ = filled(kind)  # Whatever it held before.
    restored.set_state(state_files.read(path))
    assert restored.size == replay.size
    others = iter(restored.dataset(16))
    for count in (3, 12):
        chunk = life.rows(count)
        for each in (replay, restored):
            each.write(*chunk)
        for _ in range(2):
            batch, other = next(batches), next(others)
            optree.tree_map(np.testing.assert_array_equal, batch, other)
        check_batch(batch, life.transitions(keep=12))


@pytest.mark.parametrize("through_a_file", [True, False])
def test_a_large_replay_is_restored_in_parts(
    through_a_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(state_files, "PART_BYTES", 30)
    replay, life = filled()
    state = replay.get_state()
    leaves = [state["stream"][key] for key in state["stream"] if "leaf" in key]
    assert {type(leaf) for leaf in leaves} == {state_files.Parts}
    if through_a_file:
        state_files.write(state, str(tmp_path / "replay"))
        state = state_files.read(str(tmp_path / "replay"))
    restored, _ = filled(steps=(2,))
    restored.set_state(state)
    check_batch(next(iter(restored.dataset(200))), life.transitions(keep=12))


def test_a_state_holds_only_what_was_written():
    replay, _ = filled(steps=(4,))
    state = replay.get_state()["stream"]
    assert {len(state[key]) for key in state if "leaf" in key} == {5 * 3}


def test_another_replay_is_not_restored():
    replay, _ = filled()
    state = replay.get_state()
    with pytest.raises(ValueError, match="of another size"):
        data.Replay(environments(3), 100, 0.9).set_state(state)
    images = environments(3, spaces.Box(0, 1, (2,)))
    with pytest.raises(ValueError, match="other observations or actions"):
        data.Replay(images, 36, 0.9).set_state(state)
    images = environments(3, **NESTED)
    with pytest.raises(ValueError, match="other observations or actions"):
        data.Replay(images, 36, 0.9).set_state(state)


@pytest.mark.parametrize("kind", [data.Replay, data.PrioritizedReplay])
def test_clipped_rewards_are_clipped_before_they_are_summed_up(kind):
    life = Life(1, end=0.0)
    replay = kind(environments(1), 20, gamma=0.5, n_step=2, clip_rewards=True)
    replay.begin(life.begin())
    rows, next_obs = life.rows(4)
    rows["reward"][:, 0] = [3.0, -7.0, 0.25, 1.0]
    replay.write(rows, next_obs)
    batch = next(iter(replay.dataset(200)))
    found = dict(zip(batch["obs"].numpy(), batch["reward"].numpy()))
    expected = [1 - 0.5, -1 + 0.5 * 0.25, 0.25 + 0.5 * 1.0, 1.0]
    assert found == dict(zip(rows["obs"][:, 0], expected))
    stored = replay.stream.fields["reward"].numpy()
    assert stored.max() == 3 and stored.min() == -7


@pytest.mark.parametrize("kind", [data.Replay, data.PrioritizedReplay])
@pytest.mark.parametrize("batch_size", [0, -3, 2.5])
def test_wrong_batch_size(kind, batch_size):
    replay = kind(environments(2), 10, gamma=0.9)
    with pytest.raises(ValueError, match=f"integer >= 1.*={batch_size}"):
        replay.dataset(batch_size)
