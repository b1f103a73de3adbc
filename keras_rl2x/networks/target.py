"""Target networks: a network's second set of weights, and what moves them."""

import keras

from keras_rl2x.networks.noisy import is_noise


class Target(keras.layers.Layer):
    """A network computed with a delayed copy of its weights.

    The architecture is not cloned, the copy is of variables only: so any
    Keras model can have a target, one with Lambda layers too. Only `track`
    writes them.

    Args:
        network: A built `keras.Model`.
    """

    def __init__(self, network, **kwargs):
        # It must not cast what the network would not: neither weights nor
        # observations.
        super().__init__(trainable=False, autocast=False, **kwargs)
        self.copies = []
        for source in network.variables:
            copy = self.add_weight(
                shape=source.shape,
                dtype=source.dtype,
                name=source.name,
                initializer="zeros",
                trainable=False,
                autocast=False,
            )
            copy.assign(source)
            copy.is_noise = is_noise(source)
            self.copies.append(copy)

        # Keras does not look into a function for sublayers: the network's
        # own weights stay the agent's, once.
        def compute(obs):
            values = [copy.value for copy in self.copies]
            with keras.StatelessScope(zip(network.variables, values)):
                return network(obs, training=False)

        self._compute = compute
        self.built = True

    def call(self, obs):
        return self._compute(obs)


def track(target, source, tau):
    """Moves a target's weights: `target += tau * (source - target)`.

    Its noise is its own, and stays; see `resample_noise`.

    Args:
        target: A `Target`.
        source: The network that it was made of.
        tau: Float in (0, 1]; 1 copies.

    Reference:
     - [Lillicrap et al., 2016](https://arxiv.org/abs/1509.02971), algorithm 1
    """
    for copy, variable in zip(target.copies, source.variables):
        if is_noise(variable):
            continue
        fractional = keras.backend.is_float_dtype(variable.dtype)
        if tau == 1 or not fractional:
            copy.assign(variable)
        else:
            copy.assign_add(tau * (variable - copy))
