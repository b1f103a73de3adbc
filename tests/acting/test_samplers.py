import numpy as np
import pytest
import scipy.stats
from gymnasium import spaces as gym
from gymnasium.vector.utils import batch_space

from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.spaces import MASKED

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


# Masks of epsilon_greedy

ALLOWED = np.array([[0.0, MASKED, -7.0, MASKED], [MASKED, -50.0, 3.0, 4.0]])


def draw_allowed(epsilon, times=5_000):
    rng = np.random.default_rng(0)
    return np.array(
        [samplers.epsilon_greedy(ALLOWED, rng, epsilon) for _ in range(times)]
    ).T


def test_a_masked_action_is_never_explored():
    first, second = draw_allowed(epsilon=1.0)
    for actions, allowed in ((first, [0, 2]), (second, [1, 2, 3])):
        counts = np.bincount(actions, minlength=4)
        assert counts.sum() == counts[allowed].sum()
        assert scipy.stats.chisquare(counts[allowed]).pvalue > 1e-3


def test_epsilon_counts_the_allowed_actions_only():
    # The best of two: 1 - 0.4 + 0.4 / 2 = 0.8.
    first, _ = draw_allowed(epsilon=0.4)
    assert set(first) == {0, 2}
    best = int((first == 0).sum())
    assert scipy.stats.binomtest(best, len(first), 0.8).pvalue > 1e-3


def test_greedy_among_the_allowed():
    rng = np.random.default_rng(0)
    action = samplers.epsilon_greedy(ALLOWED, rng, epsilon=0.0)
    np.testing.assert_array_equal(action, [0, 3])


def test_one_allowed_action_is_always_taken():
    q = np.array([[MASKED, MASKED, -1e6]], "f4")
    rng = np.random.default_rng(0)
    drawn = [int(samplers.epsilon_greedy(q, rng, 1.0)[0]) for _ in range(50)]
    assert set(drawn) == {2}


# Those of distributions

CHANCES = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
LOGITS = np.log(CHANCES).astype("f4")


def frequencies(drawn, num_classes):
    return np.bincount(drawn, minlength=num_classes)


def test_categorical_draws_by_the_probabilities():
    rng = np.random.default_rng(0)
    drawn = samplers.categorical(np.repeat(LOGITS, 10_000, axis=0), rng)
    assert drawn.dtype.kind == "i"
    for actions, chances in zip(drawn.reshape(2, -1), CHANCES):
        counts = frequencies(actions, 3)
        assert scipy.stats.chisquare(counts, 10_000 * chances).pvalue > 1e-3


def test_categorical_never_draws_what_is_masked():
    logits = np.tile(np.array([[MASKED, -20.0, MASKED]], "f4"), (10_000, 1))
    drawn = samplers.categorical(logits, np.random.default_rng(0))
    assert set(drawn) == {1}


def test_multi_categorical_draws_each_entry():
    # A fair coin, and the categories of the first row above.
    logits = np.concatenate([[0, 0], LOGITS[0]])[None].repeat(20_000, axis=0)
    rng = np.random.default_rng(0)
    drawn = samplers.multi_categorical(logits, rng, (2, 3), (2,))
    assert drawn.shape == (20_000, 2)
    # Of pairs, for the entries are independent.
    counts = frequencies(3 * drawn[:, 0] + drawn[:, 1], 6)
    wanted = 10_000 * np.tile([0.5, 0.3, 0.2], 2)
    assert scipy.stats.chisquare(counts, wanted).pvalue > 1e-3


def test_multi_categorical_in_two_dimensions():
    # Nearly certain of [[0, 2], [1, 0]]; one row of it, and another of zeros.
    logits = np.array([[50, 0, 0, 0, 50, 0, 50, 50], [0] * 8])
    rng = np.random.default_rng(0)
    shape, num_classes = (2, 2), (2, 3, 2, 1)
    drawn = samplers.multi_categorical(logits, rng, num_classes, shape)
    assert drawn.shape == (2, 2, 2)
    np.testing.assert_array_equal(drawn[0], [[0, 2], [1, 0]])
    assert np.all(drawn[1].ravel() < num_classes)


