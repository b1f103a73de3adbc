"""Prioritised experience replay, proportional variant."""

import math

import keras
import tensorflow as tf

from keras_rl2x import arguments
from keras_rl2x.data.replay import Replay


class PrioritizedReplay(Replay):
    """Draws a transition with probability proportional to `priority^alpha`.

    A new transition has the highest priority seen; `update` sets it to the
    size of the temporal-difference error. Batches carry the importance
    weights that correct for the uneven draw, divided by the largest of them.

    The sums to search are kept in two levels, for blocks of about
    `sqrt(capacity)` cells: a draw is two binary searches, an update one sum
    for each block touched, all in the graph.

    Args:
        envs: As in `Replay`.
        capacity: As in `Replay`.
        gamma: As in `Replay`.
        n_step: As in `Replay`.
        clip_rewards: As in `Replay`.
        alpha: Float, how much priorities matter; 0 draws uniformly. Defaults
            to 0.6.
        beta: Float, or a `keras.optimizers.schedules.LearningRateSchedule`
            over the number of batches drawn: how far the weights correct the
            draw, up to 1. Defaults to 0.4.
        epsilon: Float, added to every priority. Defaults to 1e-6.
        seed: As in `Replay`.

    Raises:
        MemoryError: If it would not fit into this machine's memory.
        ValueError: If a number does not fit.

    Reference:
     - [Schaul et al., 2016](https://arxiv.org/abs/1511.05952), eq. 1 and
       section 3.4; stratified draws as in appendix B.2.1
    """

    _bytes_per_cell = Replay._bytes_per_cell + 4

    def __init__(
        self,
        envs,
        capacity,
        gamma,
        n_step=1,
        clip_rewards=False,
        alpha=0.6,
        beta=0.4,
        epsilon=1e-6,
        seed=0,
    ):
        self.alpha = float(arguments.nonnegative(alpha=alpha))
        self.beta = beta if callable(beta) else arguments.fraction(beta=beta)
        # A transition of priority 0 would never be drawn again.
        self.epsilon = float(arguments.positive(epsilon=epsilon))
        super().__init__(envs, capacity, gamma, n_step, clip_rewards, seed)

    def _make_variables(self):
        super()._make_variables()
        cells = self.stream.cells
        self._width = math.isqrt(cells - 1) + 1
        blocks = -(-cells // self._width)
        self._priority = tf.Variable(
            tf.zeros([blocks * self._width]), trainable=False
        )
        # In float32, a point between the sums of a million priorities could
        # not be told from its neighbours.
        self._block_sum = tf.Variable(
            tf.zeros([blocks], tf.float64), trainable=False
        )
        self._highest = tf.Variable(1.0, trainable=False)

    def _append(self, rows, next_obs):
        cells, alive = super()._append(rows, next_obs)
        self._set_priority(cells, tf.cast(alive, tf.float32) * self._highest)
        return cells, alive

    def update(self, index, td_error):
        """Sets priorities, in the graph.

        Args:
            index: Integer tensor `[B]`, the batch's `index`.
            td_error: Tensor `[B]`, of either sign.
        """
        priority = (tf.abs(td_error) + self.epsilon) ** self.alpha
        # A NaN would stay, and be drawn for ever, when `fit` has refused it.
        finite = tf.math.is_finite(priority)
        priority = tf.where(finite, priority, self._highest)
        self._highest.assign(tf.maximum(self._highest, tf.reduce_max(priority)))
        # A transition overwritten since it was drawn keeps its place empty.
        alive = tf.gather(self._priority, index) > 0
        self._set_priority(index, tf.where(alive, priority, 0.0))

    def _set_priority(self, cells, priority):
        self._priority.scatter_update(tf.IndexedSlices(priority, cells))
        blocks, _ = tf.unique(cells // self._width)
        sums = tf.reduce_sum(self._inside(blocks), axis=1)
        self._block_sum.scatter_update(tf.IndexedSlices(sums, blocks))

    def _inside(self, blocks):
        """The priorities in these blocks: tensor `[len(blocks), width]`."""
        by_block = tf.reshape(self._priority, [-1, self._width])
        return tf.cast(tf.gather(by_block, blocks), tf.float64)

    def set_block(self, block):
        """Keeps drawing one batch at a time.

        Each draw must see the priorities that the update before it has set.
        """

    def draw(self, batches, batch_size):
        draws = self._draws.assign_add(1)
        ends = tf.cumsum(self._block_sum)
        noise = tf.random.stateless_uniform(
            [batches, batch_size],
            seed=[self.seed, draws],
            dtype=tf.float64,
        )
        # In each batch, one draw from each of equal parts of the total.
        part = (tf.range(batch_size, dtype=tf.float64) + noise) / batch_size
        point = tf.reshape(part, [-1]) * ends[-1]
        block = _search(ends, point)
        before = tf.gather(tf.concat([[0.0], ends[:-1]], 0), block)
        inner = _search(tf.cumsum(self._inside(block), axis=1), point - before)
        cells = block * self._width + inner
        chance = tf.gather(self._priority, cells) / tf.cast(
            ends[-1], tf.float32
        )
        beta = self.beta
        if isinstance(beta, keras.optimizers.schedules.LearningRateSchedule):
            beta = beta(draws - 1)
        weight = (tf.cast(self._size, tf.float32) * chance) ** -beta
        weight = tf.reshape(weight, [batches, batch_size])
        weight /= tf.reduce_max(weight, axis=1, keepdims=True)
        return {
            **self._transitions(cells),
            "weight": tf.reshape(weight, [-1]),
            "index": cells,
        }

    def _variables(self):
        return {
            **super()._variables(),
            "priority": self._priority,
            "block_sum": self._block_sum,
            "highest": self._highest,
        }


def _search(ends, point):
    """Index of the first of the cumulative sums that exceeds `point`.

    Rounding may put a point on or beyond the last sum: it is pulled below, so
    that an entry of priority 0 is never found.
    """
    below = tf.math.nextafter(ends[..., -1], tf.zeros((), ends.dtype))
    point = tf.minimum(point, below)
    if len(ends.shape) == 1:
        return tf.searchsorted(ends, point, side="right")
    return tf.squeeze(
        tf.searchsorted(ends, point[:, None], side="right"), axis=1
    )
