import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import ops


def f32(*values):
    return tf.constant(values, tf.float32)


def logits_of(*probabilities):
    """Logits, with a constant added that must not matter."""
    return tf.math.log(f32(*probabilities)) + 3.0


def slow_projection(reward, discount, p_next, support):
    """Algorithm 1 of the paper, with its loops, in float64.

    Where a moved atom falls on one of the support, the paper's two shares are
    both 0: all of it goes to that atom.
    """
    support = np.asarray(support, "f8")
    v_min, v_max, atoms = support[0], support[-1], len(support)
    step = (v_max - v_min) / (atoms - 1)
    projected = np.zeros((len(reward), atoms))
    for row in range(len(reward)):
        for j in range(atoms):
            moved = reward[row] + discount[row] * support[j]
            b = (min(max(moved, v_min), v_max) - v_min) / step
            lower, upper = int(np.floor(b)), int(np.ceil(b))
            if lower == upper:
                projected[row, lower] += p_next[row, j]
            else:
                projected[row, lower] += p_next[row, j] * (upper - b)
                projected[row, upper] += p_next[row, j] * (b - lower)
    return projected


# categorical_support


def test_support():
    support = ops.categorical_support(-1, 3, 5)
    np.testing.assert_array_equal(support, [-1, 0, 1, 2, 3])
    assert support.dtype == tf.float32


@pytest.mark.parametrize(
    "wrong",
    [(0, 1, 1), (1, 1, 5), (2, 1, 5), (np.nan, 1, 5), (0, np.inf, 5)],
)
def test_wrong_support(wrong):
    with pytest.raises(ValueError, match="2 `atoms` or more.*atoms="):
        ops.categorical_support(*wrong)


# categorical_mean


def test_mean():
    support = f32(0, 10, 20)
    # 0.5 * 0 + 0.25 * 10 + 0.25 * 20 = 7.5.
    mean = ops.categorical_mean(
        logits_of([[0.5, 0.25, 0.25], [0, 0, 1]]), support
    )
    np.testing.assert_allclose(mean, [[7.5, 20]], rtol=1e-6)


# categorical_target

SUPPORT = f32(0, 1, 2, 3, 4)


def project(reward, discount, *p_next):
    target = ops.categorical_target(
        f32(reward), f32(discount), logits_of(p_next), SUPPORT
    )
    return target[0]


def test_between_two_atoms():
    # All at 2: moved to 0.25 + 0.5 * 2 = 1.25, a quarter of the way to 2.
    np.testing.assert_allclose(
        project(0.25, 0.5, 0, 0, 1, 0, 0), [0, 0.75, 0.25, 0, 0], atol=1e-6
    )


def test_each_atom_is_moved():
    # Half at 0, to 1; half at 3, to 1 + 1.5 = 2.5, between 2 and 3.
    np.testing.assert_allclose(
        project(1, 0.5, 0.5, 0, 0, 0.5, 0), [0, 0.5, 0.25, 0.25, 0], atol=1e-6
    )


def test_on_the_atoms_nothing_is_lost():
    p = [0.1, 0.2, 0.3, 0.25, 0.15]
    np.testing.assert_allclose(project(0, 1, *p), p, rtol=1e-5)
    # All one up; the last two meet at the end.
    np.testing.assert_allclose(
        project(1, 1, *p), [0, 0.1, 0.2, 0.3, 0.4], atol=1e-6
    )


@pytest.mark.parametrize(
    ("reward", "at"), [(-5, 0), (0, 0), (3, 3), (4, 4), (100, 4), (np.inf, 4)]
)
def test_an_end_is_the_reward_alone(reward, at):
    # Discount 0: all at the reward, or at the end that it exceeds.
    target = project(reward, 0, 0.2, 0.2, 0.2, 0.2, 0.2)
    np.testing.assert_allclose(target, np.eye(5)[at], atol=1e-6)


