"""Fresh experience: what on-policy agents learn from, once."""

import numpy as np
import optree
import tensorflow as tf

from keras_rl2x import arguments
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.compiled import Compiled
from keras_rl2x.data.memory import cell_bytes
from keras_rl2x.data.memory import check_memory
from keras_rl2x.data.minibatches import check
from keras_rl2x.data.minibatches import orders
from keras_rl2x.data.stream import cell_spec
from keras_rl2x.data.stream import in_order
from keras_rl2x.data.stream import signature

_NUMBER = spaces.Leaf("box", (), "float32")
_FLAG = spaces.Leaf("box", (), "bool")

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
        gamma: Float in [0, 1]: a reward k steps later counts `gamma**k`.
        clip_rewards: As in `Replay`. Defaults to `False`.
        seed: Integer seed of the shuffles. Defaults to 0.

    Attributes:
        nbytes: Integer, the memory it takes.
        size: Integer, the number of cells, `steps * num_envs`.
        updates: Integer, how many updates one filling is for; set by
            `dataset`.

    Raises:
        MemoryError: If it would not fit into this machine's memory.
        ValueError: If a number does not fit.

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

    # No `Stream`: nothing in it outlives the next filling, so it needs no ring,
    # and whole variables are written in the call that prepares them.

    def __init__(self, envs, steps, gamma, clip_rewards=False, seed=0):
        self.steps = arguments.integer(steps=steps)
        self.num_envs = int(envs.num_envs)
        self.gamma = float(arguments.fraction(gamma=gamma))
        self.clip_rewards = clip_rewards
        self.seed = arguments.integer(0, seed=seed)
        self.size = self.steps * self.num_envs
        self.updates = None
        spec = {
            **{name: cell_spec(envs)[name] for name in ("obs", "action")},
            **dict.fromkeys(PREPARED, _NUMBER),
        }
        self.nbytes = self.size * cell_bytes(spec)
        check_memory(
            self.nbytes, self.size, "`steps` to make at most {:,} cells"
        )
        with tf.device("cpu"):
            # What is handed out, time by environments, flattened.
            self._cells = self._variables(spec)
            self._begins = self._variables(_FLAG)
            self._memory = tf.Variable(
                tf.zeros([self.num_envs, 0]),
                shape=[self.num_envs, None],
                trainable=False,
            )
            self._so_far = tf.Variable(
                tf.zeros([self.num_envs]), trainable=False
            )
            self._draws = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._full = tf.Variable(False, trainable=False)
        begins = tf.TensorSpec([self.num_envs], "bool")
        self._signature = (*signature(envs, self.steps), begins)
        self._next_begins = np.ones(self.num_envs, "bool")
        self._written = None
        self._agent = None

    def _variables(self, spec):
        return optree.tree_map(
            lambda leaf: tf.Variable(
                tf.zeros([self.size, *leaf.shape], leaf.dtype), trainable=False
            ),
            spec,
        )

    @property
    def is_empty(self):
        """Boolean, whether it was never filled."""
        return not self._full.numpy()

    def write(self, rows, next_obs, memory=None):
        """Gives it what was collected; `prepare` takes it in.

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
        self._written = rows, next_obs, self._next_begins
        self._next_begins = rows["dead"][-1]

    def begin(self, obs):
        """Begins new episodes, whose first observations these are."""
        self._next_begins = np.ones(self.num_envs, "bool")
        self._so_far.assign(tf.zeros_like(self._so_far))
        self._full.assign(False)

    def prepare(self, agent):
        """Takes in what was written, and what an agent makes of it.

        Args:
            agent: An `Agent`, whose method `prepare` adds to the rows; its
                `env_steps` count them.
        """
        if self._agent is not agent:
            self._agent = agent
            self._prepare = Compiled(self._take_in, self._signature)
        self._prepare(*self._written)

    def _take_in(self, rows, next_obs, begins):
        rows, agent = self.rows(rows, next_obs, begins), self._agent
        if agent.normalize_rewards:
            rows["reward_so_far"] = self._rewards_so_far(rows)
        agent.env_steps.assign_add(tf.math.count_nonzero(rows["live"]))
        added = agent.prepare(rows)
        lived = {"action": rows["action"]}
        for name in ("obs", "begins"):  # One row longer.
            lived[name] = optree.tree_map(lambda x: x[:-1], rows[name])
        cells = {**self._cells, "begins": self._begins}
        optree.tree_map(
            lambda variable, value: variable.assign(
                tf.reshape(value, variable.shape)
            ),
            cells,
            {**lived, **{name: added[name] for name in PREPARED}},
        )
        self._full.assign(True)

    def rows(self, rows, next_obs, begins):
        """What was collected, as agents want it, in the graph.

        Args:
            rows: Dict of tensors `[steps, num_envs, ...]`, see `write`.
            next_obs: Tensor `[num_envs, ...]` (or a structure of such).
            begins: Boolean tensor `[num_envs]`, whether an episode begins with
                the first row.

        Returns:
            Dict of tensors `[steps, num_envs, ...]`: `action, reward,
            discount` (gamma, 0 at termination), `cut` (whether the next row
            belongs to another episode), `live`; `obs` and `begins` (whether
            an episode does), one row longer; and `memory` `[num_envs, M]`,
            before the first row. `Agent.normalize_rewards` adds
            `reward_so_far`, the discounted sum of the episode's rewards.
        """
        dead, reward = rows["dead"], rows["reward"]
        if self.clip_rewards:
            reward = tf.clip_by_value(reward, -1.0, 1.0)
        return {
            "obs": optree.tree_map(
                lambda x, last: tf.concat([x, last[None]], 0),
                rows["obs"],
                next_obs,
            ),
            "action": rows["action"],
            "reward": reward,
            "discount": self.gamma * tf.cast(~rows["terminated"], "float32"),
            "cut": rows["terminated"] | rows["truncated"] | dead,
            "live": ~dead,
            "begins": tf.concat([begins[None], dead], 0),
            "memory": tf.convert_to_tensor(self._memory),
        }

    def _rewards_so_far(self, rows):
        """They go on from one writing to the next: ask once for each."""
        sums, carried = ops.running_returns(
            rows["reward"], rows["cut"], self.gamma, self._so_far
        )
        self._so_far.assign(carried)
        return sums

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
        if minibatch_size is None:
            minibatch_size = self.size
        check(self, minibatch_size, passes, sequences)
        passes = int(passes)
        minibatches = self.size // minibatch_size
        self.updates = passes * minibatches
        # Drawing costs less at once than one by one.
        block = passes if passes * self.nbytes <= _BLOCK_BYTES else 1
        units = self.num_envs if sequences else self.size

        def draw(_):
            with tf.control_dependencies([self._assert_full()]):
                order = orders(
                    self.seed, self._draws, block, units, minibatches > 1
                )
            order = tf.reshape(
                order, [block * minibatches, units // minibatches]
            )
            if not sequences:
                return _gather(self._cells, order)
            rows = tf.range(self.steps) * self.num_envs
            places = order[:, None] + rows[:, None]  # [K, T, environments]
            places = tf.reshape(places, [-1, minibatch_size])
            return {
                **_gather(self._cells, places),
                "begins": tf.gather(self._begins, places),
                "memory": tf.gather(self._memory, order),
            }

        def whole(_):
            with tf.control_dependencies([self._assert_full()]):
                return optree.tree_map(tf.convert_to_tensor, self._cells)

        counter = tf.data.Dataset.counter()
        if passes == minibatches == 1 and not sequences:
            return in_order(counter.map(whole, synchronous=True), self)
        return in_order(counter.map(draw).unbatch(), self)

    def _assert_full(self):
        return tf.debugging.Assert(
            self._full,
            ["The rollout is empty: fill it with the `Collect` callback"],
        )

    def get_state(self):
        """Nested dict of arrays: the generator's; the rows are used up."""
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


def _gather(variables, places):
    return optree.tree_map(lambda x: tf.gather(x, places), variables)
