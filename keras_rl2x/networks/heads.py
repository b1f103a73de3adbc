"""Heads: the last layers, from a backbone's features to what an agent needs."""

import math

import keras

from keras_rl2x import spaces
from keras_rl2x.networks.functional import as_functional
from keras_rl2x.networks.memory import memory_size
from keras_rl2x.networks.memory import observation_input
from keras_rl2x.networks.noisy import NoisyDense
from keras_rl2x.networks.precision import single_precision

_CRITIC_INPUTS = {"action", "observation"}


@keras.saving.register_keras_serializable("keras_rl2x")
class MaskActions(keras.layers.Layer):
    """Values `[B, A]` where the mask is not 0, elsewhere `spaces.MASKED`.

    Args:
        choice: Boolean, whether one action must be chosen. Where nothing is
            allowed, as environments say of final observations, all values
            stay then: a truncated episode is bootstrapped from there. (Of
            bits, none need be set.) Defaults to `True`.
    """

    def __init__(self, choice=True, **kwargs):
        super().__init__(**kwargs)
        self.choice = choice

    def call(self, values, mask):
        flat = keras.ops.reshape(mask, (-1, values.shape[-1]))
        allowed = keras.ops.cast(flat, "bool")
        if self.choice:
            allowed |= ~keras.ops.any(allowed, axis=-1, keepdims=True)
        return keras.ops.where(allowed, values, spaces.MASKED)

    def get_config(self):
        return {**super().get_config(), "choice": self.choice}


@keras.saving.register_keras_serializable("keras_rl2x")
class AppendLogStd(keras.layers.Layer):
    """Means `[B, D]` to means and log deviations `[B, 2 D]`.

    The deviations are weights: they do not depend on the observation.

    Args:
        initial: Float, what they begin with.
    """

    def __init__(self, initial=0.0, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, shape):
        self.log_std = self.add_weight(
            name="log_std",
            shape=(1, shape[-1]),
            initializer=keras.initializers.Constant(self.initial),
        )

    def call(self, mean):
        # Not `broadcast_to`: its batch axis would not be known to the export.
        log_std = keras.ops.zeros_like(mean) + self.log_std
        return keras.ops.concatenate([mean, log_std], axis=-1)

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}


@single_precision()
def actor_critic(network, critic, leaf, num_params, log_std=0.0, seed=None):
    """A policy's parameters and a state value, on top of backbones.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`; if it
            is recurrent, the models that are returned end in its memory too.
        critic: Another for the value, or `None` to share `network`.
        leaf: The `spaces.Leaf` of the actions.
        num_params: Integer, the number of the distribution's parameters.
        log_std: Float, the initial log standard deviation of continuous
            actions.
        seed: Integer seed of the heads' initial weights. Defaults to `None`.

    Returns:
        Tuple of functional models of the same observations: to parameters
        `[B, P]`; to values `[B]`; and to both.

    Raises:
        ValueError: If an output does not fit; names the network.

    Reference:
     - [Andrychowicz et al., 2021](https://arxiv.org/abs/2006.05990), section
       3.2 (orthogonal weights, those of the policy's head 100 times smaller)
    """
    network = as_functional(network)
    inputs, features, memory = network.input, network.output, []
    if memory_size(network):
        features, *memory = features
        if critic is not None:
            raise ValueError(
                f"The network '{network.name}' has a memory, which the value "
                "must share: leave `critic` out. Received: "
                f"critic='{critic.name}'"
            )
    real = leaf.kind == "box"
    outputs = num_params // 2 if real else num_params
    params = _orthogonal(outputs, 0.01, "policy_head", seed)(
        vector(network, features)
    )
    if real:
        params = AppendLogStd(log_std, name="log_std_head")(params)
    else:
        choice = leaf.kind != "multi_binary"
        params = masked(params, observation_input(network), choice)
    if critic is not None:
        critic = as_functional(critic)
        vector(critic, critic.output)
        features = critic(inputs)
    value_seed = None if seed is None else seed + 1
    value = _orthogonal(1, 1.0, "value_head", value_seed)(features)
    value = keras.layers.Reshape(())(value)
    policy = [params, *memory] if memory else params
    return (
        keras.Model(inputs, policy, name="policy"),
        keras.Model(inputs, value, name="value"),
        keras.Model(inputs, [params, value, *memory], name="actor_critic"),
    )


