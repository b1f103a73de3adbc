"""Noise on actions that remembers, and that of the weights of noisy layers."""

import numpy as np


def check_correlation(agent, correlation):
    """The argument `noise_correlation` of an agent, if it can act so.

    Args:
        agent: An `Agent`.
        correlation: Float in [0, 1).

    Returns:
        Float.

    Raises:
        ValueError: If it is something else, or actions are not real numbers.
    """
    if not 0 <= correlation < 1:
        raise ValueError(
            "`noise_correlation` must be at least 0 and less than 1. "
            f"Received: noise_correlation={correlation}"
        )
    if correlation and agent.action_spec.kind != "box":
        raise ValueError(
            "Only the noise on continuous actions can be correlated: leave "
            "`noise_correlation` out, or act in a `Box`. Received: "
            f"noise_correlation={correlation}, {agent.action_spec}"
        )
    return float(correlation)


class OrnsteinUhlenbeck:
    """Correlated normal numbers, in place of a sampler's generator.

    For each number of an action a process of mean 0 and standard deviation 1,

        dx = -theta x dt + sqrt(2 theta) dW,

    looked at every `dt`. With the correlation `c = exp(-theta dt)` that is

        x' = c x + sqrt(1 - c^2) xi,    xi ~ N(0, 1),

    exactly, for any `dt`; after k steps the correlation is `c^k`. An episode
    begins with a draw from N(0, 1), so the standard deviation is 1 at every
    step.

    Lillicrap et al. step by `x' = (1 - theta dt) x + sigma sqrt(dt) xi`
    instead, the same process with `c = 1 - theta dt` and its deviation times
    `sigma sqrt(dt) / sqrt(1 - c^2)`: their theta = 0.15 and sigma = 0.2, with
    dt = 1, are a correlation of 0.85 and a deviation of 0.38.

    Args:
        rng: A `numpy.random.Generator`.
        correlation: Float in [0, 1), that of two steps; 0 is white noise.

    References:
     - [Uhlenbeck & Ornstein, 1930](https://doi.org/10.1103/PhysRev.36.823)
     - [Lillicrap et al., 2016](https://arxiv.org/abs/1509.02971), section 7
    """

    def __init__(self, rng, correlation):
        self._rng = rng
        self._correlation = correlation
        self._begins = self._last = None

    def begin(self, begins=None):
        """Says where episodes begin at the next draw.

        Args:
            begins: Boolean array `[N]`, or `None`: nowhere.
        """
        self._begins = np.reshape(False if begins is None else begins, (-1, 1))

    def standard_normal(self, shape, dtype):
        """The next numbers, an array `[N, D]`."""
        drawn = self._rng.standard_normal(shape, dtype)
        if self._last is not None:
            c = np.where(self._begins, 0, self._correlation).astype(dtype)
            drawn = c * self._last + np.sqrt(1 - c * c) * drawn
        self._last = drawn
        return drawn


def factors(rng, width):
    """Noise of a `NoisyDense`, as `networks.resample_noise` draws it.

    Args:
        rng: A `numpy.random.Generator`.
        width: Integer.

    Returns:
        `float32` array `[width]`.
    """
    drawn = rng.standard_normal(width, "float32")
    return np.copysign(np.sqrt(np.abs(drawn)), drawn)
