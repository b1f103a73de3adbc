"""Trust regions: solving for the natural gradient without its matrix."""

import keras

from keras_rl2x.ops.checks import assert_rank


def conjugate_gradient(product, target, iterations, tolerance=1e-10):
    """Solves `A x = target` for a symmetric, positive definite A.

    Args:
        product: Function from a vector x to `A x`, both tensors `[P]`.
        target: Tensor `[P]`.
        iterations: Integer, the most products to compute.
        tolerance: Float: it ends when the squared residual is less than this
            part of the squared target.

    Returns:
        Tensor `[P]`, x.

    Reference:
     - [Hestenes & Stiefel, 1952](https://doi.org/10.6028/jres.049.044),
       eq. 3:1
    """
    assert_rank(1, target=target)

    def go_on(i, x, residual, direction, squared):
        return keras.ops.logical_and(i < iterations, squared > enough)

    def step(i, x, residual, direction, squared):
        image = product(direction)
        size = squared / keras.ops.sum(direction * image)
        x = x + size * direction
        residual = residual - size * image
        now = keras.ops.sum(residual * residual)
        direction = residual + now / squared * direction
        return i + 1, x, residual, direction, now

    squared = keras.ops.sum(target * target)
    enough = tolerance * squared
    start = (0, keras.ops.zeros_like(target), target, target, squared)
    return keras.ops.while_loop(go_on, step, start)[1]
