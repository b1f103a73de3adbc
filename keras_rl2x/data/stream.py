"""Rows of time x environments: everything collected is stored once."""

import numpy as np
import optree
import tensorflow as tf

from keras_rl2x import spaces
from keras_rl2x.data import frames
from keras_rl2x.data import state_files
from keras_rl2x.data.memory import cell_bytes
from keras_rl2x.data.memory import check_memory


def cell_spec(envs):
    """What a cell holds: a dict of trees of `spaces.Leaf`s.

    Args:
        envs: A `gymnasium.vector.VectorEnv`; only its spaces are used.
    """
    return {
        "obs": spaces.spec(envs.single_observation_space),
        "action": spaces.action_spec(envs.single_action_space),
        "reward": spaces.Leaf("box", (), "float32"),
        "terminated": spaces.Leaf("box", (), "bool"),
        "truncated": spaces.Leaf("box", (), "bool"),
        "dead": spaces.Leaf("box", (), "bool"),
    }


def signature(envs, steps=None):
    """The `tf.TensorSpec`s of rows, and of the observations that follow them.

    Args:
        envs: As in `cell_spec`.
        steps: Integer, the number of rows. Defaults to `None`: any.
    """

    def specs(tree, *shape):
        return optree.tree_map(
            lambda leaf: tf.TensorSpec([*shape, *leaf.shape], leaf.dtype), tree
        )

    spec, num_envs = cell_spec(envs), int(envs.num_envs)
    return specs(spec, steps, num_envs), specs(spec["obs"], num_envs)


