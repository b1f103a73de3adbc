"""Robust statistics of a few runs, in NumPy.

Reference:
 - [Agarwal et al., 2021](https://arxiv.org/abs/2108.13264)
"""

import numpy as np


def iqm(scores, axis=None):
    """The interquartile mean: of the middle half, the best quarter and the
    worst quarter (rounded down to whole runs) left out.

    Args:
        scores: Array.
        axis: Integer. Defaults to `None`: over all entries.

    Returns:
        Float, or an array without the axis.
    """
    scores = np.sort(np.asarray(scores, "float64"), axis=axis)
    axis = 0 if axis is None else axis
    cut = scores.shape[axis] // 4
    kept = np.arange(cut, scores.shape[axis] - cut)
    return scores.take(kept, axis).mean(axis)


def iqm_interval(scores, confidence=0.95, samples=10_000, seed=0):
    """The stratified bootstrap interval of the interquartile mean.

    Every task is a stratum: runs are drawn with replacement within each.

    Args:
        scores: Array `[runs]`, or `[runs, tasks]`.
        confidence: Float in (0, 1). Defaults to 0.95.
        samples: Integer, how many times to draw. Defaults to 10,000.
        seed: Integer seed of the draws. Defaults to 0.

    Returns:
        Tuple of two floats, the percentiles of what was drawn.
    """
    scores = np.asarray(scores, "float64").reshape(len(scores), -1)
    runs, tasks = scores.shape
    rng = np.random.default_rng(seed)
    drawn = rng.integers(runs, size=(samples, runs, tasks))
    values = scores[drawn, np.arange(tasks)].reshape(samples, -1)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(iqm(values, axis=1), [tail, 100 - tail])
    return float(low), float(high)
