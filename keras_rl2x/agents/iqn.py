"""Implicit quantile networks."""

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.acting import samplers
from keras_rl2x.agents import value_based
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class IQN(Agent):
    """Learns the quantile of the return at any fraction, drawn anew each time.

    Where QR-DQN learns so many quantiles, IQN learns a function from fractions
    to quantiles. It acts on the mean of the quantiles at fixed fractions,
    evenly spread; the paper draws those too.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Discrete`.
        epsilon: As in `DQN`. Defaults to 0.05.
        head: `"q_values"` or `"dueling"`; see
            `networks.implicit_distributions`. Defaults to `"q_values"`.
        quantiles: Integer, at how many fractions an update moves the
            quantiles (the paper's N). Defaults to 64.
        target_quantiles: Integer, how many the target has (N'). Defaults to
            64.
        acting_quantiles: Integer, of how many the mean is taken (K). Defaults
            to 32.
        cosines: Integer, how many features encode a fraction. Defaults to 64.
        seed: Integer seed of the head's initial weights, and of the fractions.
            Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If the network's output does not fit, or one of the numbers
            is less than 1.

    Reference:
     - [Dabney et al., 2018](https://arxiv.org/abs/1806.06923), eq. 2 to 4

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    network = keras_rl2x.networks.mlp(envs.single_observation_space)
    agent = keras_rl2x.agents.IQN(
        network, envs.single_action_space, quantiles=8, target_quantiles=8
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
        quantiles=64,
        target_quantiles=64,
        acting_quantiles=32,
        cosines=64,
        seed=None,
        **kwargs,
    ):
        if min(quantiles, target_quantiles, acting_quantiles, cosines) < 1:
            raise ValueError(
                "There must be at least one of each. Received: "
                f"{quantiles=}, {target_quantiles=}, {acting_quantiles=}, "
                f"{cosines=}"
            )
        super().__init__(action_space, seed, **kwargs)
        num_actions = value_based.store(self, network, epsilon, head)
        self.quantiles = quantiles
        self.target_quantiles = target_quantiles
        self.acting_quantiles = acting_quantiles
        self.cosines = cosines
        self.q_network, self.distribution_network = (
            networks.implicit_distributions(
                network, num_actions, acting_quantiles, cosines, head, seed
            )
        )
        self.target_network = networks.Target(self.distribution_network)
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
        size = keras.ops.shape(batch["reward"])[0]
        next_fractions, fractions = (
            keras.random.uniform((size, count), seed=self.seed_generator)
            for count in (self.target_quantiles, self.quantiles)
        )
        quantiles_next = value_based.next_distribution(
            self,
            {"fractions": next_fractions, "observation": batch["next_obs"]},
        )
        target = ops.quantile_target(
            batch["reward"], batch["discount"], quantiles_next
        )
        inputs = {"fractions": fractions, "observation": batch["obs"]}
        loss, q_value, td_error = value_based.fit_quantiles(
            self, {**batch, "obs": inputs}, fractions, target
        )
        return self.finish(batch, loss=loss, q_value=q_value, td_error=td_error)

    def get_config(self):
        return {
            **super().get_config(),
            **value_based.get_config(self),
            "quantiles": self.quantiles,
            "target_quantiles": self.target_quantiles,
            "acting_quantiles": self.acting_quantiles,
            "cosines": self.cosines,
        }
