"""What agents with critics of real actions share."""

import functools
import math

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers


def build_critics(agent, critics, count, outputs=1):
    """Gives an agent its critics and their targets.

    Args:
        agent: An `Agent`; sets its `critics`, `critic_networks` and
            `target_critics`.
        critics: Sequence of `keras.Model`s, see `networks.critic_value`.
        count: Integer, how many it must be.
        outputs: Integer, how many values each gives. Defaults to 1.

    Raises:
        ValueError: If there are more or fewer, or one does not fit.
    """
    critics = tuple(critics)
    if len(critics) != count or len(set(map(id, critics))) != count:
        raise ValueError(
            f"{type(agent).__name__} needs {count} critics, each a "
            f"`keras.Model` of its own. Received: critics={critics}"
        )
    agent.critics = critics
    seeds = [
        None if agent.seed is None else agent.seed + i for i in range(count)
    ]
    agent.critic_networks = tuple(
        networks.critic_value(critic, outputs, seed)
        for critic, seed in zip(critics, seeds)
    )
    agent.target_critics = tuple(map(networks.Target, agent.critic_networks))


def action_leaf(agent):
    """The agent's action space: a `Box` with bounds, else it is refused."""
    leaf = spaces.require(agent.action_spec, ("box",), type(agent).__name__)
    if not leaf.bounded:
        raise ValueError(
            f"{type(agent).__name__} acts within bounds: give every action "
            "both of them, with `gymnasium.wrappers.RescaleAction` or "
            f"`ClipAction`. Received: low={leaf.low}, high={leaf.high}"
        )
    return leaf


def serialize(critics):
    """List of configurations, the entry of `Agent.get_config`."""
    return [keras.saving.serialize_keras_object(critic) for critic in critics]


def critic_variables(agent):
    """List of what `fit_critics` moves."""
    return [v for c in agent.critic_networks for v in c.trainable_variables]


def build_actor(agent, network, actor_optimizer):
    """Gives an agent its deterministic actor.

    Args:
        agent: An `Agent`; sets its `network`, `actor`, `sampler` and
            `actor_optimizer`.
        network: A `keras.Model` from observations to features `[B, F]`.
        actor_optimizer: A Keras optimizer, or `None` for `Adam(1e-3)`.
    """
    leaf = action_leaf(agent)
    agent.network = network
    agent.sampler = functools.partial(samplers.noisy, shape=leaf.shape)
    agent.actor = networks.real_actions(
        network, math.prod(leaf.shape), 1, "tanh", agent.seed
    )
    agent.actor_optimizer = actor_optimizer or keras.optimizers.Adam(1e-3)
    agent.actor_optimizer.build(agent.actor.trainable_variables)


def shaped(agent, action):
    """Tensor `[B, D]` of actions as `[B, *shape]`."""
    return keras.ops.reshape(action, (-1, *agent.action_spec.shape))


def greedy(agent, obs):
    """The environment actions of a deterministic actor."""
    action = shaped(agent, agent.actor(obs))
    return spaces.to_env(agent.action_spec, action, keras.ops)


def correlate_noise(agent, correlation):
    """Makes an agent's noise like that of the step before.

    Args:
        agent: An `Agent`; sets its `noise_correlation`.
        correlation: Float in [0, 1).

    Raises:
        ValueError: If the correlation is not in [0, 1).
    """
    if not 0 <= correlation < 1:
        raise ValueError(
            "`noise_correlation` must be at least 0 and less than 1. "
            f"Received: noise_correlation={correlation}"
        )
    agent.noise_correlation = float(correlation)


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


def values(critics, obs, action):
    """List of tensors `[B]`: what each critic says of these actions."""
    inputs = {"action": action, "observation": obs}
    return [critic(inputs) for critic in critics]


def least(estimates):
    """Elementwise least of a list of tensors `[B]`."""
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
        estimates = values(agent.critic_networks, batch["obs"], batch["action"])
        errors = [target - estimate for estimate in estimates]
        losses = [
            ops.weighted_mean(ops.squared(error), batch["weight"])
            for error in errors
        ]
        return sum(losses), (estimates[0], errors[0])

    loss, (estimate, error) = agent.minimize(loss_fn, critic_variables(agent))
    return loss, estimate, keras.ops.abs(error)
