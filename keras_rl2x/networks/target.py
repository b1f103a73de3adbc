"""Target networks: a network's second set of weights, and what moves them."""

import keras


class Target(keras.layers.Layer):
    """A network computed with a delayed copy of its weights.

    The architecture is not cloned, the copy is of variables only: so any
    Keras model can have a target, one with Lambda layers too. Only `track`
    writes them.

    Args:
        network: A built `keras.Model`.
    """

    def __init__(self, network, **kwargs):
        super().__init__(trainable=False, **kwargs)
        # A bound method is not tracked as a sublayer would be: the network's
        # own weights stay the agent's, once.
        self._compute = network.stateless_call
        self._num_trainable = len(network.trainable_variables)
        self.copies = []
        for source in _variables(network):
            copy = self.add_weight(
                shape=source.shape,
                dtype=source.dtype,
                name=source.name,
                initializer="zeros",
                trainable=False,
            )
            copy.assign(source)
            self.copies.append(copy)
        self.built = True

    def call(self, obs):
        values = [copy.value for copy in self.copies]
        cut = self._num_trainable
        outputs, _ = self._compute(
            values[:cut], values[cut:], obs, training=False
        )
        return outputs


def track(target, source, tau):
    """Moves a target's weights: `target += tau * (source - target)`.

    Args:
        target: A `Target`.
        source: The network that it was made of.
        tau: Float in (0, 1]; 1 copies.

    Reference:
     - [Lillicrap et al., 2016](https://arxiv.org/abs/1509.02971), algorithm 1
    """
    for copy, variable in zip(target.copies, _variables(source)):
        fractional = keras.backend.is_float_dtype(variable.dtype)
        if tau == 1 or not fractional:
            copy.assign(variable)
        else:
            copy.assign_add(tau * (variable - copy))


def _variables(network):
    return network.trainable_variables + network.non_trainable_variables
