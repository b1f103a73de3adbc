"""One-step actor-critic."""

import keras

from keras_rl2x import arguments
from keras_rl2x import ops
from keras_rl2x.agents import on_policy
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class ActorCritic(Agent):
    """The textbook's agent: the TD error teaches the actor and the critic.

    `delta = r + gamma V(s') - V(s)`; the critic descends `delta^2`, the actor
    ascends `delta log pi(a|s)`. Learns from `data.Rollout(envs, steps=1)`, or
    a few steps more, by `dataset()`. As is usual, the factor `gamma^t` of the
    discounted objective is left out.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: As in `PPO`.
        critic: Another `keras.Model`, for the value. Defaults to `None`: the
            value shares the features of `network`.
        value_weight: Float, of the critic's loss. Defaults to 0.5.
        log_std: Float, the initial log standard deviation of continuous
            actions. Defaults to 0.
        seed: Integer seed of the heads' initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is of another kind.
        ValueError: If a network's output does not fit.

    Reference:
     - [Sutton & Barto, 2018](http://incompleteideas.net/book/the-book.html),
       section 13.5

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    space = envs.single_observation_space
    agent = keras_rl2x.agents.ActorCritic(
        keras_rl2x.networks.mlp(space),
        envs.single_action_space,
        critic=keras_rl2x.networks.mlp(space),
    )
    agent.compile(keras.optimizers.Adam(1e-3))
    rollout = keras_rl2x.data.Rollout(envs, steps=1, gamma=0.99)
    ```
    """

    metric_names = ("loss", "td_error", "value_loss")
    no_exploration = {"greedy": True}

    def __init__(
        self,
        network,
        action_space,
        critic=None,
        value_weight=0.5,
        log_std=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        on_policy.build(self, network, critic, log_std)
        self.value_weight = arguments.nonnegative(value_weight=value_weight)
        self.built = True

    @property
    def policy(self):
        return self.policy_network

    def call(self, obs):
        return on_policy.mode(self, obs)

    def prepare(self, rows):
        # With lambda = 0 the advantage is the TD error of one step.
        return on_policy.prepare(self, rows, lambda_=0.0)

    def train_step(self, batch):
        td_error, weight = batch["advantage"], batch["weight"]

        def loss_fn():
            params, value = on_policy.outputs(self, batch)
            log_prob = self.distribution.log_prob(params, batch["action"])
            score = ops.score_function(log_prob, td_error)
            error = keras.ops.square(value - batch["return"])
            value_loss = ops.live_mean(error, weight)
            loss = -ops.live_mean(score, weight)
            return loss + self.value_weight * value_loss, value_loss

        loss, value_loss = self.minimize(loss_fn, self.trainable_variables)
        return self.finish(
            batch,
            loss=loss,
            td_error=ops.live_mean(keras.ops.abs(td_error), weight),
            value_loss=value_loss,
        )

    def get_config(self):
        config = on_policy.get_config(self)
        return {
            **super().get_config(),
            "network": config["network"],
            "critic": config["critic"],
            "value_weight": self.value_weight,
            "log_std": self.log_std,
        }
