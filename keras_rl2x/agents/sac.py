"""Soft actor-critic."""

import keras

from keras_rl2x import ops
from keras_rl2x.agents import continuous
from keras_rl2x.agents import soft
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class SAC(Agent):
    """Learns returns and entropy together, off-policy, for continuous actions.

    The policy is a Gaussian through tanh, scaled to the action space's bounds.
    The compiled optimizer moves the critics; `TargetUpdate(tau=0.005)` is the
    usual speed of their targets.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Box` with bounds.
        critics: Two `keras.Model`s from `{"action": ..., "observation": ...}`
            to features, such as `networks.mlp(space, action_space=...)`.
        actor_optimizer: A Keras optimizer. Defaults to `Adam(3e-4)`. The
            compiled one, which stock callbacks schedule, moves the critics.
        temperature_optimizer: A Keras optimizer, of the weight of the entropy.
            Defaults to `Adam(3e-4)`.
        target_entropy: Float, in nats. Defaults to `None`: minus the number of
            dimensions of an action.
        temperature: Float, where the weight of the entropy begins; it stays
            from 1e-6 to 1e6. Defaults to 1.
        noise_correlation: Float in [0, 1), the correlation of the policy's
            noise in successive steps; when to raise it, see `PPO`. Defaults
            to 0.
        seed: Integer seed of the heads' initial weights, and of what is drawn
            while learning. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not a `Box`.
        ValueError: If it has no bounds, or a network or the correlation does
            not fit.

    References:
     - [Haarnoja et al., 2018](https://arxiv.org/abs/1812.05905), algorithm 1
     - [Eberhard et al., 2023](https://openreview.net/forum?id=hQ9V5QN27eS)
       (SAC that explores with correlated noise)

    Example:

    ```python
    envs = keras_rl2x.envs.make("Pendulum-v1", seed=0)
    space, actions = envs.single_observation_space, envs.single_action_space
    mlp = keras_rl2x.networks.mlp
    agent = keras_rl2x.agents.SAC(
        mlp(space, (256, 256)),
        actions,
        critics=[
            mlp(space, (256, 256), action_space=actions) for _ in range(2)
        ],
    )
    agent.compile(keras.optimizers.Adam(3e-4))
    ```
    """

    metric_names = (
        "loss",
        "q_value",
        "td_error",
        "actor_loss",
        "entropy",
        "temperature",
    )
    no_exploration = {"greedy": True}

    def __init__(
        self,
        network,
        action_space,
        critics,
        actor_optimizer=None,
        temperature_optimizer=None,
        target_entropy=None,
        temperature=1.0,
        noise_correlation=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        soft.build(
            self,
            network,
            actor_optimizer,
            temperature,
            temperature_optimizer,
            target_entropy,
            noise_correlation,
        )
        continuous.build_critics(self, critics, 2)
        self.built = True

    @property
    def policy(self):
        return self.actor

    @property
    def targets(self):
        return tuple(zip(self.target_critics, self.critic_networks))

    def call(self, obs):
        return soft.mode(self, obs)

    def train_step(self, batch):
        temperature = soft.temperature(self)
        action, log_prob = soft.act(self, batch["next_obs"])
        value_next = continuous.least(
            continuous.values(self.target_critics, batch["next_obs"], action)
        )
        target = ops.td_target(
            batch["reward"],
            batch["discount"],
            value_next - temperature * log_prob,
        )
        loss, q_value, td_error = continuous.fit_critics(self, batch, target)

        def value(action):
            return continuous.least(
                continuous.values(self.critic_networks, batch["obs"], action)
            )

        actor_loss, entropy = soft.improve_actor(self, batch["obs"], value)
        soft.adapt_temperature(self, entropy - self.target_entropy)
        return self.finish(
            batch,
            loss=loss,
            q_value=q_value,
            td_error=td_error,
            actor_loss=actor_loss,
            entropy=entropy,
            temperature=temperature,
        )

    def get_config(self):
        return {
            **super().get_config(),
            **soft.get_config(self),
            "critics": continuous.serialize(self.critics),
            "noise_correlation": self.noise_correlation,
        }
