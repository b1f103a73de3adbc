"""From a policy network's outputs to actions, in NumPy.

A sampler takes the outputs for a batch of observations, a
`numpy.random.Generator`, and what `Agent.exploration` returns. An agent names
its own as `Agent.sampler`.
"""


def epsilon_greedy(q, rng, epsilon):
    """The best action, or with probability `epsilon` any action.

    Args:
        q: Array `[N, A]`, the action values.
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
            action[explore] = rng.integers(q.shape[-1], size=explore.sum())
    return action
