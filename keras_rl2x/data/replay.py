"""Uniform experience replay, folded to n steps when it is drawn."""

import numpy as np
import tensorflow as tf

from keras_rl2x import ops
from keras_rl2x.data.stream import Stream


class Replay:
    """A ring of the last transitions, drawn exactly uniformly.

    Every live cell is drawn with the same probability; dead cells and the
    head never are. Draws are counted, and the counter seeds them: saving it
    saves the whole state of the generator.

    Args:
        envs: A `gymnasium.vector.VectorEnv`, as made by `rl.envs.make`.
        capacity: Integer, how many transitions to keep (rounded up to whole
            rows of `envs.num_envs`).
        gamma: Float in [0, 1], the discount of one environment step.
        n_step: Integer, how many steps to fold into one. A fold ends early
            where the episode does, or at the newest row. Defaults to 1.
        seed: Integer seed of the draws. Defaults to 0.

    Attributes:
        nbytes: Integer, the memory it takes, all of it from the start on.
        size: Integer, how many transitions can be drawn.

    Reference:
     - [Lin, 1992](https://doi.org/10.1007/BF00992699)

    Example:

    ```python
    replay = keras_rl2x.data.Replay(envs, capacity=100_000, gamma=0.99)
    agent.fit(
        replay.dataset(batch_size=64),
        steps_per_epoch=1_000,
        callbacks=[
            keras_rl2x.callbacks.Collect(envs, replay, warmup=1_000),
            keras_rl2x.callbacks.TargetUpdate(every=128),
        ],
    )
    ```
    """

    def __init__(self, envs, capacity, gamma, n_step=1, seed=0):
        if not 0 <= gamma <= 1:
            raise ValueError(f"`gamma` must be in [0, 1]. Received: {gamma=}")
        if int(n_step) != n_step or n_step < 1:
            raise ValueError(
                f"`n_step` must be an integer >= 1. Received: {n_step=}"
            )
        if capacity < envs.num_envs:
            raise ValueError(
                "`capacity` must hold one transition of each of the "
                f"{envs.num_envs} environments. Received: {capacity=}"
            )
        self.gamma = float(gamma)
        self.n_step = int(n_step)
        self.seed = int(seed)
        self.stream = Stream(envs, -(-int(capacity) // envs.num_envs))
        # A queue of the live cells, oldest first, in a ring of its own: what
        # makes a uniform draw one random integer and one gather.
        self._live_in_row = np.zeros(self.stream.rows, "int64")
        with tf.device("cpu"):
            self._queue = _variable(tf.zeros([self.stream.cells], tf.int32))
            self._first = _variable(0)
            self._size = _variable(0)
            self._draws = _variable(0)
            self._block = _variable(1)
        print(
            f"{type(self).__name__}: {self.stream.rows - 1:,} rows x "
            f"{envs.num_envs} environments, {self.nbytes / 1e6:,.1f} MB"
        )

    @property
    def nbytes(self):
        return self.stream.nbytes + self._queue.shape[0] * 4

    @property
    def capacity(self):
        """Integer, the most transitions that it can hold."""
        return (self.stream.rows - 1) * self.stream.num_envs

    @property
    def size(self):
        return int(self._size.numpy())

    def write(self, rows, next_obs):
        """Appends rows; see `Stream.write`."""
        written = self.stream.write(rows, next_obs)
        dropped = int(self._live_in_row[written].sum())
        live = ~rows["dead"]
        self._live_in_row[written[:-1]] = live.sum(axis=1)
        self._live_in_row[written[-1]] = 0
        cells = self.stream.cells_of(written[:-1])[live.reshape(-1)]
        self._first.assign_add(dropped)
        self._size.assign_add(len(cells) - dropped)
        end = int(self._first.numpy()) + self.size
        places = np.arange(end - len(cells), end) % self.stream.cells
        self._queue.scatter_update(
            tf.IndexedSlices(cells.astype("int32"), places)
        )
        return written

    def begin(self, obs):
        """Begins new episodes, whose first observations these are.

        Episodes that are under way are stored as truncated.
        """
        rows = self.stream.truncate()
        self.write(rows, obs)

    def set_block(self, block):
        """Sets how many batches are drawn at once.

        `Collect` sets it to its `chunk`: nothing is written between the draws
        of one chunk, so drawing them together changes nothing but the cost.
        """
        self._block.assign(block)

    def dataset(self, batch_size):
        """An endless dataset of batches, each drawn when it is asked for.

        Args:
            batch_size: Integer.

        Returns:
            A `tf.data.Dataset` of dicts: `obs, action, reward, discount,
            next_obs, weight, index`, all with the batch axis first. `discount`
            multiplies the value of `next_obs`: `gamma^k` for a fold of k
            steps, 0 where the episode terminated.
        """

        def draw(_):
            tf.debugging.assert_positive(
                self._size,
                "The replay is empty: fill it with the `Collect` callback "
                "(its `warmup`), or with `replay.write`, before drawing.",
            )
            batches = tf.cast(self._block, tf.int32)
            return tf.nest.map_structure(
                lambda x: tf.reshape(
                    x, tf.concat([[batches, batch_size], tf.shape(x)[1:]], 0)
                ),
                self.draw(batches, batch_size),
            )

        def fix_shape(batch):
            return tf.nest.map_structure(
                lambda x: tf.ensure_shape(x, [batch_size, *x.shape[1:]]), batch
            )

        dataset = tf.data.Dataset.counter().map(draw).unbatch().map(fix_shape)
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(
                tf.data.INFINITE_CARDINALITY
            )
        )
        options = tf.data.Options()
        # Draws must not run ahead of writes.
        options.experimental_optimization.inject_prefetch = False
        options.autotune.enabled = False
        return dataset.with_options(options)

    def draw(self, batches, batch_size):
        """Draws `batches * batch_size` transitions, in the graph.

        Returns:
            One batch of them all, with the keys of `dataset`.
        """
        offset = tf.random.stateless_uniform(
            [batches * batch_size],
            seed=[self.seed, self._draws.assign_add(1)],
            maxval=self._size,
            dtype=tf.int64,
        )
        cells = tf.gather(
            self._queue, (self._first + offset) % self.stream.cells
        )
        return {
            **self._transitions(cells),
            "weight": tf.ones_like(cells, tf.float32),
            "index": cells,
        }

    def _transitions(self, cells):
        """Folds the transitions that begin in these cells."""
        stream, n, envs = self.stream, self.n_step, self.stream.num_envs
        path = cells[:, None] + envs * tf.range(n)[None]
        path %= stream.cells  # [B, n]
        head = tf.cast(stream.cursor % stream.rows, tf.int32)
        to_head = (head - cells // envs) % stream.rows  # Steps stored, >= 1.
        terminated = stream.gather("terminated", path)
        ended = terminated | stream.gather("truncated", path)
        last = tf.range(1, n + 1)[None] >= to_head[:, None]
        reward, discount, steps = ops.n_step_return(
            stream.gather("reward", path), terminated, ended | last, self.gamma
        )
        successor = (cells + envs * steps) % stream.cells
        return {
            "obs": stream.gather("obs", cells),
            "action": stream.gather("action", cells),
            "reward": reward,
            "discount": discount,
            "next_obs": stream.gather("obs", successor),
        }

    def get_state(self):
        """Dict of arrays and nested dicts: everything that was stored."""
        first, size = int(self._first.numpy()), self.size
        return {
            "stream": self.stream.get_state(),
            "queue": self._queue.numpy(),
            "live_in_row": self._live_in_row.copy(),
            "first": first,
            "size": size,
            "draws": int(self._draws.numpy()),
        }

    def set_state(self, state):
        """Restores what `get_state` returned."""
        self.stream.set_state(state["stream"])
        self._queue.assign(state["queue"])
        self._live_in_row[:] = state["live_in_row"]
        self._first.assign(state["first"])
        self._size.assign(state["size"])
        self._draws.assign(state["draws"])


def _variable(value):
    return tf.Variable(
        value,
        dtype=tf.int64 if isinstance(value, int) else None,
        trainable=False,
    )
