"""Experience that was recorded elsewhere, to learn from."""

import numpy as np
import optree

from keras_rl2x import spaces


def add_episode(replay, envs, obs, actions, rewards, terminated):
    """Stores a whole episode in a replay, an expert's, say.

    `fit` may draw from it alone, without `Collect`; or, with it, from both.

    Args:
        replay: A `Replay` of one environment.
        envs: The `gymnasium.vector.VectorEnv` that it was made of.
        obs: Sequence of T + 1 observations, as the environment gave them, with
            the one that followed the last action.
        actions: Sequence of T actions, as the environment took them.
        rewards: Sequence of T numbers.
        terminated: Boolean, whether the episode ended by itself: if not, it was
            cut, and what follows would have had a value.

    Raises:
        ValueError: If the replay is of several environments, or something is
            not of its space, or there are too few or too many.

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=1)
    replay = keras_rl2x.data.Replay(envs, capacity=10_000, gamma=0.99)
    env = gymnasium.make("CartPole-v1")
    obs, actions, rewards = [env.reset(seed=0)[0]], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        actions.append(int(obs[-1][2] > 0))
        one, reward, terminated, truncated, _ = env.step(actions[-1])
        obs.append(one)
        rewards.append(reward)
    keras_rl2x.data.add_episode(replay, envs, obs, actions, rewards, terminated)
    ```
    """
    if envs.num_envs != 1:
        raise ValueError(
            "Episodes are stored one after the other: make the environments, "
            f"and the replay of them, with `num_envs=1`. Received: {envs}"
        )
    steps = len(rewards)
    rewards = np.asarray(rewards, "float32")
    if not steps or not np.isfinite(rewards).all():
        raise ValueError(
            "An episode has a step at least, and rewards are finite numbers. "
            f"Received: {rewards=}"
        )
    space = envs.single_observation_space
    action_spec = spaces.action_spec(envs.single_action_space)
    actions = _stacked("actions", action_spec, actions, steps)
    row = np.arange(steps + 1)
    rows = {
        "obs": _stacked("obs", spaces.spec(space), obs, steps + 1),
        "action": optree.tree_map(
            _padded, spaces.to_agent(action_spec, actions)
        ),
        "reward": _padded(rewards),
        "terminated": (row == steps - 1) & bool(terminated),
        "truncated": (row == steps - 1) & (not terminated),
        # The last row holds the last observation, and nothing else.
        "dead": row == steps,
    }
    rows = optree.tree_map(lambda x: x[:, None], rows)
    # What is stored next takes the place of what is not acted upon yet.
    replay.write(rows, optree.tree_map(lambda x: x[-1], rows["obs"]))


def _stacked(name, spec, values, count):
    """A sequence of observations, or actions, as arrays `[count, ...]`."""
    if len(values) != count:
        raise ValueError(
            f"An episode of T rewards has T actions and T + 1 observations: "
            f"with so many, `{name}` must be {count}. Received: {len(values)}"
        )
    leaves, structure = optree.tree_flatten(spec)
    columns = zip(*map(structure.flatten_up_to, values))
    return structure.unflatten(
        _checked(name, leaf, np.stack(column))
        for leaf, column in zip(leaves, columns)
    )


def _checked(name, leaf, values):
    fits = values.shape[1:] == leaf.shape and np.isfinite(values).all()
    if fits and leaf.num_classes:
        index = values - np.reshape(leaf.start, leaf.shape)
        classes = np.reshape(leaf.num_classes, leaf.shape)
        fits = ((index >= 0) & (index < classes)).all()
    if not fits:
        raise ValueError(
            f"`{name}` must be finite, and of the space {leaf}. Received: an "
            f"array of shape {values.shape}, from {values.min()} to "
            f"{values.max()}"
        )
    return values.astype(leaf.dtype)


def _padded(values):
    """The array with a row of zeros behind it."""
    return np.concatenate([values, np.zeros_like(values[:1])])
