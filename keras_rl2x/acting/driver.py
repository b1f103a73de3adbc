"""Drivers: what steps vectorised environments and remembers what happened."""

import collections
import dataclasses
import warnings

import numpy as np
import optree

from keras_rl2x import spaces
from keras_rl2x.acting.faults import find_fault
from keras_rl2x.envs import episode_over


@dataclasses.dataclass
class Chunk:
    """What one call of `Driver.run` collected.

    Attributes:
        rows: Dict of arrays `[T, num_envs, ...]`, as `Replay.write` takes it.
        next_obs: Array `[num_envs, ...]` (or a structure), what follows them.
        episodes: List of tuples `(return, length)`, the episodes that ended.
        successes: List of Booleans, whether they reached their goal, of those
            whose last `info` says it, by `is_success`.
        error: The exception that cut the chunk short, or `None`.
    """

    rows: dict
    next_obs: object
    episodes: list
    successes: list
    error: Exception = None

    @property
    def env_steps(self):
        """Integer, the steps taken; resets (dead cells) do not count."""
        return int((~self.rows["dead"]).sum())


class Driver:
    """Steps environments and returns rows for a stream.

    Args:
        envs: A `gymnasium.vector.VectorEnv` in `AutoresetMode.NEXT_STEP`.
    """

    def __init__(self, envs):
        self.envs = envs
        self._obs_spec = spaces.spec(envs.single_observation_space)
        self._action_spec = spaces.action_spec(envs.single_action_space)
        self._obs = None

    def reset(self, seed):
        """Begins new episodes; returns their first observations."""
        self._obs, info = self.envs.reset(seed=seed)
        masked = isinstance(self._obs, dict) and "action_mask" in self._obs
        if "action_mask" in info and not masked:
            warnings.warn(
                "The environments say in `info['action_mask']` which actions "
                "are allowed, and nothing listens: make them with "
                "`rl.envs.make(..., action_mask=True)`.",
                stacklevel=2,
            )
        num_envs = self.envs.num_envs
        self._dead = np.zeros(num_envs, "bool")
        self._begins = np.ones(num_envs, "bool")
        self._return = np.zeros(num_envs)
        self._length = np.zeros(num_envs, "int64")
        return self._obs

    def run(self, steps, act):
        """Takes `steps` steps in every environment.

        Args:
            steps: Integer.
            act: Function of observations, and of a Boolean array `[num_envs]`
                that says where episodes begin, to actions in agent units.

        Returns:
            A `Chunk`. If an environment raised, or something is not finite or
            not of its space, the chunk holds what came before and says so in
            `error`; the driver must be reset.
        """
        shape = (steps, self.envs.num_envs)
        obs_rows = _empty(shape, self._obs_spec)
        obs_leaves = optree.tree_leaves(obs_rows)
        action_rows = _empty(shape, self._action_spec)
        action_leaves = optree.tree_leaves(action_rows)
        reward = np.zeros(shape, "f4")
        terminated, truncated, dead, over = np.zeros((4, *shape), "bool")
        lived, error, told = 0, None, []
        for t in range(steps):
            for rows, leaf in zip(obs_leaves, optree.tree_leaves(self._obs)):
                rows[t] = leaf
            action = act(self._obs, self._begins)
            for rows, leaf in zip(action_leaves, optree.tree_leaves(action)):
                rows[t] = leaf
            try:
                step = self.envs.step(spaces.to_env(self._action_spec, action))
            except Exception as raised:  # Whatever an environment may raise.
                error = raised
                break
            lived += 1
            self._obs, reward[t], terminated[t], truncated[t], info = step
            # The step after an end only resets, and shows what begins.
            dead[t] = self._begins = self._dead
            over[t] = episode_over(terminated[t], truncated[t], info)
            self._dead = over[t]
            told += [(t, one) for one in _successes(over[t], info)]
        rows = {
            "obs": obs_rows,
            "action": action_rows,
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "dead": dead,
        }
        next_obs = self._obs
        taken, bad = find_fault(
            self._obs_spec,
            obs_rows,
            next_obs,
            [rows[: lived + 1] for rows in action_leaves],
            reward[:lived],
        )
        error = error if bad is None else bad
        if error is not None:
            if taken < lived:
                next_obs = optree.tree_map(lambda x: x[taken], obs_rows)
            rows = optree.tree_map(lambda x: x[:taken], rows)
            self._obs = None
        next_obs = optree.tree_map(np.array, next_obs)  # A copy.
        kept = len(rows["reward"])
        return Chunk(
            rows,
            next_obs,
            episodes=self._episodes(rows, over[:kept]),
            successes=[one for t, one in told if t < kept],
            error=error,
        )

    def _episodes(self, rows, ended):
        """The episodes that ended in these rows: `(return, length)` each."""
        returns = self._return + np.cumsum(rows["reward"], 0, "float64")
        lengths = self._length + np.cumsum(~rows["dead"], 0, "int64")
        episodes = []
        base_return = np.zeros(ended.shape[1])
        base_length = np.zeros(ended.shape[1], "int64")
        for t, env in zip(*ended.nonzero()):
            episodes.append(
                (
                    float(returns[t, env] - base_return[env]),
                    int(lengths[t, env] - base_length[env]),
                )
            )
            base_return[env] = returns[t, env]
            base_length[env] = lengths[t, env]
        if len(ended):
            self._return = returns[-1] - base_return
            self._length = lengths[-1] - base_length
        return episodes

    @property
    def started(self):
        """Whether episodes are under way."""
        return self._obs is not None


