"""Proximal policy optimisation."""

import keras

from keras_rl2x import arguments
from keras_rl2x import ops
from keras_rl2x.agents import on_policy
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class PPO(Agent):
    """Several passes over each rollout, with a clipped surrogate.

    Learns from `data.Rollout.dataset(minibatch_size, passes)`. The learning
    rate is the optimizer's, and may be a Keras schedule over updates.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces` `Discrete`, `MultiDiscrete`,
            `MultiBinary` or `Box`; continuous actions are drawn from a Gaussian
            and clipped to the bounds.
        critic: Another `keras.Model`, for the value. Defaults to `None`: the
            value shares the features of `network`.
        clip: Float, or a `keras.optimizers.schedules.LearningRateSchedule`
            over environment steps: how far the probability ratio may go from
            1. Defaults to 0.2.
        lambda_: Float in [0, 1], of the advantages: 0 trusts the critic after
            one step (less noise), 1 sums all rewards (less bias). Defaults to
            0.95.
        value_weight: Float, of the value's loss. Defaults to 0.5.
        entropy_weight: Float, of the entropy bonus. Defaults to 0.
        value_clip: Float or `None`: how far the value may go from the one
            before the update. Defaults to `None`, no limit.
        normalize_advantage: Boolean, whether each minibatch's advantages are
            scaled to mean 0 and variance 1. Defaults to `True`.
        normalize_rewards: Boolean, whether rewards are divided by a running
            scale. Defaults to `False`.
        log_std: Float, the initial log standard deviation of continuous
            actions. Defaults to 0.
        noise_correlation: Float in [0, 1), the correlation of the noise on
            continuous actions in successive steps, as in `DDPG`; raise it where
            independent noise finds no reward (0.97 in the presets of
            MountainCarContinuous-v0). Log-probabilities remain those of each
            step by itself. Defaults to 0.
        seed: Integer seed of the heads' initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is of another kind.
        ValueError: If a network's output or the correlation does not fit.

    References:
     - [Schulman et al., 2017](https://arxiv.org/abs/1707.06347)
     - [Hollenstein et al., 2024](https://arxiv.org/abs/2312.11091) (PPO that
       explores with correlated noise)

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    space = envs.single_observation_space
    agent = keras_rl2x.agents.PPO(
        keras_rl2x.networks.mlp(space, activation="tanh"),
        envs.single_action_space,
        critic=keras_rl2x.networks.mlp(space, activation="tanh"),
    )
    agent.compile(keras.optimizers.Adam(3e-4, global_clipnorm=0.5))
    ```
    """

    metric_names = (
        "loss",
        "policy_loss",
        "value_loss",
        "entropy",
        "kl",
        "clipped",
    )
    no_exploration = {"greedy": True}

    def __init__(
        self,
        network,
        action_space,
        critic=None,
        clip=0.2,
        lambda_=0.95,
        value_weight=0.5,
        entropy_weight=0.0,
        value_clip=None,
        normalize_advantage=True,
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
        if not callable(clip):
            arguments.positive(clip=clip)
        if value_clip is not None:
            arguments.positive(value_clip=value_clip)
        self.clip = clip
        self.lambda_ = arguments.fraction(lambda_=lambda_)
        self.value_weight = arguments.nonnegative(value_weight=value_weight)
        self.entropy_weight = entropy_weight
        self.value_clip = value_clip
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
        clip = self.clip(self.env_steps) if callable(self.clip) else self.clip

        def loss_fn():
            params, value = on_policy.outputs(self, batch)
            log_prob = self.distribution.log_prob(params, batch["action"])
            ratio = ops.importance_ratio(log_prob, batch["log_prob"])
            surrogate = ops.clipped_surrogate(ratio, advantage, clip)
            error = self._value_error(value, batch)
            terms = {
                "policy_loss": -ops.live_mean(surrogate, weight),
                "value_loss": ops.live_mean(error, weight),
                "entropy": ops.live_mean(
                    self.distribution.entropy(params), weight
                ),
            }
            loss = (
                terms["policy_loss"]
                + self.value_weight * terms["value_loss"]
                - self.entropy_weight * terms["entropy"]
            )
            return loss, (terms, log_prob, ratio)

        loss, (terms, log_prob, ratio) = self.minimize(
            loss_fn, self.trainable_variables
        )
        kl = ops.approximate_kl(log_prob, batch["log_prob"])
        clipped = keras.ops.cast(keras.ops.abs(ratio - 1) > clip, "float32")
        return self.finish(
            batch,
            loss=loss,
            **terms,
            kl=ops.live_mean(kl, weight),
            clipped=ops.live_mean(clipped, weight),
        )

    def _value_error(self, value, batch):
        target = batch["return"]
        if self.value_clip is None:
            return keras.ops.square(value - target)
        return ops.clipped_value_error(
            value, batch["value"], target, self.value_clip
        )

    def get_config(self):
        return {
            **super().get_config(),
            **on_policy.get_config(self),
            "clip": keras.saving.serialize_keras_object(self.clip),
            "lambda_": self.lambda_,
            "value_weight": self.value_weight,
            "entropy_weight": self.entropy_weight,
            "value_clip": self.value_clip,
            "normalize_advantage": self.normalize_advantage,
        }
