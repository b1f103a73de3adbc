import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import ops


def f32(*values):
    return tf.constant(values, tf.float32)


# quantile_midpoints


def test_midpoints():
    np.testing.assert_allclose(ops.quantile_midpoints(1), [0.5])
    np.testing.assert_allclose(
        ops.quantile_midpoints(4), [0.125, 0.375, 0.625, 0.875]
    )


# truncated_mixture


def test_mixture_drops_the_greatest_of_all_critics():
    first, second = f32([1, 9, 8], [1, 2, 3]), f32([4, 2, 0], [6, 5, 4])
    # One for each critic, two in all: 9 and 8 are both the first one's.
    np.testing.assert_array_equal(
        ops.truncated_mixture([first, second], 1), [[0, 1, 2, 4], [1, 2, 3, 4]]
    )


def test_mixture_that_drops_nothing_is_sorted():
    np.testing.assert_array_equal(
        ops.truncated_mixture([f32([3, 1, 2])], 0), [[1, 2, 3]]
    )


def test_mixture_checks_ranks():
    with pytest.raises(ValueError, match=r"`quantiles\[1\]` must have 2 axes"):
        ops.truncated_mixture([tf.zeros((2, 3)), tf.zeros(2)], 0)


# quantile_target


def test_target_shifts_and_scales_each_quantile():
    target = ops.quantile_target(f32(1, 2), f32(0.5, 0), f32([4, 6], [8, 9]))
    # 1 + 4/2, 1 + 6/2; the second ended: its reward alone.
    np.testing.assert_array_equal(target, [[3, 4], [2, 2]])


def test_target_stops_the_gradient():
    quantiles = f32([4, 6])
    with tf.GradientTape() as tape:
        tape.watch(quantiles)
        target = ops.quantile_target(f32(1), f32(0.5), quantiles)
    assert tape.gradient(target, quantiles) is None


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (((2, 1), (2,), (2, 3)), "reward"),
        (((2,), (2, 1), (2, 3)), "discount"),
        (((2,), (2,), (2,)), "quantiles_next"),
    ],
)
def test_target_checks_ranks(shapes, name):
    with pytest.raises(ValueError, match=f"`{name}` must have"):
        ops.quantile_target(*map(tf.zeros, shapes))


# quantile_huber


def test_loss_by_hand():
    # Quantiles 0 and 2 at 1/4 and 3/4; targets 0.5, 1 and 4.
    loss = ops.quantile_huber(f32([0, 2]), f32(0.25, 0.75), f32([0.5, 1, 4]))
    # All targets lie above 0, and weigh 1/4 each: 1/8, 1/2 and 4 - 1/2.
    first = 0.25 * (0.125 + 0.5 + 3.5) / 3
    # Two lie below 2, and weigh 1/4 each: 1.5 - 1/2 and 1/2; 4 weighs 3/4.
    second = (0.25 * (1 + 0.5) + 0.75 * 1.5) / 3
    np.testing.assert_allclose(loss, [[first, second]], rtol=1e-6)


def slow_loss(quantiles, fractions, target):
    """Equations 9 and 10, one number at a time."""
    loss = np.zeros(quantiles.shape)
    for b, row in enumerate(quantiles):
        for i, z in enumerate(row):
            terms = []
            for y in target[b]:
                u = float(y) - float(z)
                size = 0.5 * u * u if abs(u) <= 1 else abs(u) - 0.5
                tau = float(fractions[b, i])
                terms.append((tau if u >= 0 else 1 - tau) * size)
            loss[b, i] = np.mean(terms)
    return loss


def test_loss_is_that_of_a_slow_reference():
    rng = np.random.default_rng(0)
    quantiles = rng.normal(0, 2, (5, 4)).astype("f4")
    target = rng.normal(0, 2, (5, 7)).astype("f4")
    fractions = rng.uniform(0, 1, (5, 4)).astype("f4")
    np.testing.assert_allclose(
        ops.quantile_huber(*map(tf.constant, (quantiles, fractions, target))),
        slow_loss(quantiles, fractions, target),
        rtol=1e-5,
    )


def test_fractions_may_be_shared_by_the_rows():
    rng = np.random.default_rng(0)
    quantiles, target = tf.constant(rng.normal(size=(2, 3, 4)), "float32")
    fractions = ops.quantile_midpoints(4)
    np.testing.assert_array_equal(
        ops.quantile_huber(quantiles, fractions, target),
        ops.quantile_huber(quantiles, tf.stack([fractions] * 3), target),
    )


def test_gradient_by_hand():
    # Huber's slope is the error within [-1, 1]: 1/2 and then 1; both pull up
    # with 1/4. The mean over two targets halves them.
    quantiles = f32([0])
    with tf.GradientTape() as tape:
        tape.watch(quantiles)
        loss = ops.quantile_huber(quantiles, f32(0.25), f32([0.5, 4]))
    np.testing.assert_allclose(
        tape.gradient(loss, quantiles), [[-0.25 * (0.5 + 1) / 2]]
    )


def test_gradient_is_that_of_a_slow_reference():
    rng = np.random.default_rng(1)
    quantiles, fractions = rng.normal(0, 2, (2, 3)), rng.uniform(0, 1, (2, 3))
    target, weight = rng.normal(0, 2, (2, 7)), rng.normal(size=(2, 3))
    now = f32(*quantiles)
    with tf.GradientTape() as tape:
        tape.watch(now)
        loss = ops.quantile_huber(now, f32(*fractions), f32(*target))
        loss = tf.reduce_sum(f32(*weight) * loss)
    slow = np.zeros((2, 3))
    for place in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[place] = 1e-5
        up = slow_loss(quantiles + step, fractions, target)
        down = slow_loss(quantiles - step, fractions, target)
        slow[place] = np.sum(weight * (up - down)) / 2e-5
    np.testing.assert_allclose(
        tape.gradient(loss, now), slow, rtol=1e-4, atol=1e-5
    )


def test_what_minimises_it_are_the_quantiles():
    # Spread far beyond 1, where the Huber loss is linear: of the numbers 0 to
    # 990, the quantiles at the fractions.
    target = 10 * tf.range(100, dtype="float32")[None]
    fractions = f32(0.105, 0.505, 0.905)
    quantiles = tf.Variable([[300.0, 300, 300]])

    @tf.function
    def descend():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(
                ops.quantile_huber(quantiles, fractions, target)
            )
        quantiles.assign_sub(2 * tape.gradient(loss, quantiles))

    for _ in range(3_000):
        descend()
    np.testing.assert_allclose(quantiles, [[100, 500, 900]], atol=1)


@pytest.mark.parametrize(
    ("shapes", "name"),
    [(((2,), (2,)), "quantiles"), (((2, 3), (2,)), "target")],
)
def test_loss_checks_ranks(shapes, name):
    quantiles, target = map(tf.zeros, shapes)
    with pytest.raises(ValueError, match=f"`{name}` must have"):
        ops.quantile_huber(quantiles, tf.zeros(3), target)