def test_beyond_both_ends():
    # -2 + 2 z: -2, 0, 2, 4 and 6.
    np.testing.assert_allclose(
        project(-2, 2, 0.1, 0.2, 0.3, 0.3, 0.1),
        [0.3, 0, 0.3, 0, 0.4],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("v_min", "v_max", "atoms"), [(-10, 10, 51), (0, 200, 101), (-1, 2, 2)]
)
def test_against_the_loops_of_the_paper(v_min, v_max, atoms):
    rng = np.random.default_rng(atoms)
    support = ops.categorical_support(v_min, v_max, atoms)
    size, step = 64, (v_max - v_min) / (atoms - 1)
    reward = rng.normal(0, 5, size)
    reward[:16] = step * rng.integers(-3, 4, 16)  # On the atoms, where the
    discount = rng.uniform(0, 1, size)  # discount is 1 or 0.
    discount[:8], discount[8:16], discount[16:24] = 1, 0, 0
    reward[24:28], reward[28:32] = 1e3, -1e3  # Beyond the ends, all of it.
    logits = rng.normal(0, 3, (size, atoms))
    p_next = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = ops.categorical_target(
        f32(*reward), f32(*discount), f32(*logits), support
    )
    expected = slow_projection(reward, discount, p_next, support)
    np.testing.assert_allclose(target, expected, atol=2e-5)
    np.testing.assert_allclose(np.sum(target, axis=1), 1, rtol=1e-5)


def test_the_projection_keeps_the_mean_within_the_support():
    rng = np.random.default_rng(0)
    support = ops.categorical_support(-10, 10, 51)
    reward, discount = f32(*rng.normal(size=8)), f32(*rng.uniform(0, 0.8, 8))
    logits = f32(*rng.normal(size=(8, 51)))
    target = ops.categorical_target(reward, discount, logits, support)
    np.testing.assert_allclose(
        np.sum(target * support, axis=1),
        reward + discount * ops.categorical_mean(logits, support),
        atol=1e-5,
    )


def test_the_target_stops_the_gradient():
    logits = logits_of([0.2, 0.2, 0.2, 0.2, 0.2])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        target = ops.categorical_target(f32(1), f32(0.5), logits, SUPPORT)
    assert tape.gradient(target, logits) is None


@pytest.mark.parametrize(
    "wrong", ["reward", "discount", "logits_next", "support"]
)
def test_the_target_checks_ranks(wrong):
    shapes = {"reward": (2,), "discount": (2,), "support": (3,)}
    shapes |= {"logits_next": (2, 3), wrong: (2, 1, 3)}
    with pytest.raises(ValueError, match=f"`{wrong}` must have"):
        ops.categorical_target(**{k: tf.zeros(s) for k, s in shapes.items()})


# categorical_kl


def test_kl():
    # 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75) = 0.14384.
    kl = ops.categorical_kl(f32([0.5, 0.5]), logits_of([0.25, 0.75]))
    np.testing.assert_allclose(kl, [0.143841], rtol=1e-5)


def test_kl_of_a_certain_target():
    # The cross-entropy alone: -log 0.25.
    kl = ops.categorical_kl(f32([1, 0, 0]), logits_of([0.25, 0.25, 0.5]))
    np.testing.assert_allclose(kl, [np.log(4)], rtol=1e-6)


def test_kl_is_0_where_nothing_is_left_to_learn():
    p = [0.5, 0.25, 0.25]
    np.testing.assert_allclose(
        ops.categorical_kl(f32(p), logits_of(p)), [0], atol=1e-6
    )


def test_the_gradient_of_kl_is_that_of_the_cross_entropy():
    logits, target = logits_of([0.25, 0.25, 0.5]), f32([0.6, 0.4, 0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        kl = ops.categorical_kl(target, logits)
    # p - m.
    np.testing.assert_allclose(
        tape.gradient(kl, logits), [[-0.35, -0.15, 0.5]], atol=1e-6
    )


@pytest.mark.parametrize("wrong", ["target", "logits"])
def test_kl_checks_ranks(wrong):
    arguments = {"target": tf.zeros((2, 3)), "logits": tf.zeros((2, 3))}
    arguments[wrong] = tf.zeros(3)
    with pytest.raises(ValueError, match=f"`{wrong}` must have 2 axes"):
        ops.categorical_kl(**arguments)
