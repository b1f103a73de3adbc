import hypothesis
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import strategies as st

from keras_rl2x import data
from keras_rl2x.data import prioritized
from tests.data.lives import Life
from tests.data.lives import check_batch
from tests.data.lives import eagerly
from tests.data.lives import environments


def filled(num_envs=2, keep=12, steps=10, end=0.2, **arguments):
    life = Life(num_envs, seed=1, end=end)
    replay = data.PrioritizedReplay(
        environments(num_envs), keep * num_envs, 0.9, **arguments
    )
    replay.begin(life.begin())
    replay.write(*life.rows(steps))
    return replay, life


def priorities(replay):
    """Priority of each cell, checked against the sums of the blocks."""
    state = replay.get_state()
    by_block = state["priority"].reshape(len(state["block_sum"]), -1)
    np.testing.assert_allclose(
        state["block_sum"], by_block.astype("f8").sum(axis=1), rtol=1e-12
    )
    return state["priority"][: replay.stream.cells]


def live_cells(replay):
    return np.flatnonzero(replay.get_state()["live"])


def test_draws_are_in_proportion_to_priority_to_the_alpha():
    replay, _ = filled(alpha=0.5)
    cells = live_cells(replay)
    errors = np.random.default_rng(0).uniform(0, 5, len(cells)).astype("f4")
    errors[:2] = 0, 100
    replay.update(tf.constant(cells, tf.int32), tf.constant(-errors))
    # Batches of one are not stratified, and so independent.
    drawn = replay.draw(60_000, 1)["index"].numpy()
    counts = np.bincount(drawn, minlength=replay.stream.cells)
    assert counts[cells].sum() == 60_000
    wanted = np.sqrt(errors.astype("f8") + 1e-6)
    wanted *= 60_000 / wanted.sum()
    seldom = wanted < 5
    assert counts[cells][seldom].sum() <= 30
    counts, wanted = counts[cells][~seldom], wanted[~seldom]
    wanted *= counts.sum() / wanted.sum()
    assert scipy.stats.chisquare(counts, wanted).pvalue > 1e-3


def test_alpha_0_is_uniform():
    replay, _ = filled(alpha=0)
    cells = live_cells(replay)
    errors = tf.range(len(cells), dtype=tf.float32)
    replay.update(tf.constant(cells, tf.int32), errors)
    counts = np.bincount(replay.draw(20_000, 1)["index"])[cells]
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_a_batch_is_stratified():
    replay, _ = filled(steps=8, end=0)
    # 16 transitions alike: in a batch of 16, each of them once.
    index = replay.draw(20, 16)["index"].numpy().reshape(20, 16)
    for batch in index:
        np.testing.assert_array_equal(batch, np.arange(16))


def test_importance_weights():
    replay, _ = filled(steps=2, end=0, alpha=1.0, beta=0.5, epsilon=1e-9)
    replay.update(tf.range(4), tf.constant([1.0, 2.0, 4.0, 1.0]))
    batch = replay.draw(1, 64)
    # Probabilities 1/8, 2/8, 4/8, 1/8; N = 4:
    # (N p)^-beta = (1/2)^-1/2, 1^-1/2, 2^-1/2, divided by the first.
    expected = np.array([1, np.sqrt(0.5), 0.5, 1])
    index = batch["index"].numpy()
    assert set(index) == {0, 1, 2, 3}
    np.testing.assert_allclose(batch["weight"], expected[index], rtol=1e-5)


def test_weights_are_divided_by_the_largest_of_their_own_batch():
    replay, _ = filled(alpha=1.0, beta=1.0)
    cells = live_cells(replay)
    errors = np.random.default_rng(0).uniform(1, 9, len(cells)).astype("f4")
    replay.update(tf.constant(cells, tf.int32), tf.constant(errors))
    batch = replay.draw(50, 4)
    weight = batch["weight"].numpy().reshape(50, 4)
    np.testing.assert_array_equal(weight.max(axis=1), 1)
    inverse = 1 / priorities(replay)[batch["index"]].reshape(50, 4)
    np.testing.assert_allclose(
        weight, inverse / inverse.max(axis=1, keepdims=True), rtol=1e-5
    )


def test_beta_may_be_a_schedule_over_batches():
    beta = keras.optimizers.schedules.PolynomialDecay(0.0, 4, 1.0)
    replay, _ = filled(steps=2, end=0, alpha=1.0, beta=beta)
    replay.update(tf.range(4), tf.constant([1.0, 2.0, 4.0, 1.0]))
    smallest = [
        float(tf.reduce_min(batch["weight"]))
        for batch in replay.dataset(64).take(6)
    ]
    # The third has a quarter of the first one's weight, to the beta 0, 1/4,
    # ... 1, and 1 from then on.
    np.testing.assert_allclose(
        smallest, 0.25 ** np.array([0, 0.25, 0.5, 0.75, 1, 1]), rtol=1e-4
    )


def test_update_sets_the_size_of_the_error():
    replay, _ = filled(steps=4, end=0, alpha=0.5, epsilon=0.25)
    before = priorities(replay).copy()
    np.testing.assert_array_equal(before[:8], 1)
    replay.update(tf.constant([0, 5, 0]), tf.constant([3.75, -0.75, 3.75]))
    # sqrt(3.75 + 0.25) = 2; sqrt(0.75 + 0.25) = 1.
    after = priorities(replay)
    assert after[0] == 2
    assert after[5] == 1
    np.testing.assert_array_equal(np.delete(after, [0]), np.delete(before, [0]))


