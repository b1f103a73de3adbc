"""From a policy network's outputs to actions, in NumPy.

A sampler takes the outputs for a batch of observations, a
`numpy.random.Generator`, and what `Agent.exploration` returns. An agent names
its own as `Agent.sampler`. Those of distributions are, draw for draw in law,
what `ops.distributions` are in the graph.
"""

import functools

import numpy as np

from keras_rl2x import spaces


def epsilon_greedy(q, rng, epsilon):
    """The best action, or with probability `epsilon` any allowed action.

    Args:
        q: Array `[N, A]`, the action values; `spaces.MASKED` where an action
            is not allowed.
        rng: A `numpy.random.Generator`.
        epsilon: Float in [0, 1]; 0 is greedy and draws nothing from `rng`.

    Returns:
        Integer array `[N]`.

    Reference:
     - [Sutton & Barto, 2018](http://incompleteideas.net/book/the-book.html),
       section 2.2
    """
    action = q.argmax(axis=-1)
    if epsilon > 0:
        explore = rng.random(len(q)) < epsilon
        if explore.any():
            allowed = q[explore] > spaces.MASKED / 2
            if allowed.all():
                action[explore] = rng.integers(q.shape[-1], size=len(allowed))
            else:
                order = rng.random(allowed.shape)
                action[explore] = np.where(allowed, order, -1).argmax(axis=-1)
    return action


def categorical(logits, rng, greedy=False):
    """One category of each row, by the Gumbel-max trick.

    Args:
        logits: Array `[N, A]`.
        rng: A `numpy.random.Generator`.
        greedy: Boolean, whether to take the most probable one; draws nothing
            from `rng`. Defaults to `False`.

    Returns:
        Integer array `[N]`.
    """
    if not greedy:
        logits = logits + rng.gumbel(size=logits.shape)
    return logits.argmax(axis=-1)


def multi_categorical(logits, rng, num_classes, shape, greedy=False):
    """One category for each of several entries.

    Args:
        logits: Array `[N, sum(num_classes)]`.
        rng: A `numpy.random.Generator`.
        num_classes: Sequence of integers.
        shape: Tuple of integers, that of an action.
        greedy: As in `categorical`.

    Returns:
        Integer array `[N, *shape]`.
    """
    parts = np.split(logits, np.cumsum(num_classes)[:-1], axis=-1)
    drawn = [categorical(part, rng, greedy) for part in parts]
    return np.stack(drawn, axis=-1).reshape(-1, *shape)


def bernoulli(logits, rng, shape, greedy=False):
    """Bits: 1 with the probability `sigmoid(logits)`.

    Args:
        logits: Array `[N, B]`.
        rng: A `numpy.random.Generator`.
        shape: Tuple of integers, that of an action.
        greedy: As in `categorical`.

    Returns:
        Array `[N, *shape]` of 0 and 1.
    """
    threshold = 0.0 if greedy else rng.logistic(size=logits.shape)
    return (logits > threshold).astype("uint8").reshape(-1, *shape)


def gaussian(params, rng, shape, greedy=False):
    """Normal numbers.

    Args:
        params: Array `[N, 2 D]`, means and logarithms of the deviations.
        rng: A `numpy.random.Generator`.
        shape: Tuple of integers, that of an action.
        greedy: As in `categorical`: the means.

    Returns:
        Array `[N, *shape]`.
    """
    action, log_std = np.split(params, 2, axis=-1)
    if not greedy:
        noise = rng.standard_normal(action.shape, "float32")
        action = action + np.exp(log_std) * noise
    return action.reshape(-1, *shape)


def squashed_gaussian(params, rng, shape, greedy=False):
    """Normal numbers through tanh.

    Args:
        params: Array `[N, 2 D]`, means and logarithms of the deviations.
        rng: A `numpy.random.Generator`.
        shape: Tuple of integers, that of an action.
        greedy: As in `categorical`: the tanh of the means.

    Returns:
        Array `[N, *shape]` in [-1, 1].
    """
    return np.tanh(gaussian(params, rng, shape, greedy))


def noisy(action, rng, shape, noise=0.0):
    """An action and normal noise, within -1 and 1.

    Args:
        action: Array `[N, D]` in [-1, 1].
        rng: A `numpy.random.Generator`.
        shape: Tuple of integers, that of an action.
        noise: Float, the deviation of the noise; 0 draws nothing from `rng`.

    Returns:
        Array `[N, *shape]` in [-1, 1].
    """
    if noise:
        drawn = rng.standard_normal(action.shape, "float32")
        action = np.clip(action + noise * drawn, -1, 1)
    return action.reshape(-1, *shape)


def for_space(leaf):
    """The sampler of `ops.distribution(leaf)`.

    Args:
        leaf: A `spaces.Leaf`.

    Returns:
        Function of the outputs and of a generator.
    """
    if leaf.kind == "discrete":
        return categorical
    if leaf.kind == "multi_discrete":
        return functools.partial(
            multi_categorical, num_classes=leaf.num_classes, shape=leaf.shape
        )
    if leaf.kind == "multi_binary":
        return functools.partial(bernoulli, shape=leaf.shape)
    return functools.partial(gaussian, shape=leaf.shape)
