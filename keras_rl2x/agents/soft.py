"""What agents that learn entropy share: a stochastic actor, a temperature."""

import functools
import math

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.acting.noise import check_correlation
from keras_rl2x.agents import continuous

# Rewards of any sensible size need one within these. Beyond them, where no
# temperature gives the entropy that is asked for, it would grow to infinity.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-6, 1e6


def build(
    agent,
    network,
    actor_optimizer,
    temperature,
    temperature_optimizer,
    target_entropy,
    noise_correlation,
):
    """Gives an agent its Gaussian actor, squashed by tanh, and a temperature.

    Args:
        agent: An `Agent`; sets its `network`, `actor`, `distribution`,
            `sampler`, `actor_optimizer` and `noise_correlation`, and what
            `build_temperature` sets.
        network: A `keras.Model` from observations to features `[B, F]`.
        actor_optimizer: A Keras optimizer, or `None` for `Adam(3e-4)`.
        temperature: As `initial` there.
        temperature_optimizer: As `optimizer` there.
        target_entropy: As there; or `None`: minus the action's dimensions.
        noise_correlation: Float, see `acting.OrnsteinUhlenbeck`.
    """
    leaf = continuous.action_leaf(agent)
    agent.network = network
    agent.distribution = ops.SquashedGaussian(leaf.shape)
    agent.sampler = functools.partial(
        samplers.squashed_gaussian, shape=leaf.shape
    )
    agent.noise_correlation = check_correlation(agent, noise_correlation)
    agent.actor = networks.real_actions(
        network, agent.distribution.size, 2, seed=agent.seed
    )
    agent.actor_optimizer = continuous.build_optimizer(
        agent, actor_optimizer, 3e-4, agent.actor.trainable_variables
    )
    if target_entropy is None:
        target_entropy = -agent.distribution.size
    build_temperature(agent, temperature, temperature_optimizer, target_entropy)


def build_temperature(agent, initial, optimizer, target_entropy):
    """Gives an agent the weight of its entropy, and what it is steered to.

    Args:
        agent: An `Agent`; sets its `log_temperature`, `target_entropy`,
            `initial_temperature` and `temperature_optimizer`.
        initial: Float, the temperature to begin with.
        optimizer: A Keras optimizer, or `None` for `Adam(3e-4)`; one with a
            learning rate of 0 keeps the temperature as it is.
        target_entropy: Float, where the entropy is steered to.

    Raises:
        ValueError: If the temperature is not from 1e-6 to 1e6, which it never
            leaves, or the entropy is no number.
    """
    known = isinstance(initial, (int, float))
    if not known or not LEAST_TEMPERATURE <= initial <= MOST_TEMPERATURE:
        raise ValueError(
            f"`temperature` must be from {LEAST_TEMPERATURE:g} to "
            f"{MOST_TEMPERATURE:g}: leave it out to begin with 1; it is learnt "
            "unless the `temperature_optimizer` has a learning rate of 0. "
            f"Received: temperature={initial!r}"
        )
    if not isinstance(target_entropy, (int, float)):
        raise ValueError(
            "`target_entropy` must be a number: leave it out for the usual "
            f"one. Received: {target_entropy=}"
        )
    agent.initial_temperature = initial
    agent.target_entropy = float(target_entropy)
    agent.log_temperature = agent.add_weight(
        name="log_temperature",
        initializer=keras.initializers.Constant(math.log(initial)),
        constraint=lambda log_temperature: keras.ops.clip(
            log_temperature,
            math.log(LEAST_TEMPERATURE),
            math.log(MOST_TEMPERATURE),
        ),
    )
    agent.temperature_optimizer = continuous.build_optimizer(
        agent, optimizer, 3e-4, [agent.log_temperature]
    )


def mode(agent, obs):
    """The environment actions of the policy's mean."""
    action = agent.distribution.mode(agent.actor(obs))
    return spaces.to_env(agent.action_spec, action, keras.ops)


def act(agent, obs, training=False):
    """Draws actions in the graph: tuple of them and their log-probabilities."""
    return agent.distribution.sample_and_log_prob(
        agent.actor(obs, training=training), agent.seed_generator
    )


def temperature(agent):
    """Scalar tensor, the weight of the entropy as it is now."""
    return keras.ops.exp(agent.log_temperature)


def improve_actor(agent, obs, value):
    """Moves the actor towards `value + temperature * entropy`.

    Args:
        agent: An `Agent` that was built by the functions above.
        obs: Tensor `[B, ...]` (or a structure of such).
        value: Function from actions to their values `[B]`.

    Returns:
        Tuple of scalar tensors: the loss, and the policy's entropy.

    Reference:
     - [Haarnoja et al., 2018](https://arxiv.org/abs/1812.05905), eq. 9
    """

    def loss_fn():
        action, log_prob = act(agent, obs, training=True)
        soft_value = value(action) - temperature(agent) * log_prob
        return -keras.ops.mean(soft_value), log_prob

    loss, log_prob = agent.minimize(
        loss_fn, agent.actor.trainable_variables, agent.actor_optimizer
    )
    return loss, -keras.ops.mean(log_prob)


def adapt_temperature(agent, excess):
    """Lowers the temperature where there is more entropy than there should be.

    Args:
        agent: An `Agent` that was built by `build_temperature`.
        excess: Scalar tensor, the policy's entropy less its target.

    Reference:
     - [Haarnoja et al., 2018](https://arxiv.org/abs/1812.05905), eq. 18, with
       the logarithm in the place of the temperature, as its authors' code has
       it: so the temperature stays positive
    """

    def loss_fn():
        return agent.log_temperature * keras.ops.stop_gradient(excess), ()

    agent.minimize(
        loss_fn, [agent.log_temperature], agent.temperature_optimizer
    )


def get_config(agent):
    """The entries of `Agent.get_config` for the arguments of the above."""
    serialize = keras.saving.serialize_keras_object
    return {
        "network": serialize(agent.network),
        "actor_optimizer": serialize(agent.actor_optimizer),
        "temperature_optimizer": serialize(agent.temperature_optimizer),
        "target_entropy": agent.target_entropy,
        "temperature": agent.initial_temperature,
    }
