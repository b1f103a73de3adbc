import numpy as np
import robust


def test_iqm_leaves_out_a_quarter_on_each_side():
    assert robust.iqm([8, 1, 7, 2, 6, 3, 5, 4]) == 4.5  # 3, 4, 5, 6.
    assert robust.iqm([0, 500, 500, 500, 100]) == (100 + 500 + 500) / 3
    # Of ten runs two are left out on each side: 2, ..., 7.
    assert robust.iqm([*range(9), 1_000]) == 4.5


def test_iqm_of_too_few_runs_to_leave_any_out_is_their_mean():
    assert robust.iqm([1, 2, 9]) == 4


def test_iqm_over_one_axis():
    scores = [[0, 10], [1, 10], [3, 10], [90, 10]]
    np.testing.assert_array_equal(robust.iqm(scores, axis=0), [2, 10])
    assert robust.iqm(scores) == (3 + 10 + 10 + 10) / 4


def test_interval_of_equal_runs_is_a_point():
    assert robust.iqm_interval([7.0] * 5) == (7, 7)


def test_interval_of_two_runs_is_their_range():
    # The mean of two draws: 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert robust.iqm_interval([0.0, 1.0]) == (0, 1)
    assert robust.iqm_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5)


def test_interval_is_deterministic_and_holds_the_iqm():
    scores = np.random.default_rng(1).normal(size=10)
    low, high = robust.iqm_interval(scores)
    assert (low, high) == robust.iqm_interval(scores)
    assert low < robust.iqm(scores) < high
    assert robust.iqm_interval(scores, seed=1) != (low, high)


def test_interval_of_four_runs_by_hand():
    # Of four draws k are 1, and the IQM is 0 for k < 2, 1/2 for k = 2, else 1:
    # with probabilities 0.738, 0.211 and 0.051. (Of their mean, 0 to 3/4.)
    scores = [0.0, 0, 0, 1]
    assert robust.iqm_interval(scores) == (0, 1)
    assert robust.iqm_interval(scores, confidence=0.94) == (0, 1)
    assert robust.iqm_interval(scores, confidence=0.8) == (0, 0.5)


def test_tasks_are_drawn_apart():
    # Of two runs, each with a 0 and a 1, drawn together half are always 1.
    scores = np.array([[0.0, 1], [1, 0]])
    assert robust.iqm_interval(scores) == (0, 1)
    # A sample holds as much of one task as of the other.
    scores = np.tile([0.0, 100.0], (4, 1))
    assert robust.iqm_interval(scores) == (50, 50)
