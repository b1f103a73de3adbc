"""Twin delayed deep deterministic policy gradient."""

import keras
import tensorflow as tf

from keras_rl2x import arguments
from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.agents import continuous
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class TD3(Agent):
    """DDPG with two critics, a smoothed target, and an actor that waits.

    Move the targets as rarely as the actor: `TargetUpdate(every=2, tau=0.005)`.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Box` with bounds.
        critics: Two `keras.Model`s from `{"action": ..., "observation": ...}`
            to features, such as `networks.mlp(space, action_space=...)`.
        actor_optimizer: A Keras optimizer. Defaults to `Adam(1e-3)`. The
            compiled one, which stock callbacks schedule, moves the critics.
        noise: As in `DDPG`. Defaults to 0.1.
        noise_correlation: As in `DDPG`. Defaults to 0.
        target_noise: Float, the standard deviation of the noise on the
            target's actions. Defaults to 0.2.
        target_noise_clip: Float, the largest absolute value of that noise.
            Defaults to 0.5.
        actor_every: Integer, updates of the critics for each of the actor.
            Defaults to 2.
        seed: Integer seed of the heads' initial weights, and of the target's
            noise. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not a `Box`.
        ValueError: If it has no bounds, or a network or a number does not
            fit.

    Reference:
     - [Fujimoto et al., 2018](https://arxiv.org/abs/1802.09477), algorithm 1

    Example:

    ```python
    envs = keras_rl2x.envs.make("Pendulum-v1", seed=0)
    space, actions = envs.single_observation_space, envs.single_action_space
    mlp = keras_rl2x.networks.mlp
    agent = keras_rl2x.agents.TD3(
        mlp(space, (256, 256)),
        actions,
        critics=[
            mlp(space, (256, 256), action_space=actions) for _ in range(2)
        ],
    )
    agent.compile(keras.optimizers.Adam(1e-3))
    ```
    """

    metric_names = ("loss", "q_value", "td_error")

    def __init__(
        self,
        network,
        action_space,
        critics,
        actor_optimizer=None,
        noise=0.1,
        noise_correlation=0.0,
        target_noise=0.2,
        target_noise_clip=0.5,
        actor_every=2,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        continuous.build_actor(
            self, network, actor_optimizer, noise, noise_correlation
        )
        continuous.build_critics(self, critics, 2)
        self.target_noise = arguments.nonnegative(target_noise=target_noise)
        self.target_noise_clip = arguments.nonnegative(
            target_noise_clip=target_noise_clip
        )
        self.actor_every = arguments.integer(actor_every=actor_every)
        self.target_actor = networks.Target(self.actor)
        self.built = True

    @property
    def policy(self):
        return self.actor

    @property
    def targets(self):
        return (
            (self.target_actor, self.actor),
            *zip(self.target_critics, self.critic_networks),
        )

    def call(self, obs):
        return continuous.greedy(self, obs)

    def exploration(self):
        return continuous.exploration(self)

    def train_step(self, batch):
        action = continuous.shaped(self, self._smoothed(batch["next_obs"]))
        value_next = continuous.least(
            continuous.values(self.target_critics, batch["next_obs"], action)
        )
        target = ops.td_target(batch["reward"], batch["discount"], value_next)
        loss, q_value, td_error = continuous.fit_critics(self, batch, target)
        tf.cond(
            self.optimizer.iterations % self.actor_every == 0,
            lambda: continuous.improve_actor(self, batch),
            lambda: 0.0,
        )
        return self.finish(batch, loss=loss, q_value=q_value, td_error=td_error)

    def _smoothed(self, obs):
        """The target's actions with clipped noise, the paper's eq. 14."""
        action = self.target_actor(obs)
        noise = keras.random.normal(
            keras.ops.shape(action),
            stddev=self.target_noise,
            seed=self.seed_generator,
        )
        most = self.target_noise_clip
        noisy = action + keras.ops.clip(noise, -most, most)
        return keras.ops.clip(noisy, -1.0, 1.0)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "network": serialize(self.network),
            "critics": continuous.serialize(self.critics),
            "actor_optimizer": serialize(self.actor_optimizer),
            "noise": serialize(self.noise),
            "noise_correlation": self.noise_correlation,
            "target_noise": self.target_noise,
            "target_noise_clip": self.target_noise_clip,
            "actor_every": self.actor_every,
        }
