"""REINFORCE, with or without a baseline."""

import keras

from keras_rl2x import arguments
from keras_rl2x import ops
from keras_rl2x.agents import on_policy
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class REINFORCE(Agent):
    """The policy gradient from whole episodes' returns.

    Learns from `data.Rollout.dataset()`. Nothing is bootstrapped: a step counts
    only if its episode ends within the rollout (a truncation is an end), so
    take rollouts that are longer than episodes. As is usual, the factor
    `gamma^t` of the discounted objective is left out.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: As in `PPO`.
        baseline: Another `keras.Model`, whose value is subtracted from the
            returns. Defaults to `None`: no baseline.
        baseline_weight: Float, of the baseline's loss. Defaults to 0.5.
        log_std: Float, the initial log standard deviation of continuous
            actions. Defaults to 0.
        seed: Integer seed of the heads' initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is of another kind.
        ValueError: If a network's output does not fit.

    Reference:
     - [Williams, 1992](https://doi.org/10.1007/BF00992696)
     - [Sutton & Barto, 2018](http://incompleteideas.net/book/the-book.html),
       sections 13.3 and 13.4

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    space = envs.single_observation_space
    agent = keras_rl2x.agents.REINFORCE(
        keras_rl2x.networks.mlp(space), envs.single_action_space
    )
    agent.compile(keras.optimizers.Adam(1e-2))
    rollout = keras_rl2x.data.Rollout(envs, steps=500, gamma=0.99)
    ```
    """

    metric_names = ("loss", "baseline_loss", "entropy", "complete")
    no_exploration = {"greedy": True}

    def __init__(
        self,
        network,
        action_space,
        baseline=None,
        baseline_weight=0.5,
        log_std=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        on_policy.build(self, network, baseline, log_std)
        self.baseline = baseline
        self.baseline_weight = arguments.nonnegative(
            baseline_weight=baseline_weight
        )
        self.built = True

    @property
    def policy(self):
        return self.policy_network

    def call(self, obs):
        return on_policy.mode(self, obs)

    def prepare(self, rows):
        reward, value, log_prob = on_policy.evaluate_rows(self, rows)
        ends = keras.ops.cast(rows["cut"], "float32")
        nothing = keras.ops.zeros_like(reward[0])
        returns = ops.discounted_returns(
            reward, rows["discount"] * (1 - ends), nothing
        )
        complete = ops.discounted_returns(ends, 1 - ends, nothing)
        baseline = 0 if self.baseline is None else value[:-1]
        return {
            "value": value[:-1],
            "log_prob": log_prob,
            "advantage": returns - baseline,
            "return": returns,
            "weight": complete * keras.ops.cast(rows["live"], "float32"),
        }

    def train_step(self, batch):
        weight = batch["weight"]

        def loss_fn():
            params, value = on_policy.outputs(self, batch)
            log_prob = self.distribution.log_prob(params, batch["action"])
            score = ops.score_function(log_prob, batch["advantage"])
            error = keras.ops.square(value - batch["return"])
            loss = -ops.live_mean(score, weight)
            baseline_loss = ops.live_mean(error, weight)
            if self.baseline is not None:
                loss = loss + self.baseline_weight * baseline_loss
            entropy = self.distribution.entropy(params)
            return loss, (baseline_loss, ops.live_mean(entropy, weight))

        learning = self.policy_network if self.baseline is None else self
        loss, (baseline_loss, entropy) = self.minimize(
            loss_fn, learning.trainable_variables
        )
        return self.finish(
            batch,
            loss=loss,
            baseline_loss=baseline_loss,
            entropy=entropy,
            complete=keras.ops.mean(weight),
        )

    def get_config(self):
        config = on_policy.get_config(self)
        return {
            **super().get_config(),
            "network": config["network"],
            "baseline": config["critic"],
            "baseline_weight": self.baseline_weight,
            "log_std": self.log_std,
        }