@single_precision()
def real_actions(network, size, outputs, activation=None, seed=None):
    """Continuous actions, or their distribution's parameters, on a backbone.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        size: Integer, the numbers in an action.
        outputs: Integer: 1 for actions, 2 for means and log deviations, which
            are kept within -20 and 2.
        activation: As in `keras.layers.Dense`. Defaults to `None`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.

    Returns:
        A functional `keras.Model` from observations to `[B, outputs * size]`.

    Raises:
        ValueError: If the network's output does not fit; names it.
    """
    network = as_functional(network)
    features = vector(network, network.output)
    head = keras.layers.Dense(
        size,
        activation,
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        name="action_head",
    )
    result = head(features)
    if outputs == 2:
        log_std_seed = None if seed is None else seed + 1
        log_std = linear(size, "log_std_head", log_std_seed)
        bounded = keras.ops.clip(log_std(features), -20.0, 2.0)
        result = keras.layers.Concatenate()([result, bounded])
    return keras.Model(network.input, result, name="policy")


@single_precision()
def critic_value(critic, outputs=1, seed=None):
    """The value of an observation and an action, on top of a backbone.

    Args:
        critic: A `keras.Model` from `{"action": ..., "observation": ...}` to
            features `[B, F]`, such as `mlp(space, action_space=...)`.
        outputs: Integer, how many values. Defaults to 1.
        seed: Integer seed of the head's initial weights. Defaults to `None`.

    Returns:
        A functional `keras.Model` to values `[B]`, or `[B, outputs]`.

    Raises:
        ValueError: If its input or its output does not fit; names it.
    """
    critic = as_functional(critic)
    entries = critic.input
    if not isinstance(entries, dict) or set(entries) != _CRITIC_INPUTS:
        raise ValueError(
            f"The critic '{critic.name}' must take a dict of an 'action' and "
            "an 'observation': `rl.networks.mlp(observation_space, "
            f"action_space=action_space)` does. Received: {entries}"
        )
    value = linear(outputs, "value_head", seed)(vector(critic, critic.output))
    if outputs == 1:
        value = keras.layers.Reshape(())(value)
    return keras.Model(entries, value, name="critic")


@single_precision()
def action_logits(network, num_actions, seed=None):
    """Logits of a choice between actions, on top of a backbone.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        num_actions: Integer.
        seed: Integer seed of the head's initial weights. Defaults to `None`.

    Returns:
        A functional `keras.Model` from observations to `[B, num_actions]`.

    Raises:
        ValueError: If the network's output does not fit; names it.
    """
    network = as_functional(network)
    features = vector(network, network.output)
    logits = linear(num_actions, "logits_head", seed)(features)
    logits = masked(logits, network.input)
    return keras.Model(network.input, logits, name="policy")


def masked(values, obs, choice=True):
    """The values, if the observation says which actions are allowed.

    Args:
        values: Tensor `[B, A]`.
        obs: The network's observation input.
        choice: As in `MaskActions`. Defaults to `True`.
    """
    if not isinstance(obs, dict) or "action_mask" not in obs:
        return values
    mask = obs["action_mask"]
    if math.prod(mask.shape[1:]) != values.shape[-1]:
        raise ValueError(
            "The observation's 'action_mask' must have one entry for each of "
            f"the {values.shape[-1]} actions (of `MultiDiscrete`, for each "
            f"category of each entry). Received: shape {tuple(mask.shape[1:])}"
        )
    return MaskActions(choice)(values, mask)


def vector(backbone, features):
    """What the backbone ends in, if it is one tensor `[B, F]`."""
    shapes = keras.tree.map_structure(lambda t: tuple(t.shape), features)
    if not hasattr(features, "shape") or len(features.shape) != 2:
        raise ValueError(
            f"The network '{backbone.name}' must end in one vector for each "
            "observation, of shape (batch, features): add "
            "`keras.layers.Flatten()` or a pooling layer (for a model of "
            '`keras.applications`: include_top=False, pooling="avg"). '
            f"Received: output shape {shapes}"
        )
    return features


def linear(units, name, seed, noisy=False):
    """A layer without an activation, a `NoisyDense` or not."""
    if noisy:
        return NoisyDense(units, seed=seed, name=name)
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(
        int(units), kernel_initializer=initializer, name=name
    )


def _orthogonal(units, gain, name, seed):
    initializer = keras.initializers.Orthogonal(gain, seed)
    return keras.layers.Dense(
        int(units), kernel_initializer=initializer, name=name
    )
