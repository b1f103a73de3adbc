"""What agents share that learn action values, and act on the greatest."""

import keras

from keras_rl2x import arguments
from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces

LOSSES = {"huber": ops.huber, "squared": ops.squared}


def build(agent, network, epsilon, head, loss, noisy=False):
    """Gives an agent its action values and their target.

    Args:
        agent: An `Agent`; sets its `loss_name`, `q_network` and
            `target_network`, and what `store` sets.
        network: As there.
        epsilon: As there.
        head: As there.
        loss: String, a key of `LOSSES`, what `fit_values` makes of errors.
        noisy: Boolean, whether the head's layers are noisy. Defaults to
            `False`.

    Raises:
        TypeError: As there.
        ValueError: If there is no such loss, or the network does not fit.
    """
    if loss not in LOSSES:
        raise ValueError(
            f"`loss` must be one of {sorted(LOSSES)}. Received: {loss=}"
        )
    num_actions = store(agent, network, epsilon, head)
    agent.loss_name = loss
    agent.q_network = networks.action_values(
        network, num_actions, head, agent.seed, noisy
    )
    agent.target_network = networks.Target(agent.q_network)


def store(agent, network, epsilon, head):
    """Keeps what every agent of this kind is given.

    Args:
        agent: An `Agent`; sets its `network`, `epsilon` and `head`.
        network: A `keras.Model` from observations to features `[B, F]`.
        epsilon: Float, or a `keras.optimizers.schedules.LearningRateSchedule`
            over environment steps.
        head: String or `None`, what is put on top of the network.

    Returns:
        Integer, the number of actions.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If `epsilon` is a number, and not from 0 to 1.
    """
    if not callable(epsilon):
        arguments.fraction(epsilon=epsilon)
    owner = type(agent).__name__
    leaf = spaces.require(agent.action_spec, ("discrete",), owner)
    agent.network = network
    agent.epsilon = epsilon
    agent.head = head
    return leaf.num_classes[0]


def greedy(agent, obs):
    """The environment actions of the greatest value, computed without noise."""
    values = networks.without_noise(agent.policy)(obs)
    best = keras.ops.argmax(values, axis=-1)
    return spaces.to_env(agent.action_spec, best, keras.ops)


def exploration(agent):
    """The part of random actions, at the agent's present `env_steps`."""
    epsilon = agent.epsilon
    return {
        "epsilon": float(
            epsilon(agent.env_steps) if callable(epsilon) else epsilon
        )
    }


def resample_noise(agent):
    """Draws the noise of an agent's networks, and that of their targets."""
    for target, source in agent.targets:
        networks.resample_noise(source, agent.seed_generator)
        networks.resample_noise(target, agent.seed_generator)


def fit_values(agent, batch, target, mean=ops.weighted_mean):
    """Moves the values of the actions taken towards a target.

    Args:
        agent: An `Agent` that was built by `build`.
        batch: Dict of tensors, as `data.Replay.dataset` gives.
        target: Tensor `[B]`.
        mean: Function of errors `[B]` and weights `[B]`. Defaults to
            `ops.weighted_mean`, where a lesser weight shrinks the step.

    Returns:
        Tuple: the scalar loss; and tensors `[B]`, the values and the sizes of
        their errors.
    """

    def loss_fn():
        q_values = agent.q_network(batch["obs"], training=True)
        q_value = ops.take(q_values, batch["action"])  # [B]
        td_error = target - q_value
        error = LOSSES[agent.loss_name](td_error)
        return mean(error, batch["weight"]), (q_value, td_error)

    loss, (q_value, td_error) = agent.minimize(
        loss_fn, agent.q_network.trainable_variables
    )
    return loss, q_value, keras.ops.abs(td_error)


def build_distributions(agent, network, epsilon, head, size, mean, noisy=False):
    """Gives an agent distributions of returns, their means and a target.

    Args:
        agent: An `Agent`; sets its `q_network`, `distribution_network` and
            `target_network`, and what `store` sets.
        network: As there.
        epsilon: As there.
        head: As there.
        size: As in `networks.action_distributions`.
        mean: As there.
        noisy: As there. Defaults to `False`.

    Raises:
        TypeError: As in `store`.
        ValueError: If the network does not fit.
    """
    num_actions = store(agent, network, epsilon, head)
    agent.q_network, agent.distribution_network = networks.action_distributions(
        network, num_actions, size, mean, head, agent.seed, noisy
    )
    agent.target_network = networks.Target(agent.distribution_network)


def next_distribution(agent, next_obs, double=False):
    """The target network's distributions of the actions that are the best.

    Args:
        agent: An `Agent` that was built by `build_distributions`.
        next_obs: Tensor `[B, ...]` (or a structure of such).
        double: Boolean, whether the online network picks the actions.
            Defaults to `False`.

    Returns:
        Tensor `[B, N]`.
    """
    q_next, distributions = agent.target_network(next_obs)
    if double:
        q_next = agent.q_network(next_obs)
    best = keras.ops.argmax(q_next, axis=-1)
    return ops.take_vector(distributions, best)


def fit_distributions(agent, batch, error_fn):
    """Moves the distributions of the actions taken, to lower their errors.

    Args:
        agent: An `Agent` that was built by `build_distributions`.
        batch: Dict of tensors, as `data.Replay.dataset` gives.
        error_fn: Function from distributions `[B, N]` to errors `[B]`.

    Returns:
        Tuple: the scalar loss; and tensors `[B]`, the values and the errors.
    """

    def loss_fn():
        q_values, distributions = agent.distribution_network(
            batch["obs"], training=True
        )
        error = error_fn(ops.take_vector(distributions, batch["action"]))
        q_value = ops.take(q_values, batch["action"])
        return ops.weighted_mean(error, batch["weight"]), (q_value, error)

    loss, (q_value, error) = agent.minimize(
        loss_fn, agent.distribution_network.trainable_variables
    )
    return loss, q_value, error


def fit_quantiles(agent, batch, fractions, target):
    """Moves quantiles of the returns of the actions taken towards a target.

    Args:
        agent: As in `fit_distributions`.
        batch: As there.
        fractions: Tensor `[N]` or `[B, N]`, see `ops.quantile_huber`.
        target: Tensor `[B, M]`.

    Returns:
        Tuple: the scalar loss; and tensors `[B]`, the values and the sizes of
        their errors.
    """

    def error_fn(quantiles):
        errors = ops.quantile_huber(quantiles, fractions, target)
        return keras.ops.sum(errors, axis=-1)

    loss, q_value, _ = fit_distributions(agent, batch, error_fn)
    td_error = keras.ops.mean(target, axis=-1) - q_value
    return loss, q_value, keras.ops.abs(td_error)


def get_config(agent):
    """The entries of `Agent.get_config` for the arguments of `store`."""
    return {
        "network": keras.saving.serialize_keras_object(agent.network),
        "epsilon": keras.saving.serialize_keras_object(agent.epsilon),
        "head": agent.head,
    }
