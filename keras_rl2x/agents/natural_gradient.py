"""Steps along the natural gradient, of weights as one vector."""

import math

import tensorflow as tf


def fisher_vector_product(kl, variables, vector):
    """The Hessian of the mean KL divergence, times a vector.

    At the old policy this is the Fisher matrix. Forward over reverse: one
    gradient, and its derivative along the vector.

    Args:
        kl: Function without arguments that returns the scalar divergence.
        variables: List of `keras.Variable`s, with P entries in all.
        vector: Tensor `[P]`.

    Returns:
        Tensor `[P]`.
    """
    primals = [variable.value for variable in variables]
    tangents = unflatten(vector, variables)
    with tf.autodiff.ForwardAccumulator(primals, tangents) as accumulator:
        with tf.GradientTape() as tape:
            divergence = kl()
        gradient = tape.gradient(
            divergence, variables, unconnected_gradients="zero"
        )
    return flatten(accumulator.jvp(gradient, unconnected_gradients="zero"))


def line_search(variables, step, judge, max_kl, steps, shrink):
    """Takes the longest step that improves and keeps the constraint.

    Args:
        variables: List of `keras.Variable`s, with P entries in all; moved.
        step: Tensor `[P]`, the longest that is tried.
        judge: Function without arguments that returns scalars, the improvement
            and the divergence of the variables as they are.
        max_kl: Float, the divergence that is allowed.
        steps: Integer, how many to try.
        shrink: Float, the length of each to that of the one before.

    Returns:
        Tuple of scalars: the fraction of the step that was taken (0 for none),
        its improvement and its divergence.
    """
    start = flatten([tf.identity(variable) for variable in variables])

    def refused(i, size, *_):
        return (i < steps) & (size == 0)

    def attempt(i, *_):
        size = shrink ** tf.cast(i, "float32")
        assign(variables, start + size * step)
        improvement, divergence = judge()
        # Of a number that is not finite, neither is true.
        good = (divergence <= max_kl) & (improvement > 0)
        found = tf.where(good, tf.stack([size, improvement, divergence]), 0.0)
        return i + 1, *tf.unstack(found)

    _, size, improvement, divergence = tf.while_loop(
        refused, attempt, (0, 0.0, 0.0, 0.0)
    )
    end = tf.where(size > 0, start + size * step, start)
    assign(variables, end)
    return size, improvement, divergence


def flatten(tensors):
    """A list of tensors as one vector `[P]`."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def unflatten(vector, variables):
    """The inverse: tensors of the shapes of the variables."""
    sizes = [math.prod(variable.shape) for variable in variables]
    return [
        tf.reshape(part, variable.shape)
        for part, variable in zip(tf.split(vector, sizes), variables)
    ]


def assign(variables, vector):
    """Writes a vector `[P]` into variables."""
    for variable, value in zip(variables, unflatten(vector, variables)):
        variable.assign(value)
