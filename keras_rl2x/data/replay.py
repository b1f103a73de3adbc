"""Uniform experience replay, folded to n steps when it is drawn."""

import tensorflow as tf

from keras_rl2x import arguments
from keras_rl2x import ops
from keras_rl2x.compiled import Compiled
from keras_rl2x.data.memory import cell_bytes
from keras_rl2x.data.stream import Stream
from keras_rl2x.data.stream import cell_spec
from keras_rl2x.data.stream import in_order
from keras_rl2x.data.stream import signature

# Batches that are drawn together take memory together: so much at most.
DRAWN_BYTES = 100_000_000


class Replay:
    """A ring of the last transitions, drawn exactly uniformly.

    Every stored transition is drawn with the same probability. Draws are
    counted, and the counter seeds them: saving it saves the whole state of the
    generator.

    Args:
        envs: A `gymnasium.vector.VectorEnv`, as made by `rl.envs.make`.
        capacity: Integer, how many transitions to keep (rounded up to whole
            rows of `envs.num_envs`).
        gamma: Float in [0, 1]: a reward k steps later counts `gamma**k`.
        n_step: Integer, how many rewards to sum before the value of the state
            that follows: fewer where the episode ends, or at the newest row.
            Defaults to 1.
        clip_rewards: Boolean, whether the rewards that are learned from are
            clipped to [-1, 1]. Defaults to `False`.
        seed: Integer seed of the draws. Defaults to 0.

    Attributes:
        nbytes: Integer, the memory it takes, all of it from the start on.
        size: Integer, how many transitions can be drawn.

    Raises:
        MemoryError: If it would not fit into this machine's memory.
        ValueError: If a number does not fit.

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

    # Beside the stream: of `_queue` and `_live`.
    _bytes_per_cell = 4 + 8

    def __init__(
        self, envs, capacity, gamma, n_step=1, clip_rewards=False, seed=0
    ):
        self.gamma = float(arguments.fraction(gamma=gamma))
        self.n_step = arguments.integer(n_step=n_step)
        if arguments.positive(capacity=capacity) < envs.num_envs:
            raise ValueError(
                "`capacity` must hold one transition of each of the "
                f"{envs.num_envs} environments. Received: {capacity=}"
            )
        self.clip_rewards = clip_rewards
        self.seed = arguments.integer(0, seed=seed)
        self.stream = Stream(
            envs, -(-int(capacity) // envs.num_envs), self._bytes_per_cell
        )
        with tf.device("cpu"):
            self._make_variables()
        self._transition_bytes = 2 * cell_bytes(cell_spec(envs))
        self._write = Compiled(self._append, signature(envs))
        print(
            f"{type(self).__name__}: {self.stream.capacity:,} rows x "
            f"{envs.num_envs} environments, {self.nbytes / 1e6:,.1f} MB"
        )

    def _make_variables(self):
        cells = self.stream.cells
        # The live cells, oldest first, in a ring of their own: so a uniform
        # draw is one random integer and one gather.
        self._queue = _variable(tf.zeros([cells], tf.int32))
        self._live = _variable(tf.zeros([cells], tf.int64))
        self._first = _variable(0)
        self._size = _variable(0)
        self._draws = _variable(0)
        self._block = _variable(1)

    @property
    def nbytes(self):
        return self.stream.nbytes + sum(
            variable.dtype.size * variable.shape.num_elements()
            for variable in self._variables().values()
        )

    @property
    def capacity(self):
        """Integer, the most transitions that it can hold."""
        return self.stream.capacity * self.stream.num_envs

    @property
    def size(self):
        return int(self._size.numpy())

    @property
    def is_empty(self):
        """Boolean, whether there is nothing to draw."""
        return self.size == 0

    def write(self, rows, next_obs):
        """Appends rows, and the observations that follow them.

        Args:
            rows: Dict of arrays `[T, num_envs, ...]`, as in `Stream.append`.
            next_obs: Array `[num_envs, ...]` (or a structure of such).

        Raises:
            ValueError: If there are more rows than the replay keeps.
        """
        self.stream.check_rows(rows)
        self._write(rows, next_obs)

    def _append(self, rows, next_obs):
        """`write`, in the graph; returns the cells and which of them live."""
        written, others = self.stream.append(rows, next_obs)
        live = tf.reshape(~rows["dead"], [-1])
        cells = tf.concat([written, others], 0)
        alive = tf.concat([live, tf.zeros_like(others, tf.bool)], 0)
        # What is overwritten is the oldest, the first in the queue.
        dropped = tf.reduce_sum(tf.gather(self._live, cells))
        self._live.scatter_update(
            tf.IndexedSlices(tf.cast(alive, tf.int64), cells)
        )
        new = tf.boolean_mask(written, live)
        added = tf.size(new, tf.int64)
        end = self._first + self._size
        places = tf.range(end, end + added) % self.stream.cells
        self._queue.scatter_update(tf.IndexedSlices(new, places))
        self._first.assign_add(dropped)
        self._size.assign_add(added - dropped)
        return cells, alive

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
        Batches that are too large together are drawn in equal parts.
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

        Raises:
            ValueError: If the size is not a positive integer.
        """
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(
                f"`batch_size` must be an integer >= 1. Received: {batch_size=}"
            )
        batch_size = int(batch_size)
        most = DRAWN_BYTES // (batch_size * self._transition_bytes)

        def draw(_):
            filled = tf.debugging.assert_positive(
                self._size,
                "The replay is empty: fill it with the `Collect` callback "
                "(its `warmup`), or with `replay.write`, before drawing",
            )
            # Else a draw from nothing would be what fails, less clearly.
            with tf.control_dependencies([filled]):
                batches = _divisor(tf.cast(self._block, tf.int32), most)
                drawn = self.draw(batches, batch_size)
            return tf.nest.map_structure(
                lambda x: tf.reshape(x, [batches, batch_size, *x.shape[1:]]),
                drawn,
            )

        return in_order(tf.data.Dataset.counter().map(draw).unbatch(), self)

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
        path = self._path(cells)
        return self._fold(path, self.stream.gather("reward", path))

    def _path(self, cells):
        """The cells of the steps to fold `[B, n]`, and what may lie behind."""
        steps = self.stream.num_envs * tf.range(self.n_step)
        return (cells[:, None] + steps[None]) % self.stream.cells

    def _fold(self, path, reward):
        """The transitions along these paths, with these rewards `[B, n]`."""
        stream, envs, cells = self.stream, self.stream.num_envs, path[:, 0]
        head = tf.cast(stream.cursor % stream.rows, tf.int32)
        to_head = (head - cells // envs) % stream.rows  # Steps stored, >= 1.
        terminated = stream.gather("terminated", path)
        ended = terminated | stream.gather("truncated", path)
        last = tf.range(1, self.n_step + 1)[None] >= to_head[:, None]
        if self.clip_rewards:
            reward = tf.clip_by_value(reward, -1.0, 1.0)
        reward, discount, steps = ops.n_step_return(
            reward, terminated, ended | last, self.gamma
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
        return {
            "stream": self.stream.get_state(),
            **{name: v.numpy() for name, v in self._variables().items()},
        }

    def set_state(self, state):
        """Restores what `get_state` returned."""
        self.stream.set_state(state["stream"])
        for name, variable in self._variables().items():
            variable.assign(state[name])

    def _variables(self):
        """Its own variables, by name; not those of the stream."""
        return {
            "queue": self._queue,
            "live": self._live,
            "first": self._first,
            "size": self._size,
            "draws": self._draws,
        }


def _divisor(number, most):
    """The largest divisor of a number that is not above `most`, or a 1,000."""
    candidates = tf.range(1, max(1, min(most, 1_000)) + 1)
    divides = number % candidates == 0
    return tf.reduce_max(tf.where(divides, candidates, 1))


def _variable(value):
    return tf.Variable(
        value,
        dtype=tf.int64 if isinstance(value, int) else None,
        trainable=False,
    )
