"""Hindsight experience replay: what was reached becomes what was meant."""

import dataclasses

import numpy as np
import optree
import tensorflow as tf

from keras_rl2x import arguments
from keras_rl2x import spaces
from keras_rl2x.data.replay import Replay

STRATEGIES = ("final", "future")

# How many of the first transitions written have their rewards checked.
_CHECKED = 1_000


class HindsightReplay(Replay):
    """Draws most transitions as if their goal had been one reached later on.

    Observations are those of a goal environment in Gymnasium-Robotics: a
    `Dict` with the entries `observation`, `achieved_goal` and `desired_goal`.
    What is drawn is drawn uniformly, as from a `Replay`; then, with the
    probability `k / (k + 1)`, its `desired_goal` becomes an `achieved_goal`
    of the same episode, of one of the observations that follow, and the
    rewards of all the steps that are folded are computed anew. The paper
    stores k such copies with each transition; here, nothing is stored twice.

    An episode that is under way counts as far as it went. The `discount`
    stays as it was stored: reaching the new goal does not terminate, as it
    does not in most goal environments. In one that does terminate at its
    goal, such steps keep their discount of 0 under any other goal too.

    Args:
        envs: As in `Replay`.
        capacity: As in `Replay`.
        gamma: As in `Replay`.
        reward_fn: Function of achieved and desired goals `[B, ...]`, tensors
            as they are stored, to rewards `[B]`, written with `keras.ops` or
            TensorFlow: what the environment's `compute_reward` does, as
            `ops.sparse_goal_reward`. It is compared with the rewards of the
            first transitions that are written.
        n_step: As in `Replay`.
        strategy: `"future"`, the goals of all observations that follow in the
            episode alike, or `"final"`, that of its last one. Defaults to
            `"future"`.
        k: Float, how many transitions with a new goal are drawn for each with
            its own. Defaults to 4.
        seed: As in `Replay`.

    Raises:
        ValueError: If the observations have no goals, or goals of two kinds;
            if an argument does not fit; from `write`, if `reward_fn` does not
            give the rewards that the environments gave.

    Reference:
     - [Andrychowicz et al., 2017](https://arxiv.org/abs/1707.01495),
       algorithm 1 and section 4.5

    Example:

    ```python
    envs = keras_rl2x.envs.make(keras_rl2x.envs.toy.BitFlip, num_envs=8)
    replay = keras_rl2x.data.HindsightReplay(
        envs,
        capacity=100_000,
        gamma=0.98,
        reward_fn=keras_rl2x.ops.sparse_goal_reward,
    )
    ```
    """

    # Beside a replay: of `_episode` and `_final`.
    _bytes_per_cell = Replay._bytes_per_cell + 8

    def __init__(
        self,
        envs,
        capacity,
        gamma,
        reward_fn,
        n_step=1,
        strategy="future",
        k=4,
        seed=0,
    ):
        if strategy not in STRATEGIES:
            raise ValueError(
                f"`strategy` must be one of {STRATEGIES}. Received: {strategy=}"
            )
        _check_reward_fn(reward_fn, _goal_spec(envs.single_observation_space))
        self.reward_fn = reward_fn
        self.strategy = strategy
        self.k = float(arguments.nonnegative(k=k))
        self._unchecked = _CHECKED
        super().__init__(envs, capacity, gamma, n_step, seed=seed)

    def _make_variables(self):
        super()._make_variables()
        cells, envs = self.stream.cells, self.stream.num_envs
        # Episodes are numbered in each environment. The ring never holds more
        # of them than it has rows, so that their numbers modulo the rows tell
        # them apart: an episode is known by a place, which is that number
        # times the environments, plus the environment.
        self._episodes = _counters(envs)
        # By cell: the place of its episode.
        self._episode = _counters(cells)
        # By place: the cell of the episode's last observation so far.
        self._final = _counters(cells)

    def write(self, rows, next_obs):
        super().write(rows, next_obs)
        if self._unchecked > 0:
            self._check_rewards(len(rows["reward"]))

    def _append(self, rows, next_obs):
        cells, alive = super()._append(rows, next_obs)
        stream = self.stream
        # A dead cell holds the last observation of its episode; the head,
        # the last one so far.
        head = tf.ones([1, stream.num_envs], tf.bool)
        final = tf.concat([rows["dead"], head], 0)  # [T + 1, N]
        number = self._episodes + tf.cumsum(
            tf.cast(final, tf.int32), exclusive=True
        )
        self._episodes.assign(number[-1] % stream.rows)
        place = number % stream.rows * stream.num_envs
        place = tf.reshape(place + tf.range(stream.num_envs), [-1])
        final = tf.where(tf.reshape(final, [-1]))[:, 0]
        self._episode.scatter_update(tf.IndexedSlices(place, cells))
        self._final.scatter_update(
            tf.IndexedSlices(tf.gather(cells, final), tf.gather(place, final))
        )
        return cells, alive

    def _transitions(self, cells):
        path = self._path(cells)
        new, later = self._hindsight(cells)
        goal = optree.tree_map(
            lambda own, other: tf.where(_as_wide(new, own), other, own),
            self._goal("desired_goal", cells),
            self._goal("achieved_goal", later),
        )
        batch = self._fold(
            path,
            tf.where(
                new[:, None],
                self._rewards(path, goal),
                self.stream.gather("reward", path),
            ),
        )
        for name in ("obs", "next_obs"):
            batch[name] = {**batch[name], "desired_goal": goal}
        return batch

    def _hindsight(self, cells):
        """Which transitions get a new goal, and the cells where it is achieved.

        Args:
            cells: Integer tensor `[B]`.

        Returns:
            Tuple of tensors `[B]`, Boolean and integer.
        """
        stream = self.stream
        chance, part = tf.unstack(
            tf.random.stateless_uniform(
                [2, tf.size(cells)],
                seed=[self.seed, self._draws.assign_add(1)],
            )
        )
        new = chance < self.k / (self.k + 1)
        later = tf.gather(self._final, tf.gather(self._episode, cells))
        if self.strategy == "future":
            left = (later - cells) // stream.num_envs % stream.rows  # >= 1
            steps = 1 + tf.cast(part * tf.cast(left, tf.float32), tf.int32)
            later = (cells + stream.num_envs * steps) % stream.cells
        return new, later

    def _goal(self, name, cells):
        """The goals in these cells, achieved or desired: a tensor or a tree."""
        return optree.tree_map(
            lambda variable: tf.gather(variable, cells),
            self.stream.fields["obs"][name],
        )

    def _rewards(self, path, goal):
        """The rewards `[B, n]` of these steps, were these the goals `[B]`."""
        n, stream = path.shape[1], self.stream
        successors = tf.reshape(path + stream.num_envs, [-1]) % stream.cells
        reward = self.reward_fn(
            self._goal("achieved_goal", successors),
            optree.tree_map(lambda x: tf.repeat(x, n, axis=0), goal),
        )
        return tf.reshape(tf.cast(reward, tf.float32), [-1, n])

    def _check_rewards(self, num_rows):
        """Compares the rewards of the newest rows with what `reward_fn` gives.

        Raises:
            ValueError: If they are not the same.
        """
        stream = self.stream
        rows = np.arange(stream.head - num_rows, stream.head) % stream.rows
        cells = stream.cells_of(rows)
        cells = cells[~stream.gather("dead", cells).numpy()].astype("int32")
        desired = self._goal("desired_goal", cells)
        made = self._rewards(cells[:, None], desired)[:, 0].numpy()
        given = stream.gather("reward", cells).numpy()
        wrong = np.flatnonzero(~np.isclose(made, given, 1e-4, 1e-4))
        if wrong.size:
            one = wrong[0]
            raise ValueError(
                "`reward_fn` must give the environments' rewards, as their "
                f"`compute_reward` does: it does not for {wrong.size} of the "
                f"{len(cells)} transitions that were just written. Received: "
                f"{made[one]} where the reward was {given[one]}"
            )
        self._unchecked -= len(cells)

    def _variables(self):
        return {
            **super()._variables(),
            "episodes": self._episodes,
            "episode": self._episode,
            "final": self._final,
        }


