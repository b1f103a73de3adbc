import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import ops

A = tf.constant([[4.0, 1.0], [1.0, 3.0]])
B = tf.constant([1.0, 2.0])


class Product:
    """`A x`, which counts how often it was asked."""

    def __init__(self, matrix):
        self.matrix = tf.constant(matrix, tf.float32)
        self.times = 0

    def __call__(self, vector):
        self.times += 1
        return tf.linalg.matvec(self.matrix, vector)


@pytest.mark.parametrize(
    ("iterations", "wanted"),
    [
        (0, [0, 0]),
        # A b = (6, 7); the step is |b|^2 / (b A b) = 5 / 20.
        (1, [0.25, 0.5]),
        # The residual is (-0.5, 0.25), the direction that plus b / 16:
        # (-0.4375, 0.375); the step is 0.3125 / 0.859375 = 4 / 11.
        (2, [1 / 11, 7 / 11]),
    ],
)
def test_by_hand(iterations, wanted):
    product = Product(A)
    x = ops.conjugate_gradient(product, B, iterations)
    np.testing.assert_allclose(x, wanted, rtol=1e-6)
    assert product.times == iterations


def spd(size, seed=0):
    """A random symmetric, positive definite matrix."""
    factor = np.random.default_rng(seed).normal(size=(size, size))
    return factor @ factor.T / size + 0.5 * np.eye(size)


@pytest.mark.parametrize("size", [1, 2, 5, 30])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_solves_as_numpy_does(size, scale):
    matrix = spd(size)
    target = scale * np.random.default_rng(1).normal(size=size)
    x = ops.conjugate_gradient(
        Product(matrix), tf.constant(target, tf.float32), 2 * size
    )
    wanted = np.linalg.solve(matrix, target)
    np.testing.assert_allclose(x, wanted, rtol=1e-3, atol=2e-3 * scale)


def test_each_iteration_comes_closer():
    matrix, target = spd(20), np.random.default_rng(1).normal(size=20)
    wanted = np.linalg.solve(matrix, target)

    def distance(iterations):
        x = ops.conjugate_gradient(
            Product(matrix), tf.constant(target, tf.float32), iterations
        )
        error = np.array(x) - wanted
        return error @ matrix @ error

    # In the matrix's own norm, what the method promises.
    distances = [distance(n) for n in range(7)]
    assert np.all(np.diff(distances) < 0)
    assert distances[-1] < 0.05 * distances[0]


def test_ends_at_the_tolerance():
    # One step solves it: the residual is 0, and a further one would be 0 / 0.
    product = Product(2 * np.eye(3))
    target = tf.constant([1.0, -2.0, 3.0])
    x = ops.conjugate_gradient(product, target, 10)
    assert product.times == 1
    np.testing.assert_array_equal(x, [0.5, -1, 1.5])


def test_a_greater_tolerance_ends_it_earlier():
    # |b|^2 = 5, and 0.3125 after one step: the 0.0625th part.
    for tolerance, times in [(1.2, 0), (0.1, 1), (0.02, 2)]:
        product = Product(A)
        ops.conjugate_gradient(product, B, 10, tolerance)
        assert product.times == times


def test_nothing_to_solve():
    product = Product(A)
    x = ops.conjugate_gradient(product, tf.zeros(2), 10)
    np.testing.assert_array_equal(x, [0, 0])
    assert product.times == 0


def test_in_a_graph():
    matrix, target = spd(5), np.ones(5)

    @tf.function
    def solve(target):
        return ops.conjugate_gradient(Product(matrix), target, 10)

    x = solve(tf.ones(5))
    np.testing.assert_allclose(x, np.linalg.solve(matrix, target), rtol=1e-4)


def test_ranks_are_checked():
    with pytest.raises(ValueError, match="`target` must have 1 axes"):
        ops.conjugate_gradient(Product(A), B[:, None], 10)