def test_new_transitions_have_the_highest_priority_seen():
    replay, life = filled(steps=2, end=0, alpha=1.0, epsilon=1e-3)
    np.testing.assert_array_equal(priorities(replay)[:4], 1)
    replay.update(tf.constant([1]), tf.constant([6.999]))
    replay.update(tf.constant([1]), tf.constant([0.0]))
    replay.write(*life.rows(3))
    np.testing.assert_allclose(
        priorities(replay)[:10], [1, 1e-3, 1, 1, *[7] * 6]
    )


def test_what_was_overwritten_meanwhile_is_not_revived():
    replay, life = filled(keep=4, steps=4, end=0)
    index = replay.draw(1, 8)["index"]
    replay.begin(life.begin())  # The oldest row is now the head,
    replay.begin(life.begin())  # then a dead row.
    dead = np.setdiff1d(np.arange(replay.stream.cells), live_cells(replay))
    assert set(dead) & set(index.numpy())
    replay.update(index, tf.fill([8], 9.0))
    np.testing.assert_array_equal(priorities(replay)[dead], 0)
    np.testing.assert_array_equal(
        np.flatnonzero(priorities(replay)), live_cells(replay)
    )


@hypothesis.settings(
    max_examples=25, deadline=None, derandomize=True, database=None
)
@hypothesis.given(
    num_envs=st.integers(1, 3),
    keep=st.integers(1, 15),
    seed=st.integers(0, 10_000),
    commands=st.lists(st.integers(0, 6), min_size=1, max_size=8),
)
def test_only_the_live_have_priority(num_envs, keep, seed, commands):
    """In any order of writing, beginning, drawing and updating."""
    life = Life(num_envs, seed, end=0.4)
    rng = np.random.default_rng(seed)
    with eagerly():
        replay = data.PrioritizedReplay(
            environments(num_envs), keep * num_envs, 0.9
        )
        replay.begin(life.begin())
        for command in commands:
            if command == 0:
                replay.begin(life.begin())
            else:
                replay.write(*life.rows(min(command, keep)))
            np.testing.assert_array_equal(
                np.flatnonzero(priorities(replay)), live_cells(replay)
            )
            if not replay.size:
                continue
            batch = replay.draw(2, 7)
            check_batch(batch, life.transitions(keep))
            # Errors of very different sizes, to be hard on the sums.
            errors = 10.0 ** rng.integers(-6, 7, 14)
            replay.update(batch["index"], tf.constant(errors, tf.float32))
            priorities(replay)


@pytest.mark.parametrize("seed", range(3))
def test_rounding_never_finds_the_dead(seed):
    # Most cells are dead, the others of very different priorities: wherever
    # a point falls between the sums, it must not fall on the dead.
    replay, _ = filled(num_envs=40, keep=250, steps=240, end=1.0)
    cells = live_cells(replay)
    assert len(cells) == 120 * 40
    errors = 10 ** np.random.default_rng(seed).uniform(-6, 6, len(cells))
    replay.update(tf.constant(cells, tf.int32), tf.constant(errors, tf.float32))
    batch = replay.draw(1, 30_000)
    assert np.isin(batch["index"], cells).all()
    assert np.isfinite(batch["weight"]).all()


def test_the_search_passes_over_what_has_no_priority():
    ends = tf.constant([0, 0.1, 0.1, 0.3, 0.3], tf.float64)
    # On a sum, on the last, and beyond it by a rounding.
    point = tf.constant([0, 0.1, 0.3, 0.3 + 1e-15], tf.float64)
    np.testing.assert_array_equal(
        prioritized._search(ends, point), [1, 3, 3, 3]
    )
    np.testing.assert_array_equal(
        prioritized._search(tf.tile(ends[None], [4, 1]), point), [1, 3, 3, 3]
    )


def test_priorities_survive_a_round_trip():
    replay, _ = filled()
    replay.update(tf.constant([2]), tf.constant([50.0]))
    restored, _ = filled(steps=3)
    restored.set_state(replay.get_state())
    np.testing.assert_array_equal(priorities(restored), priorities(replay))
    np.testing.assert_array_equal(
        restored.draw(4, 8)["index"], replay.draw(4, 8)["index"]
    )


def test_an_error_that_is_not_finite_ruins_nothing():
    replay, _ = filled()
    cells = live_cells(replay)[:2]
    errors = tf.constant([np.nan, np.inf])
    replay.update(tf.constant(cells, tf.int32), errors)
    assert np.isfinite(priorities(replay)).all()
    assert np.isfinite(replay.draw(4, 8)["weight"]).all()


def test_blocks_of_batches_are_not_drawn_ahead():
    replay, _ = filled()
    replay.set_block(8)
    batches = iter(replay.dataset(4))
    next(batches)
    cell = live_cells(replay)[0]
    replay.update(tf.constant([cell], tf.int32), tf.constant([1e12]))
    np.testing.assert_array_equal(next(batches)["index"], cell)


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("epsilon", 0, "> 0"),
        ("epsilon", -1e-6, "> 0"),
        ("alpha", -0.1, ">= 0"),
        ("beta", 1.1, "from 0 to 1"),
    ],
)
def test_arguments_are_checked(name, value, must):
    with pytest.raises(ValueError, match=f"`{name}` must be a number {must}"):
        data.PrioritizedReplay(environments(1), 10, 0.9, **{name: value})


def test_the_highest_priority_is_restored():
    replay, life = filled(steps=2, end=0, alpha=1.0, epsilon=1e-3)
    replay.update(tf.constant([1]), tf.constant([6.999]))
    replay.update(tf.constant([1]), tf.constant([0.0]))
    restored, _ = filled(steps=3, alpha=1.0, epsilon=1e-3)
    restored.set_state(replay.get_state())
    restored.write(*life.rows(1))
    # New ones have the highest that there ever was.
    expected = [1, 1e-3, 1, 1, 7, 7]
    np.testing.assert_allclose(priorities(restored)[:6], expected)