# So many steps have no episodes that end, or few: Atari's take 27,000.
ENDLESS = 100_000

Episodes = collections.namedtuple(
    "Episodes", ["returns", "lengths", "successes"]
)


def play_episodes(envs, act, episodes, seed, on_step=None):
    """Plays whole episodes.

    Each environment plays its share of them and no more: counting whichever
    episodes end first would favour the short ones.

    Args:
        envs: A `gymnasium.vector.VectorEnv` in `AutoresetMode.NEXT_STEP`.
        act: Function of observations, and of a Boolean array `[num_envs]` that
            says where episodes begin, to the environments' actions.
        episodes: Integer.
        seed: Integer, given to `envs.reset`.
        on_step: Function of no arguments, called before each step (to render,
            say); where it returns `True`, the play is over. Defaults to `None`.

    Returns:
        `Episodes`: two arrays `[episodes]`, their returns (the undiscounted
        sum of rewards) and lengths (in steps), of those that were complete;
        and the successes, a Boolean array of those of them whose last `info`
        has `is_success`, as in Gymnasium-Robotics.
    """
    num_envs = envs.num_envs
    left = np.full(num_envs, episodes // num_envs)
    left[: episodes % num_envs] += 1
    total, length = np.zeros(num_envs), np.zeros(num_envs, "int64")
    returns, lengths, successes = [], [], []
    obs, _ = envs.reset(seed=seed)
    begins, ended = np.ones(num_envs, "bool"), np.zeros(num_envs, "bool")
    while left.any():
        if on_step and on_step():
            break
        action = act(obs, begins)
        obs, reward, terminated, truncated, info = envs.step(action)
        begins, ended = ended, episode_over(terminated, truncated, info)
        total += reward
        length += 1
        if (length[left > 0] == ENDLESS).any():
            warnings.warn(
                f"An episode has lasted for {ENDLESS:,} steps, and whole ones "
                "are played: if it never ends, stop, and wrap the environment "
                "in `gymnasium.wrappers.TimeLimit`.",
                stacklevel=2,
            )
        for env in np.flatnonzero(ended):
            if left[env]:
                returns.append(total[env])
                lengths.append(length[env])
                left[env] -= 1
                successes += _successes([env], info)
            # The step that follows only resets; it is counted from here.
            total[env], length[env] = 0, -1
    return Episodes(
        np.array(returns), np.array(lengths), np.array(successes, "bool")
    )


def _successes(envs, info):
    """List of Booleans: those of some environments, where they tell them."""
    if "is_success" not in info:
        return []
    reached = np.array(info["is_success"], "bool")
    told = np.broadcast_to(info.get("_is_success", True), reached.shape)
    return reached[envs][told[envs]].tolist()


def _empty(shape, spec):
    return optree.tree_map(
        lambda leaf: np.empty((*shape, *leaf.shape), leaf.dtype), spec
    )
