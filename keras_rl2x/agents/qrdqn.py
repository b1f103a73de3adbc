"""QR-DQN: Q-learning of the quantiles of returns."""

import functools

import keras

from keras_rl2x import ops
from keras_rl2x.acting import samplers
from keras_rl2x.agents import value_based
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class QRDQN(Agent):
    """Learns quantiles of the return of each action, and acts on their mean.

    Where C51 learns probabilities of fixed returns, QR-DQN learns returns of
    fixed probabilities: nobody must say in advance how large returns are.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Discrete`.
        epsilon: As in `DQN`. Defaults to 0.05.
        head: `"q_values"` or `"dueling"`; see
            `networks.action_distributions`. Defaults to `"q_values"`.
        quantiles: Integer, how many. Defaults to 200.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If the network's output does not fit, or there are no
            quantiles.

    Reference:
     - [Dabney et al., 2018](https://arxiv.org/abs/1710.10044), algorithm 1

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    network = keras_rl2x.networks.mlp(envs.single_observation_space)
    agent = keras_rl2x.agents.QRDQN(
        network, envs.single_action_space, quantiles=32
    )
    agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=16)
    ```
    """

    metric_names = ("loss", "q_value", "td_error")
    sampler = staticmethod(samplers.epsilon_greedy)
    no_exploration = {"epsilon": 0.0}

    def __init__(
        self,
        network,
        action_space,
        epsilon=0.05,
        head="q_values",
        quantiles=200,
        seed=None,
        **kwargs,
    ):
        if quantiles < 1:
            raise ValueError(
                "`quantiles`, the number of them, must be at least 1. "
                f"Received: {quantiles=}"
            )
        super().__init__(action_space, seed, **kwargs)
        mean = functools.partial(keras.ops.mean, axis=-1)
        value_based.build_distributions(
            self, network, epsilon, head, quantiles, mean
        )
        self.quantiles = quantiles
        self.built = True

    @property
    def policy(self):
        return self.q_network

    @property
    def targets(self):
        return ((self.target_network, self.distribution_network),)

    def call(self, obs):
        return value_based.greedy(self, obs)

    def exploration(self):
        return value_based.exploration(self)

    def train_step(self, batch):
        value_based.resample_noise(self)
        target = ops.quantile_target(
            batch["reward"],
            batch["discount"],
            value_based.next_distribution(self, batch["next_obs"]),
        )
        fractions = ops.quantile_midpoints(self.quantiles)
        loss, q_value, td_error = value_based.fit_quantiles(
            self, batch, fractions, target
        )
        return self.finish(batch, loss=loss, q_value=q_value, td_error=td_error)

    def get_config(self):
        return {
            **super().get_config(),
            **value_based.get_config(self),
            "quantiles": self.quantiles,
        }