class Stream:
    """A ring of `[rows, num_envs]` cells in TensorFlow variables, on the CPU.

    A cell holds one observation and what was done with it: `obs, action,
    reward, terminated, truncated, dead`. The successor of a cell's observation
    is the observation of the next row, also at the end of an episode: there
    the next row is a *dead* one, that holds the final observation and nothing
    else (Gymnasium's `AutoresetMode.NEXT_STEP`). The newest row, the *head*,
    holds the observations that were not acted upon yet.

    Cells are flattened: cell `row * num_envs + env`, its successor
    `num_envs` further on.

    Where observations are stacks of frames (`envs.frame_stack`), a cell holds
    the newest frame only, and `gather` puts the stacks together. The oldest
    rows, whose stacks are not whole, are `spare`: kept, but not to be drawn.

    Args:
        envs: A `gymnasium.vector.VectorEnv`; only its spaces are used.
        rows: Integer, how many rows to keep, the head not counted.
        extra_bytes: Integer, what its owner keeps beside each cell, when the
            machine's memory is considered. Defaults to 0.

    Raises:
        MemoryError: If the rows would not fit into this machine's memory.
    """

    def __init__(self, envs, rows, extra_bytes=0):
        self.num_envs = int(envs.num_envs)
        self.frame_stack = int(getattr(envs, "frame_stack", 1))
        self.spare = self.frame_stack - 1
        self.rows = int(rows) + self.spare + 1
        self.cells = self.rows * self.num_envs
        spec = cell_spec(envs)
        if self.frame_stack > 1:
            spec["obs"] = frames.one(spec["obs"], self.frame_stack)
        leaves, self._tree = optree.tree_flatten(spec)
        self.nbytes = self.cells * cell_bytes(spec)
        check_memory(
            self.nbytes + self.cells * extra_bytes,
            self.cells,
            "`capacity` to at most {:,} transitions",
        )
        with tf.device("cpu"):
            self._leaves = [
                tf.Variable(
                    tf.zeros((self.cells, *leaf.shape), leaf.dtype),
                    trainable=False,
                )
                for leaf in leaves
            ]
            self.cursor = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.fields = optree.tree_unflatten(self._tree, self._leaves)

    @property
    def capacity(self):
        """Integer, how many rows can be drawn from."""
        return self.rows - self.spare - 1

    @property
    def head(self):
        """Integer, the row of the observations not acted upon yet."""
        return int(self.cursor.numpy()) % self.rows

    def check_rows(self, rows):
        """Raises `ValueError` if these rows cannot be appended at once."""
        if rows.keys() != self.fields.keys():
            raise ValueError(
                f"Rows have the entries {sorted(self.fields)}; to store whole "
                "episodes, `rl.data.add_episode` is easier. Received: "
                f"{sorted(rows)}"
            )
        steps = len(rows["reward"])
        if steps > self.capacity:
            raise ValueError(
                f"A chunk of {steps} rows does not fit into a stream of "
                f"{self.capacity}: raise `capacity`, or collect less at once "
                "(a smaller `chunk`)."
            )

    def append(self, rows, next_obs):
        """Appends rows, and the observations that follow them, in the graph.

        Args:
            rows: Dict of tensors `[T, num_envs, ...]`, with the keys `obs,
                action, reward, terminated, truncated, dead`; T is less than
                the number of rows kept.
            next_obs: Tensor `[num_envs, ...]` (or a structure of such).

        Returns:
            Tuple of integer tensors: the cells that were written, `[T *
            num_envs]`, and those of the new head and of the spare rows behind
            it, `[(1 + spare) * num_envs]`.
        """
        if self.frame_stack > 1:
            next_obs = frames.newest(next_obs, self.frame_stack)
            obs = frames.newest(rows["obs"], self.frame_stack)
            rows = {**rows, "obs": obs}
        steps = tf.shape(rows["reward"], tf.int64)[0]
        written = self._cells_from(self.cursor, steps)
        head = self._cells_from(self.cursor + steps, 1)
        for variable, values in zip(
            self._leaves, self._tree.flatten_up_to(rows)
        ):
            values = tf.reshape(values, [-1, *variable.shape[1:]])
            variable.scatter_update(tf.IndexedSlices(values, written))
        for variable, values in zip(
            optree.tree_leaves(self.fields["obs"]),
            optree.tree_leaves(next_obs),
        ):
            variable.scatter_update(tf.IndexedSlices(values, head))
        self.cursor.assign_add(steps)
        return written, self._cells_from(self.cursor, 1 + self.spare)

    def _cells_from(self, row, num_rows):
        """Integer tensor, the cells of `num_rows` rows from `row` on."""
        first = row * self.num_envs
        last = (row + num_rows) * self.num_envs
        return tf.cast(tf.range(first, last) % self.cells, tf.int32)

    def cells_of(self, rows):
        """Integer array, the flat indices of all cells of these rows."""
        return (
            np.asarray(rows)[:, None] * self.num_envs + np.arange(self.num_envs)
        ).reshape(-1)

    def gather(self, name, cells):
        """The values of field `name` in these cells: a tensor or a tree."""
        if name == "obs" and self.frame_stack > 1:
            return self._gather_stacks(cells)
        return optree.tree_map(
            lambda variable: tf.gather(variable, cells), self.fields[name]
        )

    def _gather_stacks(self, cells):
        cells = tf.cast(cells, tf.int32)
        back = self.num_envs * tf.range(self.spare, -1, -1)
        path = (cells[:, None] - back[None]) % self.cells  # Oldest first.
        # The row behind a dead one begins an episode.
        begins = tf.gather(self.fields["dead"], path[:, :-1])
        return frames.stack(tf.gather(self.fields["obs"], path), begins)

    def read(self, name, rows):
        """The same, for whole rows, as arrays `[T, num_envs, ...]`."""
        shape = (len(rows), self.num_envs)
        return optree.tree_map(
            lambda x: x.numpy().reshape(*shape, *x.shape[1:]),
            self.gather(name, self.cells_of(rows)),
        )

    def truncate(self):
        """Marks the last step of every unfinished episode as truncated.

        Returns:
            Dict of arrays, the rows to write next: the dead row that holds
            the final observations, or none if nothing was written yet.
        """
        num_rows = 1 if int(self.cursor.numpy()) else 0
        rows = optree.tree_map(
            lambda x: np.zeros_like(x[:num_rows]),
            {name: self.read(name, [self.head]) for name in self.fields},
        )
        if num_rows:
            rows["obs"] = self.read("obs", [self.head])
            rows["dead"][:] = True
            cells = self.cells_of([(self.head - 1) % self.rows])
            terminated = self.gather("terminated", cells)
            going_on = ~(terminated | self.gather("dead", cells))
            truncated = self.gather("truncated", cells) | going_on
            self.fields["truncated"].scatter_update(
                tf.IndexedSlices(truncated, tf.constant(cells))
            )
        return rows

    def get_state(self):
        """Dict of arrays, the large ones `Parts`: only what was written."""
        cursor = int(self.cursor.numpy())
        used = min(cursor + 1, self.rows) * self.num_envs
        leaves = {
            f"leaf_{i}": _part(variable, used)
            for i, variable in enumerate(self._leaves)
        }
        return {"cursor": cursor, "cells": self.cells, **leaves}

    def set_state(self, state):
        """Restores what `get_state` returned.

        Args:
            state: What `get_state` of a stream like this one returned.

        Raises:
            ValueError: If that stream was of another size, or held other
                observations or actions.
        """
        if state["cells"] != self.cells:
            raise ValueError(
                "The saved stream is of another size: restore it with the "
                f"`capacity` and `num_envs` that it had. Received: "
                f"{state['cells']} cells, for a stream of {self.cells}"
            )
        leaves = [state.get(f"leaf_{i}") for i in range(len(self._leaves))]
        for values, variable in zip(leaves, self._leaves):
            if values is None or values.shape[1:] != variable.shape[1:]:
                raise ValueError(
                    "The saved stream holds other observations or actions: "
                    "restore it for the environments that it was made for. "
                    f"Received: {[np.shape(values) for values in leaves]}, for "
                    f"{[tuple(variable.shape) for variable in self._leaves]}"
                )
        seam = self.spare * self.num_envs
        for values, variable in zip(leaves, self._leaves):
            if seam:  # What the first row's stack looks back at.
                variable[-seam:].assign(tf.zeros_like(variable[-seam:]))
            for start, part in state_files.parts(values):
                variable[start : start + len(part)].assign(part)
        self.cursor.assign(state["cursor"])


def _part(variable, size):
    """The first cells of a field: an array, or `Parts` of one that is large."""

    def read(start, stop):
        return variable.sparse_read(tf.range(start, stop)).numpy()

    shape = (size, *variable.shape[1:])
    parts = state_files.Parts(shape, variable.dtype.as_numpy_dtype, read)
    large = state_files.size(parts) > state_files.PART_BYTES
    return parts if large else read(0, size)


def in_order(dataset, source):
    """An endless dataset, whose draws do not run ahead of the writes.

    Args:
        dataset: A `tf.data.Dataset`.
        source: The replay or rollout that it is drawn from; the dataset's
            attribute `source`, by which `fit` knows it, as it knows `updates`,
            those that one filling of a rollout is for.
    """
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    )
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    options.autotune.enabled = False
    dataset = dataset.with_options(options)
    dataset.source = source
    dataset.updates = getattr(source, "updates", None)
    return dataset
