"""Whether an agent can act on what it is given."""

from collections.abc import Mapping

import numpy as np

from keras_rl2x import networks
from keras_rl2x import spaces


def check_spaces(agent, envs):
    """Refuses environments in which an agent cannot act.

    Args:
        agent: An `Agent`.
        envs: A `gymnasium.vector.VectorEnv`.

    Raises:
        ValueError: If their observations are not what the agent's network
            takes, or their actions not what it gives.
    """
    wanted = agent.action_spec
    given = spaces.action_spec(envs.single_action_space)
    if wanted != given:
        raise ValueError(
            "The agent was made for other actions than the environments take: "
            f"{wanted}. Received: {given}"
        )
    network = agent.policy
    expected = _shapes(networks.observation_input(network))
    received = _shapes(spaces.spec(envs.single_observation_space))
    if expected != received:
        raise ValueError(
            f"The network '{network.name}' takes observations of shape "
            f"{expected}, not those of the environments: begin it with "
            "`rl.networks.inputs(envs.single_observation_space)`, which also "
            "turns categories into one-hot vectors. Received: observations of "
            f"shape {received}, from {envs.single_observation_space}"
        )


def _shapes(tree):
    """The shapes of a structure, as strings, without the batch axis."""
    if isinstance(tree, dict):
        return {key: _shapes(leaf) for key, leaf in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(map(_shapes, tree))
    if isinstance(tree, spaces.Leaf):
        return str(tree.shape)
    return str(tuple(tree.shape[1:]))


def as_batch(agent, obs):
    """Observations as arrays; refused if they are no batch.

    Args:
        agent: An `Agent`.
        obs: What `Agent.act` was given.

    Raises:
        ValueError: If there is one observation in place of a batch.
    """
    return _as_batch(networks.observation_input(agent.policy), obs)


def _as_batch(entry, obs):
    if isinstance(entry, dict):
        if not isinstance(obs, Mapping) or set(entry) - set(obs):
            raise ValueError(
                f"`act` takes observations with the entries {sorted(entry)}. "
                f"Received: {obs!r}"
            )
        return {key: _as_batch(entry[key], obs[key]) for key in entry}
    if isinstance(entry, (list, tuple)):
        return tuple(map(_as_batch, entry, obs))
    obs = np.asarray(obs)
    if len(obs.shape) != len(entry.shape):
        raise ValueError(
            "`act` takes a batch of observations, `obs[None]` for a single "
            f"one: of shape {('N', *entry.shape[1:])}. Received: an array of "
            f"shape {obs.shape}"
        )
    return obs
