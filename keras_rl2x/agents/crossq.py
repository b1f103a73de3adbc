"""CrossQ: soft actor-critic without target networks."""

import keras
import tensorflow as tf

from keras_rl2x import arguments
from keras_rl2x import ops
from keras_rl2x.agents import continuous
from keras_rl2x.agents import soft
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class CrossQ(Agent):
    """SAC whose critics are batch-normalized, and need no targets.

    The critics see what was done and what will be done in one batch, normalized
    together: so their targets may come from the critics themselves. The actor
    and the critics are made with `networks.mlp(...,
    normalization=networks.BatchRenormalization)`, the critics with 2048 units
    a layer, and the optimizers are `Adam(1e-3, beta_1=0.5)`.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Box` with bounds.
        critics: Two `keras.Model`s from `{"action": ..., "observation": ...}`
            to features.
        actor_optimizer: A Keras optimizer. Defaults to `Adam(3e-4)`. The
            compiled one, which stock callbacks schedule, moves the critics.
        temperature_optimizer: A Keras optimizer, of the weight of the entropy.
            Defaults to `Adam(3e-4)`.
        target_entropy: Float, in nats. Defaults to `None`: minus the number of
            dimensions of an action.
        temperature: Float, where the weight of the entropy begins. Defaults to
            1.
        noise_correlation: As in `SAC`. Defaults to 0.
        actor_every: Integer, updates of the critics for each of the actor and
            of the temperature. Defaults to 3.
        seed: Integer seed of the heads' initial weights, and of what is drawn
            while learning. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not a `Box`.
        ValueError: If it has no bounds, or a network or a number does not
            fit.

    Reference:
     - [Bhatt et al., 2024](https://arxiv.org/abs/1902.05605)

    Example:

    ```python
    envs = keras_rl2x.envs.make("Pendulum-v1", seed=0)
    space, actions = envs.single_observation_space, envs.single_action_space
    networks = keras_rl2x.networks
    agent = keras_rl2x.agents.CrossQ(
        networks.mlp(
            space, (256, 256), normalization=networks.BatchRenormalization
        ),
        actions,
        critics=[
            networks.mlp(
                space,
                (2048, 2048),
                action_space=actions,
                normalization=networks.BatchRenormalization,
            )
            for _ in range(2)
        ],
    )
    agent.compile(keras.optimizers.Adam(1e-3, beta_1=0.5))
    ```
    """

    metric_names = ("loss", "q_value", "td_error", "entropy", "temperature")
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
        actor_every=3,
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
        continuous.build_online_critics(self, critics, 2)
        self.actor_every = arguments.integer(actor_every=actor_every)
        self.built = True

    @property
    def policy(self):
        return self.actor

    def call(self, obs):
        return soft.mode(self, obs)

    def train_step(self, batch):
        temperature = soft.temperature(self)
        action, log_prob = soft.act(self, batch["next_obs"])
        loss, (q_value, error) = self._fit_critics(
            batch, action, temperature * log_prob
        )
        tf.cond(
            self.optimizer.iterations % self.actor_every == 0,
            lambda: self._improve_actor(batch["obs"]),
            lambda: 0.0,
        )
        return self.finish(
            batch,
            loss=loss,
            q_value=q_value,
            td_error=keras.ops.abs(error),
            entropy=-keras.ops.mean(log_prob),
            temperature=temperature,
        )

    def _fit_critics(self, batch, next_action, next_cost):
        """Both halves in one batch, normalized together (figure 3)."""
        obs, action = keras.tree.map_structure(
            lambda now, later: keras.ops.concatenate([now, later], axis=0),
            (batch["obs"], batch["action"]),
            (batch["next_obs"], next_action),
        )

        def loss_fn():
            both = continuous.values(
                self.critic_networks, obs, action, training=True
            )
            halves = [keras.ops.split(values, 2) for values in both]
            value_next = continuous.least([later for _, later in halves])
            target = ops.td_target(
                batch["reward"], batch["discount"], value_next - next_cost
            )
            estimates = [now for now, _ in halves]
            return continuous.squared_loss(estimates, target, batch["weight"])

        return self.minimize(loss_fn, continuous.critic_variables(self))

    def _improve_actor(self, obs):
        def value(action):
            return continuous.least(
                continuous.values(self.critic_networks, obs, action)
            )

        loss, entropy = soft.improve_actor(self, obs, value)
        soft.adapt_temperature(self, entropy - self.target_entropy)
        return loss

    def get_config(self):
        return {
            **super().get_config(),
            **soft.get_config(self),
            "critics": continuous.serialize(self.critics),
            "noise_correlation": self.noise_correlation,
            "actor_every": self.actor_every,
        }
