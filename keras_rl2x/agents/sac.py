"""Soft actor-critic."""

import functools
import math

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.agents import continuous
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class SAC(Agent):
    """Learns returns and entropy together, off-policy, for real actions.

    The policy is a Gaussian through tanh, scaled to the action space's bounds.
    The compiled optimizer moves the critics.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Box` with bounds.
        critics: Two `keras.Model`s from `{"action": ..., "observation": ...}`
            to features, such as `networks.mlp(space, action_space=...)`.
        actor_optimizer: A Keras optimizer. Defaults to `Adam(3e-4)`.
        temperature_optimizer: A Keras optimizer, of the weight of the entropy.
            Defaults to `Adam(3e-4)`.
        target_entropy: Float, in nats. Defaults to `None`: minus the numbers in
            an action.
        temperature: Float, where the weight of the entropy begins. Defaults to
            1.
        seed: Integer seed of the heads' initial weights, and of what is drawn
            while learning. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not a `Box`.
        ValueError: If it has no bounds, or a network does not fit.

    Reference:
     - [Haarnoja et al., 2018](https://arxiv.org/abs/1812.05905), algorithm 1

    Example:

    ```python
    envs = keras_rl2x.envs.make("Pendulum-v1", seed=0)
    space, actions = envs.single_observation_space, envs.single_action_space
    mlp = keras_rl2x.networks.mlp
    agent = keras_rl2x.agents.SAC(
        mlp(space, (256, 256)),
        actions,
        critics=[mlp(space, (256, 256), action_space=actions) for _ in "12"],
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
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        leaf = continuous.action_leaf(self)
        self.network = network
        self.initial_temperature = temperature
        self.distribution = ops.SquashedGaussian(leaf.shape)
        self.sampler = functools.partial(
            samplers.squashed_gaussian, shape=leaf.shape
        )
        size = self.distribution.size
        self.target_entropy = (
            -float(size) if target_entropy is None else float(target_entropy)
        )
        self.actor = networks.real_actions(network, size, 2, seed=seed)
        continuous.build_critics(self, critics, 2)
        self.log_temperature = self.add_weight(
            name="log_temperature",
            initializer=keras.initializers.Constant(math.log(temperature)),
        )
        self.actor_optimizer = actor_optimizer or keras.optimizers.Adam(3e-4)
        self.actor_optimizer.build(self.actor.trainable_variables)
        self.temperature_optimizer = (
            temperature_optimizer or keras.optimizers.Adam(3e-4)
        )
        self.temperature_optimizer.build([self.log_temperature])
        self.built = True

    @property
    def policy(self):
        return self.actor

    @property
    def targets(self):
        return tuple(zip(self.target_critics, self.critic_networks))

    def call(self, obs):
        action = self.distribution.mode(self.actor(obs))
        return spaces.to_env(self.action_spec, action, keras.ops)

    def train_step(self, batch):
        temperature = keras.ops.exp(self.log_temperature)
        target = self._target(batch, temperature)
        loss, q_value, td_error = continuous.fit_critics(self, batch, target)

        def actor_loss_fn():
            action, log_prob = self._act(batch["obs"])
            estimates = continuous.values(
                self.critic_networks, batch["obs"], action
            )
            soft_value = continuous.least(estimates) - temperature * log_prob
            return -keras.ops.mean(soft_value), log_prob

        actor_loss, log_prob = self.minimize(
            actor_loss_fn, self.actor.trainable_variables, self.actor_optimizer
        )
        entropy = -keras.ops.mean(log_prob)

        def temperature_loss_fn():
            excess = keras.ops.stop_gradient(entropy - self.target_entropy)
            return self.log_temperature * excess, ()

        self.minimize(
            temperature_loss_fn,
            [self.log_temperature],
            self.temperature_optimizer,
        )
        return self.finish(
            batch,
            loss=loss,
            q_value=q_value,
            td_error=td_error,
            actor_loss=actor_loss,
            entropy=entropy,
            temperature=temperature,
        )

    def _act(self, obs):
        return self.distribution.sample_and_log_prob(
            self.actor(obs, training=True), self.seed_generator
        )

    def _target(self, batch, temperature):
        """What the critics regress on, the paper's eq. 2 and 3."""
        action, log_prob = self._act(batch["next_obs"])
        estimates = continuous.values(
            self.target_critics, batch["next_obs"], action
        )
        soft_value = continuous.least(estimates) - temperature * log_prob
        return ops.td_target(batch["reward"], batch["discount"], soft_value)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "network": serialize(self.network),
            "critics": [serialize(critic) for critic in self.critics],
            "actor_optimizer": serialize(self.actor_optimizer),
            "temperature_optimizer": serialize(self.temperature_optimizer),
            "target_entropy": self.target_entropy,
            "temperature": self.initial_temperature,
        }
