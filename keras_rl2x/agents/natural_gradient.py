"""Products with the Fisher matrix, and weights as one vector."""

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
