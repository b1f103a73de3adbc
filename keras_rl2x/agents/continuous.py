"""What agents with critics of real actions share."""

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces


def build_critics(agent, critics, count):
    """Gives an agent its critics and their targets.

    Args:
        agent: An `Agent`; sets its `critics`, `critic_networks` and
            `target_critics`.
        critics: Sequence of `keras.Model`s, see `networks.critic_value`.
        count: Integer, how many it must be.

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
        networks.critic_value(critic, seed=seed)
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

    variables = [
        v for c in agent.critic_networks for v in c.trainable_variables
    ]
    loss, (estimate, error) = agent.minimize(loss_fn, variables)
    return loss, estimate, keras.ops.abs(error)
