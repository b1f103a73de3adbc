"""Munchausen DQN: Q-learning that rewards itself for what it is sure of."""

import keras

from keras_rl2x import ops
from keras_rl2x.acting import samplers
from keras_rl2x.agents import value_based
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class Munchausen(Agent):
    """DQN towards a soft target, with the policy's logarithm as a bonus.

    The policy is the softmax of the target network's values over a
    temperature. With n-step returns, the bonus is that of the first step
    alone, and so is the entropy that of the last.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`, or,
            with `head=None`, to action values.
        action_space: A `gymnasium.spaces.Discrete`.
        epsilon: As in `DQN`. Defaults to 0.05.
        alpha: Float, the weight of the bonus; without it this is soft DQN.
            Defaults to 0.9.
        temperature: Float, positive, the weight of the entropy, which the
            paper calls tau. It is to be compared with differences between the
            values of actions. Defaults to 0.03.
        least_bonus: Float, at most 0: the bonus is clipped here before it is
            weighted. Defaults to -1.
        head: As in `DQN`. Defaults to `"q_values"`.
        loss: As in `DQN`. Defaults to `"huber"`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If the network's output does not fit, or a number is out
            of range.

    Reference:
     - [Vieillard et al., 2020](https://arxiv.org/abs/2007.14430), eq. 2

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    network = keras_rl2x.networks.mlp(envs.single_observation_space)
    agent = keras_rl2x.agents.Munchausen(network, envs.single_action_space)
    agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=16)
    ```
    """

    metric_names = ("loss", "q_value", "td_error", "bonus")
    sampler = staticmethod(samplers.epsilon_greedy)
    no_exploration = {"epsilon": 0.0}

    def __init__(
        self,
        network,
        action_space,
        epsilon=0.05,
        alpha=0.9,
        temperature=0.03,
        least_bonus=-1.0,
        head="q_values",
        loss="huber",
        seed=None,
        **kwargs,
    ):
        if not temperature > 0 or not least_bonus <= 0:
            raise ValueError(
                "`temperature` must be positive, and `least_bonus` at most 0. "
                f"Received: {temperature=}, {least_bonus=}"
            )
        super().__init__(action_space, seed, **kwargs)
        value_based.build(self, network, epsilon, head, loss)
        self.alpha = alpha
        self.temperature = temperature
        self.least_bonus = least_bonus
        self.built = True

    @property
    def policy(self):
        return self.q_network

    @property
    def targets(self):
        return ((self.target_network, self.q_network),)

    def call(self, obs):
        return value_based.greedy(self, obs)

    def exploration(self):
        return value_based.exploration(self)

    def train_step(self, batch):
        value_based.resample_noise(self)
        bonus = ops.munchausen_bonus(
            self.target_network(batch["obs"]),
            batch["action"],
            self.temperature,
            self.least_bonus,
        )
        q_next = self.target_network(batch["next_obs"])  # [B, A]
        value_next = ops.soft_value(
            q_next, q_next / self.temperature, self.temperature
        )
        reward = batch["reward"] + self.alpha * bonus
        target = ops.td_target(reward, batch["discount"], value_next)
        loss, q_value, td_error = value_based.fit_values(self, batch, target)
        return self.finish(
            batch, loss=loss, q_value=q_value, td_error=td_error, bonus=bonus
        )

    def get_config(self):
        return {
            **super().get_config(),
            **value_based.get_config(self),
            "alpha": self.alpha,
            "temperature": self.temperature,
            "least_bonus": self.least_bonus,
            "loss": self.loss_name,
        }
