"""Rainbow: C51 and all that had improved DQN."""

from keras_rl2x.agents.c51 import C51


def Rainbow(network, action_space, **kwargs):
    """A `C51` that is double, dueling and noisy, and explores by its noise.

    The rest of Rainbow is in the data: `data.PrioritizedReplay(n_step=3)`,
    with priorities by `callbacks.UpdatePriorities`. Leaving one part out is
    an argument, such as `double=False`.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`, with
            noisy layers too: `networks.mlp(..., noisy=True)`; of images the
            convolutions alone, `networks.nature_cnn(..., units=None)`, as the
            head begins with dense layers.
        action_space: A `gymnasium.spaces.Discrete`.
        **kwargs: As in `C51`: `v_min` and `v_max` must be given; `double`
            and `noisy` default to `True`, `head` to `"dueling"`, `epsilon`
            to 0.

    Returns:
        A `C51`.

    Raises:
        TypeError: As in `C51`.
        ValueError: As in `C51`.

    Reference:
     - [Hessel et al., 2018](https://arxiv.org/abs/1710.02298)

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    network = keras_rl2x.networks.mlp(
        envs.single_observation_space, noisy=True
    )
    agent = keras_rl2x.agents.Rainbow(
        network, envs.single_action_space, v_min=0.0, v_max=100.0
    )
    agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=16)
    replay = keras_rl2x.data.PrioritizedReplay(
        envs, capacity=50_000, gamma=0.99, n_step=3
    )
    ```
    """
    parts = {"double": True, "head": "dueling", "noisy": True, "epsilon": 0.0}
    return C51(network, action_space, **{**parts, **kwargs})
