"""A policy network in the graph: one concrete function."""

import tensorflow as tf

from keras_rl2x.acting import export
from keras_rl2x.compiled import Compiled


class GraphNetwork:
    """Computes one network for one batch size, with a copy of its weights.

    For what LiteRT does not convert, for large convolutions, for a GPU.

    Args:
        network: A functional `keras.Model`.
        batch_size: Integer.
    """

    def __init__(self, network, batch_size):
        self._copies = [
            tf.Variable(variable.value, trainable=False)
            for variable in export.weights(network)
        ]
        specs = tf.nest.map_structure(
            lambda x: tf.TensorSpec((batch_size, *x.shape[1:]), x.dtype),
            network.input,
        )

        def compute(obs):
            values = [tf.convert_to_tensor(copy) for copy in self._copies]
            return export.compute(network, values, obs)

        self._compute = Compiled(compute, (specs,))

    def set_weights(self, weights):
        """Takes a copy of the weights; see `HostNetwork`."""
        for copy, value in zip(self._copies, weights):
            if value is not None:
                copy.assign(value)

    def __call__(self, obs):
        """The network's outputs, as arrays; see `HostNetwork`."""
        outputs = [output.numpy() for output in self._compute(obs)]
        return outputs[0] if len(outputs) == 1 else outputs
