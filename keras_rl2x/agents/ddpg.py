"""Deep deterministic policy gradient."""

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.agents import continuous
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class DDPG(Agent):
    """A deterministic actor that climbs a critic, for continuous actions.

    Explores with normal noise: independent in each step, or correlated, which
    is an Ornstein-Uhlenbeck process (see `acting.OrnsteinUhlenbeck`). The
    compiled optimizer moves the critic.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Box` with bounds.
        critic: A `keras.Model` from `{"action": ..., "observation": ...}` to
            features, such as `networks.mlp(space, action_space=...)`.
        actor_optimizer: A Keras optimizer. Defaults to `Adam(1e-3)`. The
            compiled one, which stock callbacks schedule, moves the critics.
        noise: Float, or a `keras.optimizers.schedules.LearningRateSchedule`
            over environment steps: the standard deviation of the noise on
            actions from -1 to 1. Defaults to 0.1.
        noise_correlation: Float in [0, 1), of the noise in successive steps.
            The paper's process is `noise=0.38, noise_correlation=0.85`; when
            to raise it, see `PPO`. Defaults to 0.
        seed: Integer seed of the heads' initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not a `Box`.
        ValueError: If it has no bounds, or a network or a number does not
            fit.

    Reference:
     - [Lillicrap et al., 2016](https://arxiv.org/abs/1509.02971), algorithm 1

    Example:

    ```python
    envs = keras_rl2x.envs.make("Pendulum-v1", seed=0)
    space, actions = envs.single_observation_space, envs.single_action_space
    mlp = keras_rl2x.networks.mlp
    agent = keras_rl2x.agents.DDPG(
        mlp(space, (256, 256)),
        actions,
        critic=mlp(space, (256, 256), action_space=actions),
    )
    agent.compile(keras.optimizers.Adam(1e-3))
    ```
    """

    metric_names = ("loss", "q_value", "td_error", "actor_loss")

    def __init__(
        self,
        network,
        action_space,
        critic,
        actor_optimizer=None,
        noise=0.1,
        noise_correlation=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        continuous.build_actor(
            self, network, actor_optimizer, noise, noise_correlation
        )
        continuous.build_critics(self, [critic], 1)
        self.target_actor = networks.Target(self.actor)
        self.built = True

    @property
    def policy(self):
        return self.actor

    @property
    def targets(self):
        return (
            (self.target_actor, self.actor),
            (self.target_critics[0], self.critic_networks[0]),
        )

    def call(self, obs):
        return continuous.greedy(self, obs)

    def exploration(self):
        return continuous.exploration(self)

    def train_step(self, batch):
        action = continuous.shaped(self, self.target_actor(batch["next_obs"]))
        (value_next,) = continuous.values(
            self.target_critics, batch["next_obs"], action
        )
        target = ops.td_target(batch["reward"], batch["discount"], value_next)
        loss, q_value, td_error = continuous.fit_critics(self, batch, target)
        actor_loss = continuous.improve_actor(self, batch)
        return self.finish(
            batch,
            loss=loss,
            q_value=q_value,
            td_error=td_error,
            actor_loss=actor_loss,
        )

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "network": serialize(self.network),
            "critic": serialize(self.critics[0]),
            "actor_optimizer": serialize(self.actor_optimizer),
            "noise": serialize(self.noise),
            "noise_correlation": self.noise_correlation,
        }
