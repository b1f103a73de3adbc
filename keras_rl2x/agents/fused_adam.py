"""Adam as Keras defines it, by TensorFlow's own kernels.

Keras writes a step as a dozen operations for each variable, each with a pass
over all of its numbers. The kernels pass over them once, in a third of the time
(medians on two slow cores, global clipping included: 5.6 ms in the place of
12.1 for `nature_cnn`, 0.26 of 0.59 for two layers of 256 units). An update as a
whole takes 5 to 15 % less.
"""

import keras
import tensorflow as tf


def fused(optimizer):
    """An optimizer that takes the same steps in less time, if there is one.

    Args:
        optimizer: A Keras optimizer.

    Returns:
        For a plain `keras.optimizers.Adam` that is built another with the same
        variables and settings, equal up to rounding; any other as it is.
    """
    plain = type(optimizer) is keras.optimizers.Adam and not optimizer.amsgrad
    # A kernel knows one copy of a variable.
    alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
    if not (plain and optimizer.built and alone):
        return optimizer
    same = _Adam.__new__(_Adam)
    vars(same).update(vars(optimizer))
    return same


class _Adam(keras.optimizers.Adam):
    def update_step(self, gradient, variable, learning_rate):
        if isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return

        def number(value):
            return tf.cast(value, variable.dtype)

        index = self._get_variable_index(variable)
        step = number(self.iterations + 1)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=number(self.beta_1) ** step,
            beta2_power=number(self.beta_2) ** step,
            lr=number(learning_rate),
            beta1=number(self.beta_1),
            beta2=number(self.beta_2),
            epsilon=number(self.epsilon),
            grad=number(gradient),
        )

    def _clip_gradients(self, grads):
        if self.clipnorm or not self.global_clipnorm:
            return super()._clip_gradients(grads)
        clipped, _ = tf.clip_by_global_norm(grads, self.global_clipnorm)
        return clipped
