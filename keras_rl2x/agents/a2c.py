"""Advantage actor-critic."""

import keras

from keras_rl2x import arguments
from keras_rl2x import ops
from keras_rl2x.agents import on_policy
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class A2C(Agent):
    """One update on the whole of each short rollout.

    The synchronous form of A3C. Learns from `data.Rollout.dataset()`.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: As in `PPO`.
        critic: Another `keras.Model`, for the value. Defaults to `None`: the
            value shares the features of `network`.
        lambda_: Float in [0, 1], as in `PPO`. Defaults to 1: returns over as
            many steps as there are.
        value_weight: Float, of the value's loss. Defaults to 0.5.
        entropy_weight: Float, of the entropy bonus. Defaults to 0.
        normalize_advantage: Boolean, whether advantages are scaled to mean 0
            and variance 1. Defaults to `False`.
        normalize_rewards: Boolean, whether rewards are divided by a running
            scale. Defaults to `False`.
        log_std: Float, the initial log standard deviation of continuous
            actions. Defaults to 0.
        noise_correlation: Float, as in `PPO`. Defaults to 0.
        seed: Integer seed of the heads' initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is of another kind.
        ValueError: If a network's output, or the correlation, does not fit.

    Reference:
     - [Mnih et al., 2016](https://arxiv.org/abs/1602.01783), algorithm S3

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    space = envs.single_observation_space
    agent = keras_rl2x.agents.A2C(
        keras_rl2x.networks.mlp(space, activation="tanh"),
        envs.single_action_space,
        critic=keras_rl2x.networks.mlp(space, activation="tanh"),
    )
    agent.compile(keras.optimizers.RMSprop(7e-4, rho=0.99, epsilon=1e-5))
    rollout = keras_rl2x.data.Rollout(envs, steps=5, gamma=0.99)
    ```
    """

    metric_names = ("loss", "policy_loss", "value_loss", "entropy")
    no_exploration = {"greedy": True}

    def __init__(
        self,
        network,
        action_space,
        critic=None,
        lambda_=1.0,
        value_weight=0.5,
        entropy_weight=0.0,
        normalize_advantage=False,
        normalize_rewards=False,
        log_std=0.0,
        noise_correlation=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        on_policy.build(
            self,
            network,
            critic,
            log_std,
            normalize_rewards,
            noise_correlation,
        )
        self.lambda_ = arguments.fraction(lambda_=lambda_)
        self.value_weight = arguments.nonnegative(value_weight=value_weight)
        self.entropy_weight = entropy_weight
        self.normalize_advantage = normalize_advantage
        self.built = True

    @property
    def policy(self):
        return self.policy_network

    def call(self, obs):
        return on_policy.mode(self, obs)

    def prepare(self, rows):
        return on_policy.prepare(self, rows, self.lambda_)

    def train_step(self, batch):
        weight, advantage = batch["weight"], batch["advantage"]
        if self.normalize_advantage:
            advantage = ops.normalize(advantage, weight)

        def loss_fn():
            params, value = on_policy.outputs(self, batch)
            log_prob = self.distribution.log_prob(params, batch["action"])
            score = ops.score_function(log_prob, advantage)
            error = keras.ops.square(value - batch["return"])
            entropy = self.distribution.entropy(params)
            terms = {
                "policy_loss": -ops.live_mean(score, weight),
                "value_loss": ops.live_mean(error, weight),
                "entropy": ops.live_mean(entropy, weight),
            }
            loss = (
                terms["policy_loss"]
                + self.value_weight * terms["value_loss"]
                - self.entropy_weight * terms["entropy"]
            )
            return loss, terms

        loss, terms = self.minimize(loss_fn, self.trainable_variables)
        return self.finish(batch, loss=loss, **terms)

    def get_config(self):
        return {
            **super().get_config(),
            **on_policy.get_config(self),
            "lambda_": self.lambda_,
            "value_weight": self.value_weight,
            "entropy_weight": self.entropy_weight,
            "normalize_advantage": self.normalize_advantage,
        }
