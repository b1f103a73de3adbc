import numpy as np
import scipy.stats

from keras_rl2x.acting import samplers

Q = np.array([[0.0, 3.0, 1.0, 2.0], [5.0, 5.0, 1.0, 0.0]])


def draw(epsilon, times=5_000, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(
        [samplers.epsilon_greedy(Q, rng, epsilon) for _ in range(times)]
    )


def test_greedy_takes_the_first_of_the_best():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    action = samplers.epsilon_greedy(Q, rng, epsilon=0.0)
    np.testing.assert_array_equal(action, [1, 0])
    assert action.dtype.kind == "i"
    assert rng.bit_generator.state == before


def test_epsilon_1_is_uniform():
    for actions in draw(epsilon=1.0).T:
        counts = np.bincount(actions, minlength=4)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_any_action_includes_the_best():
    # The best: 1 - 0.4 + 0.4 / 4 = 0.7; each other: 0.1.
    for actions, best in zip(draw(epsilon=0.4).T, (1, 0)):
        counts = np.bincount(actions, minlength=4)
        wanted = np.full(4, 500.0)
        wanted[best] = 3_500
        assert scipy.stats.chisquare(counts, wanted).pvalue > 1e-3


def test_environments_explore_independently():
    explored = draw(epsilon=0.4) != [1, 0]
    both = explored.all(axis=1).sum()
    assert scipy.stats.binomtest(int(both), 5_000, 0.09).pvalue > 1e-3


def test_the_generator_decides():
    np.testing.assert_array_equal(draw(0.5, 50), draw(0.5, 50))
    assert not np.array_equal(draw(0.5, 50), draw(0.5, 50, seed=1))


def test_the_values_are_left_alone():
    before = Q.copy()
    draw(0.5, 10)
    np.testing.assert_array_equal(Q, before)