def test_bernoulli_draws_by_the_probabilities():
    # sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2; and of pairs, as above.
    logits = np.tile(np.log([[3.0, 1.0]]), (20_000, 1))
    drawn = samplers.bernoulli(logits, np.random.default_rng(0), (2,))
    assert drawn.shape == (20_000, 2)
    assert drawn.dtype == "uint8"
    counts = frequencies(2 * drawn[:, 0] + drawn[:, 1], 4)
    wanted = [2_500, 2_500, 7_500, 7_500]
    assert scipy.stats.chisquare(counts, wanted).pvalue > 1e-3


def test_gaussian_draws_normal_numbers():
    # N(1, 2^2) and N(-3, 0.5^2).
    params = np.tile(
        np.array([[1.0, -3.0, np.log(2), -np.log(2)]], "f4"), (20_000, 1)
    )
    drawn = samplers.gaussian(params, np.random.default_rng(0), (2, 1))
    assert drawn.shape == (20_000, 2, 1)
    assert drawn.dtype == "float32"
    for entry, mean, scale in zip(drawn[..., 0].T, (1, -3), (2, 0.5)):
        normal = (entry - mean) / scale
        assert scipy.stats.kstest(normal, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[..., 0].T)[0, 1]) < 5 / np.sqrt(20_000)


def generator(seed):
    return np.random.default_rng(seed)


SPACES = [
    # The space, one row of outputs, and the most probable action.
    (gym.Discrete(3, start=7), [0.1, 0.3, -1.0], 1),
    (gym.MultiDiscrete([2, 3]), [0.1, 0.0, -1.0, -2.0, 0.0], [0, 2]),
    (gym.MultiDiscrete([[2], [2]]), [0.1, 0.0, -1.0, 0.0], [[0], [1]]),
    (gym.MultiBinary([1, 3]), [0.1, -0.1, 0.0], [[1, 0, 0]]),
    (gym.Box(0, 9, (1, 2)), [0.5, -4.0, 0.0, 1.0], [[0.5, -4.0]]),
    (gym.Box(-1, 1, ()), [0.25, 0.0], 0.25),
]


@pytest.mark.parametrize(("space", "row", "best"), SPACES, ids=str)
def test_for_space(space, row, best):
    leaf = spaces.action_spec(space)
    sampler = samplers.for_space(leaf)
    outputs = np.array([row] * 50, "f4")
    rng = generator(0)
    drawn = sampler(outputs, rng)
    assert drawn.shape == (50, *leaf.shape)
    assert len(np.unique(drawn.reshape(50, -1), axis=0)) > 1
    np.testing.assert_array_equal(drawn, sampler(outputs, generator(0)))
    assert not np.array_equal(drawn, sampler(outputs, generator(1)))
    np.testing.assert_array_equal(outputs, np.array([row] * 50, "f4"))
    # What it draws counts from 0: the environment's counting is `to_env`'s.
    assert batch_space(space, 50).contains(spaces.to_env(leaf, drawn))
    # Greedy is the most probable, and draws nothing.
    before = rng.bit_generator.state
    greedy = sampler(outputs, rng, greedy=True)
    np.testing.assert_array_equal(greedy, np.array([best] * 50, greedy.dtype))
    assert greedy.shape == drawn.shape
    assert rng.bit_generator.state == before


def test_noise_stays_within_the_bounds():
    action = np.array([[0.9, -0.9, 0.0]], "f4").repeat(10_000, 0)
    rng = np.random.default_rng(0)
    drawn = samplers.noisy(action, rng, (3,), noise=0.5)
    assert drawn.min() == -1 and drawn.max() == 1
    # 0.9 + 0.5 xi > 1 for xi > 0.2, with a probability of 0.4207.
    assert abs(np.mean(drawn[:, 0] == 1) - 0.4207) < 0.02
    assert abs(np.mean(drawn[:, 1] == -1) - 0.4207) < 0.02
    before = rng.bit_generator.state
    np.testing.assert_array_equal(samplers.noisy(action, rng, (3,)), action)
    assert rng.bit_generator.state == before