def _counters(size):
    return tf.Variable(tf.zeros([size], tf.int32), trainable=False)


def _as_wide(mask, tensor):
    """A mask `[B]` with as many axes as the tensor."""
    return tf.reshape(mask, [-1] + [1] * (len(tensor.shape) - 1))


def _goal_spec(space):
    """What a goal is, in these observations; see `spaces.spec`."""
    spec = spaces.spec(space)
    entries = ("observation", "achieved_goal", "desired_goal")
    if not isinstance(spec, dict) or not set(entries) <= set(spec):
        raise ValueError(
            f"Observations must be a `Dict` with the entries {entries}: use "
            "`rl.data.Replay` where there are no goals. Received: "
            f"observation_space={space}"
        )
    # Nothing says that what can be achieved is all that may be desired.
    achieved, desired = (
        optree.tree_map(
            lambda leaf: dataclasses.replace(leaf, low=None, high=None), goal
        )
        for goal in (spec["achieved_goal"], spec["desired_goal"])
    )
    if achieved != desired:
        raise ValueError(
            "`achieved_goal` and `desired_goal` must be of the same shape and "
            "dtype, as the one is put in the place of the other. Received: "
            f"observation_space={space}"
        )
    return desired


def _check_reward_fn(reward_fn, spec):
    """Raises `ValueError` if it does not give one reward for each goal."""
    goals = optree.tree_map(
        lambda leaf: tf.TensorSpec([2, *leaf.shape], leaf.dtype), spec
    )
    try:
        traced = tf.function(reward_fn).get_concrete_function(goals, goals)
    except Exception as error:  # A user's function may raise anything.
        raise ValueError(
            "`reward_fn` is called in the graph, with batches of achieved and "
            "of desired goals: write it with `keras.ops`, as the environment's "
            "`compute_reward` without its `info`. Received: "
            f"{reward_fn}, which raises {type(error).__name__}: {error}"
        ) from error
    made = traced.structured_outputs
    shape = tuple(getattr(made, "shape", ()))
    if shape != (2,):
        raise ValueError(
            "`reward_fn` must give one reward for each pair of goals, a tensor "
            f"[B]. Received: {made}, of shape {shape}, for 2 pairs"
        )
