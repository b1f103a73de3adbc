"""What agents with critics of continuous actions share."""

import functools
import math

import keras

from keras_rl2x import arguments
from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.acting.noise import check_correlation


def build_critics(agent, critics, count=None, head=networks.critic_value):
    """Gives an agent its critics and their targets.

    Args:
        agent: An `Agent`; sets its `target_critics`, and what
            `build_online_critics` sets.
        critics: As there.
        count: As there.
        head: As there.
    """
    build_online_critics(agent, critics, count, head)
    agent.target_critics = tuple(map(networks.Target, agent.critic_networks))


def build_online_critics(
    agent, critics, count=None, head=networks.critic_value
):
    """Gives an agent its critics.

    Args:
        agent: An `Agent`; sets its `critics` and `critic_networks`.
        critics: Sequence of `keras.Model`s.
        count: Integer, how many it must be. Defaults to `None`: one or more.
        head: Function of such a model and a `seed`, which puts the values on
            top. Defaults to `networks.critic_value`.

    Raises:
        ValueError: If there are more or fewer, one is the actor's network or
            given twice, or one does not fit.
    """
    alone = isinstance(critics, keras.Model)
    critics = (critics,) if alone else tuple(critics)
    wanted = count or max(1, len(critics))
    models = {id(model) for model in (agent.network, *critics)}
    if len(critics) != wanted or len(models) != wanted + 1:
        raise ValueError(
            f"{type(agent).__name__} needs {count or 'one or more'} critics, "
            "each a `keras.Model` of its own, and not the actor's `network`. "
            f"Received: critics={critics}"
        )
    agent.critics = critics
    seeds = [
        None if agent.seed is None else agent.seed + i for i in range(wanted)
    ]
    agent.critic_networks = tuple(
        head(critic, seed=seed) for critic, seed in zip(critics, seeds)
    )


def action_leaf(agent):
    """The agent's action space: a `Box` with bounds, else it is refused."""
    leaf = spaces.require(agent.action_spec, ("box",), type(agent).__name__)
    if not leaf.bounded:
        raise ValueError(
            f"{type(agent).__name__} acts within bounds: give every action "
            "both of them, with `gymnasium.wrappers.TransformAction(env, "
            "lambda action: action, Box(low, high))`. Received: "
            f"low={leaf.low}, high={leaf.high}"
        )
    return leaf


def serialize(critics):
    """List of configurations, the entry of `Agent.get_config`."""
    return [keras.saving.serialize_keras_object(critic) for critic in critics]


def critic_variables(agent):
    """List of what `fit_critics` moves."""
    return [v for c in agent.critic_networks for v in c.trainable_variables]


def build_optimizer(agent, optimizer, learning_rate, variables):
    """An optimizer beside the compiled one, built; `Adam` if there is none.

    Scales losses where Keras has the compiled one do so.

    Raises:
        ValueError: If it moves other variables already.
    """
    optimizer = keras.optimizers.get(
        optimizer or keras.optimizers.Adam(learning_rate)
    )
    if optimizer.built:
        raise ValueError(
            f"{type(agent).__name__} needs a new optimizer for each of its "
            "parts, as an optimizer remembers the variables that it moves. "
            f"Received: {optimizer}, which moves others already"
        )
    half = agent.dtype_policy.name == "mixed_float16"
    if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


def build_actor(agent, network, actor_optimizer, noise, noise_correlation):
    """Gives an agent its deterministic actor, and the noise it explores with.

    Args:
        agent: An `Agent`; sets its `network`, `actor`, `sampler`,
            `actor_optimizer`, `noise` and `noise_correlation`.
        network: A `keras.Model` from observations to features `[B, F]`.
        actor_optimizer: A Keras optimizer, or `None` for `Adam(1e-3)`.
        noise: Float, or a `keras.optimizers.schedules.LearningRateSchedule`
            over environment steps.
        noise_correlation: Float, see `acting.OrnsteinUhlenbeck`.
    """
    leaf = action_leaf(agent)
    agent.network = network
    if not callable(noise):
        arguments.nonnegative(noise=noise)
    agent.noise = noise
    agent.noise_correlation = check_correlation(agent, noise_correlation)
    agent.sampler = functools.partial(samplers.noisy, shape=leaf.shape)
    agent.actor = networks.real_actions(
        network, math.prod(leaf.shape), 1, "tanh", agent.seed
    )
    agent.actor_optimizer = build_optimizer(
        agent, actor_optimizer, 1e-3, agent.actor.trainable_variables
    )


def shaped(agent, action):
    """Tensor `[B, D]` of actions as `[B, *shape]`."""
    return keras.ops.reshape(action, (-1, *agent.action_spec.shape))


def greedy(agent, obs):
    """The environment actions of a deterministic actor."""
    action = shaped(agent, agent.actor(obs))
    return spaces.to_env(agent.action_spec, action, keras.ops)


def exploration(agent):
    """The noise on the actions, at the agent's present `env_steps`."""
    noise = agent.noise
    return {
        "noise": float(noise(agent.env_steps) if callable(noise) else noise)
    }


def improve_actor(agent, batch):
    """Moves a deterministic actor up the first critic; returns the loss.

    Reference:
     - [Silver et al., 2014](https://proceedings.mlr.press/v32/silver14.html),
       eq. 9
    """
    critic = agent.critic_networks[:1]

    def loss_fn():
        action = shaped(agent, agent.actor(batch["obs"], training=True))
        (value,) = values(critic, batch["obs"], action)
        return -keras.ops.mean(value), ()

    loss, _ = agent.minimize(
        loss_fn, agent.actor.trainable_variables, agent.actor_optimizer
    )
    return loss


def values(critics, obs, action, training=False):
    """List of what each critic says of these actions.

    Args:
        critics: Sequence of `networks.critic_value`s.
        obs: Tensor `[B, ...]` (or a structure of such).
        action: Tensor `[B, *shape]`.
        training: Boolean, as in `keras.Model`. Defaults to `False`.

    Returns:
        List of tensors `[B]`, or `[B, outputs]`.
    """
    inputs = {"action": action, "observation": obs}
    return [critic(inputs, training=training) for critic in critics]


def least(estimates):
    """Elementwise least of a list of tensors."""
    estimate, *others = estimates
    for other in others:
        estimate = keras.ops.minimum(estimate, other)
    return estimate


def fit_critics(agent, batch, target):
    """Moves the critics towards a target, by the compiled optimizer.

    Args:
        agent: An `Agent` that was built by `build_critics`.
        batch: Dict of tensors, as `data.Replay.dataset` gives.
        target: Tensor `[B]`.

    Returns:
        Tuple: the scalar loss, the sum over the critics; and tensors `[B]`,
        the first critic's values and their errors.
    """

    def loss_fn():
        estimates = values(
            agent.critic_networks, batch["obs"], batch["action"], training=True
        )
        return squared_loss(estimates, target, batch["weight"])

    loss, (estimate, error) = agent.minimize(loss_fn, critic_variables(agent))
    return loss, estimate, keras.ops.abs(error)


def squared_loss(estimates, target, weight):
    """The squared errors of several critics, as `Agent.minimize` takes it.

    Args:
        estimates: List of tensors `[B]`.
        target: Tensor `[B]`.
        weight: Tensor `[B]`.

    Returns:
        Tuple: the scalar loss, the sum over the critics; and a tuple of
        tensors `[B]`, the first critic's estimates and their errors.
    """
    errors = [target - estimate for estimate in estimates]
    losses = [ops.weighted_mean(ops.squared(error), weight) for error in errors]
    return sum(losses), (estimates[0], errors[0])
