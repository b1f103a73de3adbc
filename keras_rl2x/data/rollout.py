"""Fresh experience: what on-policy agents learn from, once."""

import keras
import numpy as np
import tensorflow as tf

from keras_rl2x import ops
from keras_rl2x.data.stream import Compiled
from keras_rl2x.data.stream import Stream
from keras_rl2x.data.stream import in_order

# What `Agent.prepare` adds to each cell.
PREPARED = ("value", "log_prob", "advantage", "return", "weight")

# The most memory that the minibatches drawn at once may take.
_BLOCK_BYTES = 2**26


class Rollout:
    """The last `steps` rows of every environment, filled anew again and again.

    `Collect` fills it, `Agent.prepare` adds values and advantages in one
    batched call, `dataset` hands it out in shuffled minibatches. Dead cells
    (see `Stream`) are handed out too, with weight 0.

    Args:
        envs: A `gymnasium.vector.VectorEnv`, as made by `rl.envs.make`.
        steps: Integer, how many steps to take in every environment.
        gamma: Float in [0, 1], the discount of one environment step.
        seed: Integer seed of the shuffles. Defaults to 0.

    Attributes:
        nbytes: Integer, the memory it takes.
        size: Integer, the number of cells, `steps * num_envs`.
        updates: Integer, how many updates one filling is for; set by
            `dataset`.

    Example:

    ```python
    rollout = keras_rl2x.data.Rollout(envs, steps=128, gamma=0.99)
    agent.fit(
        rollout.dataset(minibatch_size=256, passes=4),
        steps_per_epoch=160,
        callbacks=[keras_rl2x.callbacks.Collect(envs, rollout)],
    )
    ```
    """

    def __init__(self, envs, steps, gamma, seed=0):
        if not 0 <= gamma <= 1:
            raise ValueError(f"`gamma` must be in [0, 1]. Received: {gamma=}")
        if int(steps) != steps or steps < 1:
            raise ValueError(
                f"`steps` must be an integer >= 1. Received: {steps=}"
            )
        self.steps = int(steps)
        self.gamma = float(gamma)
        self.seed = int(seed)
        self.stream = Stream(envs, self.steps, 4 * len(PREPARED))
        self.size = self.steps * self.stream.num_envs
        self.updates = None
        self.nbytes = self.stream.nbytes + 4 * len(PREPARED) * self.size
        with tf.device("cpu"):
            self._prepared = {
                name: tf.Variable(tf.zeros([self.size]), trainable=False)
                for name in PREPARED
            }
            self._so_far = tf.Variable(
                tf.zeros([self.stream.num_envs]), trainable=False
            )
            self._draws = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._full = tf.Variable(False, trainable=False)
            # Of recurrent agents: what they remembered before the first row,
            # and which episodes began with each row.
            self._memory = tf.Variable(
                tf.zeros([self.stream.num_envs, 0]),
                shape=[self.stream.num_envs, None],
                trainable=False,
            )
            self._begins = tf.Variable(
                tf.ones([self.stream.num_envs], tf.bool), trainable=False
            )
        self._append = Compiled(self.stream.append, self.stream.signature())
        self._next_begins = np.ones(self.stream.num_envs, "bool")
        self._agent = None

    def write(self, rows, next_obs, memory=None):
        """Replaces what is in it.

        Args:
            rows: Dict of arrays `[steps, num_envs, ...]`, as in
                `Stream.append`.
            next_obs: Array `[num_envs, ...]` (or a structure of such).
            memory: Array `[num_envs, M]`, what a recurrent agent remembered
                before the first row. Defaults to `None`.

        Raises:
            ValueError: If there are too few rows, or too many.
        """
        if len(rows["reward"]) != self.steps:
            raise ValueError(
                f"A rollout is written whole, {self.steps} rows at once. "
                f"Received: {len(rows['reward'])} rows"
            )
        if memory is not None:
            self._memory.assign(memory)
            self._begins.assign(self._next_begins)
            self._next_begins = rows["dead"][-1]
        self._append(rows, next_obs)

    def begin(self, obs):
        """Begins new episodes, whose first observations these are."""
        empty = self.stream.truncate()
        self._append(tf.nest.map_structure(lambda x: x[:0], empty), obs)
        self._next_begins = np.ones(self.stream.num_envs, "bool")
        self._so_far.assign(tf.zeros_like(self._so_far))
        self._full.assign(False)

    def prepare(self, agent):
        """Adds what an agent makes of the rows, by its method `prepare`."""
        if self._agent is not agent:
            self._agent = agent
            self._prepare = Compiled(self._fill, ())
        self._prepare()

    def _fill(self):
        added = self._agent.prepare(self.rows())
        for name, variable in self._prepared.items():
            variable.assign(tf.reshape(added[name], [-1]))
        self._full.assign(True)

    def rows(self):
        """What was lived, in the graph.

        Returns:
            Dict of tensors `[steps, num_envs, ...]`: `action, reward,
            discount` (gamma, 0 at termination), `cut` (whether the next row
            belongs to another episode), `live`, `reward_so_far` (the
            discounted sum of the episode's rewards up to here); `obs` and
            `begins` (whether an episode does), one row longer; and `memory`
            `[num_envs, M]`, before the first row.
        """
        stream = self.stream
        shape = (self.steps, stream.num_envs)
        cells = self._cells(tf.range(self.size + stream.num_envs))

        def read(name, cells, rows):
            return keras.tree.map_structure(
                lambda x: tf.reshape(x, [rows, shape[1], *x.shape[1:]]),
                stream.gather(name, cells),
            )

        fields = ("action", "reward", "terminated", "truncated", "dead")
        rows = {k: read(k, cells[: self.size], self.steps) for k in fields}
        terminated, dead = rows.pop("terminated"), rows.pop("dead")
        cut = terminated | rows.pop("truncated") | dead
        so_far, carried = ops.running_returns(
            rows["reward"], cut, self.gamma, self._so_far
        )
        self._so_far.assign(carried)
        return {
            **rows,
            "obs": read("obs", cells, self.steps + 1),
            "begins": tf.concat([self._begins[None], dead], 0),
            "memory": tf.convert_to_tensor(self._memory),
            "discount": self.gamma * tf.cast(~terminated, "float32"),
            "cut": cut,
            "live": ~dead,
            "reward_so_far": so_far,
        }

    def _cells(self, places):
        """The stream's cells at these places, counted from the oldest row."""
        first = (self.stream.cursor - self.steps) * self.stream.num_envs
        return tf.cast(
            (first + tf.cast(places, tf.int64)) % self.stream.cells, tf.int32
        )

    def dataset(self, minibatch_size=None, passes=1, sequences=False):
        """An endless dataset of minibatches: each pass in another order.

        Args:
            minibatch_size: Integer that divides `size`. Defaults to `size`.
            passes: Integer, how often to go through one filling. Defaults to
                1.
            sequences: Boolean, whether the environments are shuffled and their
                steps stay in order, for recurrent agents; `minibatch_size` is
                then a multiple of `steps`. Defaults to `False`.

        Returns:
            A `tf.data.Dataset` of dicts: `obs, action, value, log_prob,
            advantage, return, weight`, all with the batch axis first; with
            `sequences`, that axis is time by environments, flattened, and
            there are `begins`, too, and `memory` `[environments, M]`.

        Raises:
            ValueError: If the arguments do not fit.
        """
        minibatch_size = minibatch_size or self.size
        if passes < 1 or self.size % minibatch_size:
            divisors = [n for n in range(1, self.size + 1) if not self.size % n]
            nearest = min(divisors, key=lambda n: abs(n - minibatch_size))
            raise ValueError(
                f"`minibatch_size` must divide the {self.size} cells of the "
                f"rollout ({self.steps} steps of {self.stream.num_envs} "
                f"environments), {nearest} for instance, and `passes` be >= 1. "
                f"Received: {minibatch_size=}, {passes=}"
            )
        minibatches = self.size // minibatch_size
        self.updates = passes * minibatches
        # Drawing costs less at once than one by one.
        block = passes if passes * self.nbytes <= _BLOCK_BYTES else 1

        units = self.stream.num_envs if sequences else self.size
        if units % minibatches:
            raise ValueError(
                "With sequences, `minibatch_size` must be a multiple of the "
                f"{self.steps} steps that divides the rollout of {self.size}: "
                "the environments are not cut in time. Received: "
                f"{minibatch_size=}"
            )

        def draw(_):
            filled = tf.debugging.Assert(
                self._full,
                ["The rollout is empty: fill it with the `Collect` callback"],
            )
            with tf.control_dependencies([filled]):
                order = self._orders(block, units, shuffled=minibatches > 1)
            order = tf.reshape(
                order, [block * minibatches, units // minibatches]
            )
            if not sequences:
                return self._draw(order)
            rows = tf.range(self.steps) * self.stream.num_envs
            places = order[:, None] + rows[:, None]  # [K, T, environments]
            places = tf.reshape(places, [-1, minibatch_size])
            cells = self._cells(tf.range(self.size))
            dead = tf.gather(self.stream.fields["dead"], cells)
            begins = tf.concat([self._begins, dead], 0)
            return {
                **self._draw(places),
                "begins": tf.gather(begins, places),
                "memory": tf.gather(self._memory, order),
            }

        return in_order(tf.data.Dataset.counter().map(draw).unbatch())

    def _draw(self, places):
        """The minibatches `[K, B, ...]` of what lies at these places."""
        cells = self._cells(places)
        return {
            "obs": self.stream.gather("obs", cells),
            "action": self.stream.gather("action", cells),
            **{
                name: tf.gather(variable, places)
                for name, variable in self._prepared.items()
            },
        }

    def _orders(self, passes, units, shuffled):
        """Integers below `units`, in an order of their own for each pass."""
        if not shuffled:  # What is in one minibatch has no order.
            return tf.tile(tf.range(units), [passes])
        first = self._draws.assign_add(passes) - passes
        orders = [
            tf.random.experimental.stateless_shuffle(
                tf.range(units), [self.seed, first + i]
            )
            for i in range(passes)
        ]
        return tf.concat(orders, 0)

    def get_state(self):
        """Nested dict of arrays: the generator's; what was lived is used up."""
        return {"draws": self._draws.numpy(), "size": self.size}

    def set_state(self, state):
        """Restores what `get_state` returned.

        Raises:
            ValueError: If that rollout was of another size.
        """
        if state["size"] != self.size:
            raise ValueError(
                "The saved rollout is of another size: restore it with the "
                "`steps` and `num_envs` that it had. Received: "
                f"{state['size']} cells, for a rollout of {self.size}"
            )
        self._draws.assign(state["draws"])
