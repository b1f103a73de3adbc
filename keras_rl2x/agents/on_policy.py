"""What agents that learn from rollouts share."""

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.acting.noise import check_correlation

KINDS = ("discrete", "multi_discrete", "multi_binary", "box")


def build(
    agent,
    network,
    critic,
    log_std=0.0,
    normalize_rewards=False,
    noise_correlation=0.0,
):
    """Gives an agent its distribution and its networks.

    Args:
        agent: An `Agent`; sets `on_policy`, its `distribution`, `sampler`,
            `policy_network`, `value_network`, `both_networks` and
            `reward_scale`, and stores the arguments under their names.
        network: A `keras.Model` from observations to features.
        critic: Another for the value, or `None` to share `network`.
        log_std: Float, the initial log standard deviation of continuous
            actions.
        normalize_rewards: Boolean, whether to divide rewards by a running
            scale.
        noise_correlation: Float in [0, 1), the correlation of the noise on real
            actions in successive steps.

    Raises:
        TypeError: If the agent cannot act in its action space.
        ValueError: If an output of a network, or the correlation, does not
            fit.
    """
    leaf = spaces.require(agent.action_spec, KINDS, type(agent).__name__)
    agent.on_policy = True
    agent.network, agent.critic = network, critic
    agent.log_std = log_std
    agent.normalize_rewards = normalize_rewards
    agent.noise_correlation = check_correlation(agent, noise_correlation)
    agent.distribution = ops.distribution(leaf)
    agent.sampler = samplers.for_space(leaf)
    agent.policy_network, agent.value_network, agent.both_networks = (
        networks.actor_critic(
            network,
            critic,
            leaf,
            agent.distribution.num_params,
            log_std,
            agent.seed,
        )
    )
    agent.reward_scale = networks.RewardScale() if normalize_rewards else None
    agent.memory_size = networks.memory_size(agent.policy_network)


def mode(agent, obs):
    """The environment actions that are most probable."""
    inputs = networks.with_memory(agent.policy_network, obs)
    outputs = agent.policy_network(inputs)
    params = outputs[0] if agent.memory_size else outputs
    action = agent.distribution.mode(params)
    return spaces.to_env(agent.action_spec, action, keras.ops)


def outputs(agent, batch):
    """The distribution's parameters `[B, P]` and the values `[B]` of a batch.

    Args:
        agent: An `Agent` that was built by `build`.
        batch: Dict of tensors, see `data.Rollout.dataset`.
    """
    if not agent.memory_size:
        return agent.both_networks(batch["obs"], training=True)
    if "memory" not in batch:
        raise ValueError(
            f"The network '{agent.network.name}' has a memory, and learns from "
            "sequences: use `rollout.dataset(..., sequences=True)`."
        )
    num_envs = batch["memory"].shape[0]
    timed = keras.tree.map_structure(
        lambda x: keras.ops.reshape(x, (-1, num_envs, *x.shape[1:])),
        {"obs": batch["obs"], "begins": batch["begins"]},
    )
    return flat(_unroll(agent, batch["memory"], **timed))


def evaluate_rows(agent, rows):
    """What an agent's networks say of a rollout, as they are now.

    First takes the rollout into the running statistics, where there are any:
    the log-probabilities are those of the policy that learns, with the present
    statistics, and not quite those of the policy that acted, with the last.

    Args:
        agent: An `Agent` that was built by `build`.
        rows: Dict of tensors, see `data.Rollout.rows`.

    Returns:
        Tuple of tensors: the rewards to learn from `[T, N]`, the values
        `[T + 1, N]` and the log-probabilities of the actions `[T, N]`.
    """
    steps, num_envs = rows["reward"].shape
    obs = rows["obs"]
    observe(agent.both_networks, obs)
    if agent.memory_size:
        params, value = flat(
            _unroll(agent, rows["memory"], obs, rows["begins"])
        )
    else:
        params, value = agent.both_networks(flat(obs))
    log_prob = agent.distribution.log_prob(
        params[: steps * num_envs], flat(rows["action"])
    )
    reward = rows["reward"]
    if agent.reward_scale is not None:
        agent.reward_scale.update(
            flat(rows["reward_so_far"]), flat(rows["live"])
        )
        reward = agent.reward_scale(reward)
    return (
        reward,
        keras.ops.reshape(value, (steps + 1, num_envs)),
        keras.ops.reshape(log_prob, (steps, num_envs)),
    )


def observe(network, obs):
    """Takes a rollout into a network's running statistics, if it has any.

    Args:
        network: A `keras.Model`.
        obs: Tensor `[T + 1, N, ...]` (or a structure of such), of which the
            last row will be the first of the next rollout.
    """
    lived = flat(keras.tree.map_structure(lambda x: x[:-1], obs))
    with networks.update_statistics():
        network(networks.with_memory(network, lived))


def _unroll(agent, memory, obs, begins):
    memory = keras.ops.reshape(memory, (begins.shape[1], agent.memory_size))
    return networks.unroll(agent.both_networks, obs, memory, begins)


def prepare(agent, rows, lambda_):
    """`Agent.prepare` for advantages estimated with a critic.

    Args:
        agent: An `Agent` that was built by `build`.
        rows: Dict of tensors, see `data.Rollout.rows`.
        lambda_: Float, see `ops.gae`.
    """
    reward, value, log_prob = evaluate_rows(agent, rows)
    advantage = ops.gae(reward, rows["discount"], value, rows["cut"], lambda_)
    return {
        "value": value[:-1],
        "log_prob": log_prob,
        "advantage": advantage,
        "return": advantage + value[:-1],
        "weight": keras.ops.cast(rows["live"], "float32"),
    }


def get_config(agent):
    """The entries of `Agent.get_config` for the arguments of `build`."""
    return {
        "network": keras.saving.serialize_keras_object(agent.network),
        "critic": keras.saving.serialize_keras_object(agent.critic),
        "log_std": agent.log_std,
        "normalize_rewards": agent.normalize_rewards,
        "noise_correlation": agent.noise_correlation,
    }


def flat(tree):
    """Tensors `[T, N, ...]` to `[T N, ...]`, for a `tree` of them."""
    return keras.tree.map_structure(
        lambda x: keras.ops.reshape(x, (-1, *x.shape[2:])), tree
    )
