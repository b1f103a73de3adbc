"""Soft actor-critic for a choice between actions."""

import functools

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.agents import continuous
from keras_rl2x.agents import soft
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class DiscreteSAC(Agent):
    """Learns returns and entropy together, off-policy, for discrete actions.

    The critics give the values of all actions, so that what SAC draws is here
    an exact expectation. The compiled optimizer moves the critics.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Discrete`.
        critics: Two more such `keras.Model`s.
        actor_optimizer: A Keras optimizer. Defaults to `Adam(3e-4)`. The
            compiled one, which stock callbacks schedule, moves the critics.
        temperature_optimizer: A Keras optimizer, of the weight of the entropy.
            Defaults to `Adam(3e-4)`.
        target_entropy: Float in [0, 1], a fraction of the greatest possible
            entropy, the mean logarithm of the number of allowed actions. The
            paper's 0.98 is nearly random. Defaults to 0.3.
        temperature: Float, where the weight of the entropy begins. Defaults to
            1.
        seed: Integer seed of the heads' initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If a network does not fit, or an argument is out of range.

    Reference:
     - [Christodoulou, 2019](https://arxiv.org/abs/1910.07207), algorithm 1

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    space = envs.single_observation_space
    agent = keras_rl2x.agents.DiscreteSAC(
        keras_rl2x.networks.mlp(space),
        envs.single_action_space,
        critics=[keras_rl2x.networks.mlp(space) for _ in range(2)],
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
    sampler = staticmethod(samplers.categorical)
    no_exploration = {"greedy": True}

    def __init__(
        self,
        network,
        action_space,
        critics,
        actor_optimizer=None,
        temperature_optimizer=None,
        target_entropy=0.3,
        temperature=1.0,
        seed=None,
        **kwargs,
    ):
        leaf = spaces.require(action_space, ("discrete",), type(self).__name__)
        if not 0 <= target_entropy <= 1:
            raise ValueError(
                "`target_entropy` must be a part of the most that is possible, "
                f"in [0, 1]. Received: {target_entropy=}"
            )
        super().__init__(action_space, seed, **kwargs)
        (num_actions,) = leaf.num_classes
        self.network = network
        self.distribution = ops.Categorical(num_actions)
        self.actor = networks.action_logits(network, num_actions, seed)
        self.actor_optimizer = continuous.build_optimizer(
            self, actor_optimizer, 3e-4, self.actor.trainable_variables
        )
        soft.build_temperature(
            self, temperature, temperature_optimizer, target_entropy
        )
        head = functools.partial(
            networks.action_values, num_actions=num_actions
        )
        continuous.build_critics(self, critics, 2, head)
        self.built = True

    @property
    def policy(self):
        return self.actor

    @property
    def targets(self):
        return tuple(zip(self.target_critics, self.critic_networks))

    def call(self, obs):
        best = self.distribution.mode(self.actor(obs))
        return spaces.to_env(self.action_spec, best, keras.ops)

    def train_step(self, batch):
        temperature = soft.temperature(self)
        value_next = ops.soft_value(
            _least(self.target_critics, batch["next_obs"]),
            self.actor(batch["next_obs"]),
            temperature,
        )
        target = ops.td_target(batch["reward"], batch["discount"], value_next)
        loss, (q_value, error) = self._fit_critics(batch, target)
        actor_loss, logits = self._improve_actor(batch["obs"], temperature)
        entropy = keras.ops.mean(self.distribution.entropy(logits))
        soft.adapt_temperature(
            self, entropy - self.target_entropy * _most_entropy(logits)
        )
        return self.finish(
            batch,
            loss=loss,
            q_value=q_value,
            td_error=keras.ops.abs(error),
            actor_loss=actor_loss,
            entropy=entropy,
            temperature=temperature,
        )

    def _fit_critics(self, batch, target):
        def loss_fn():
            estimates = [
                ops.take(critic(batch["obs"], training=True), batch["action"])
                for critic in self.critic_networks
            ]
            return continuous.squared_loss(estimates, target, batch["weight"])

        return self.minimize(loss_fn, continuous.critic_variables(self))

    def _improve_actor(self, obs, temperature):
        """The loss, the paper's eq. 12; and the logits `[B, A]`."""
        q_values = _least(self.critic_networks, obs)

        def loss_fn():
            logits = self.actor(obs, training=True)
            value = ops.soft_value(q_values, logits, temperature)
            return -keras.ops.mean(value), logits

        return self.minimize(
            loss_fn, self.actor.trainable_variables, self.actor_optimizer
        )

    def get_config(self):
        return {
            **super().get_config(),
            **soft.get_config(self),
            "critics": continuous.serialize(self.critics),
        }


def _least(critics, obs):
    """The least that the critics say of each action, `[B, A]`."""
    return continuous.least([critic(obs) for critic in critics])


def _most_entropy(logits):
    """Scalar: the mean entropy of a random choice of an allowed action."""
    allowed = keras.ops.cast(logits > spaces.MASKED / 2, "float32")
    return keras.ops.mean(keras.ops.log(keras.ops.sum(allowed, axis=-1)))
