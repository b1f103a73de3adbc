"""Truncated quantile critics."""

import functools

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.agents import continuous
from keras_rl2x.agents import soft
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class TQC(Agent):
    """SAC whose critics learn quantiles of the return, and doubt the greatest.

    Where SAC takes the lesser of two critics, TQC mixes the quantiles of all of
    them and leaves the greatest out of the target: how much it underestimates
    is chosen by `top_quantiles_to_drop`, in small steps.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Box` with bounds.
        critics: One or more `keras.Model`s (the paper has five) from
            `{"action": ..., "observation": ...}` to features, such as
            `networks.mlp(space, action_space=...)`.
        actor_optimizer: A Keras optimizer. Defaults to `Adam(3e-4)`. The
            compiled one, which stock callbacks schedule, moves the critics.
        temperature_optimizer: A Keras optimizer, of the weight of the entropy.
            Defaults to `Adam(3e-4)`.
        target_entropy: Float, in nats. Defaults to `None`: minus the number of
            dimensions of an action.
        temperature: Float, where the weight of the entropy begins. Defaults to
            1.
        noise_correlation: As in `SAC`. Defaults to 0.
        quantiles: Integer, how many each critic learns, at least 2. Defaults
            to 25.
        top_quantiles_to_drop: Integer, how many the target leaves out for each
            critic. Defaults to 2.
        seed: Integer seed of the heads' initial weights, and of what is drawn
            while learning. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not a `Box`.
        ValueError: If it has no bounds, a network or the correlation does
            not fit, or nothing would be left of the target.

    Reference:
     - [Kuznetsov et al., 2020](https://arxiv.org/abs/2005.04269), algorithm 1

    Example:

    ```python
    envs = keras_rl2x.envs.make("Pendulum-v1", seed=0)
    space, actions = envs.single_observation_space, envs.single_action_space
    mlp = keras_rl2x.networks.mlp
    agent = keras_rl2x.agents.TQC(
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
        quantiles=25,
        top_quantiles_to_drop=2,
        seed=None,
        **kwargs,
    ):
        if quantiles < 2 or not 0 <= top_quantiles_to_drop < quantiles:
            raise ValueError(
                "There must be 2 `quantiles` or more, and at least one left "
                "when `top_quantiles_to_drop` are dropped. Received: "
                f"{quantiles=}, {top_quantiles_to_drop=}"
            )
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
        head = functools.partial(networks.critic_value, outputs=quantiles)
        continuous.build_critics(self, critics, head=head)
        self.quantiles = quantiles
        self.top_quantiles_to_drop = top_quantiles_to_drop
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
        target = self._target(batch, temperature)
        loss, quantiles = self._fit_critics(batch, target)
        q_value = keras.ops.mean(quantiles, axis=-1)
        td_error = keras.ops.mean(target, axis=-1) - q_value

        def value(action):
            estimates = continuous.values(
                self.critic_networks, batch["obs"], action
            )
            return keras.ops.mean(keras.ops.stack(estimates), axis=(0, 2))

        actor_loss, entropy = soft.improve_actor(self, batch["obs"], value)
        soft.adapt_temperature(self, entropy - self.target_entropy)
        return self.finish(
            batch,
            loss=loss,
            q_value=q_value,
            td_error=keras.ops.abs(td_error),
            actor_loss=actor_loss,
            entropy=entropy,
            temperature=temperature,
        )

    def _target(self, batch, temperature):
        """The target's quantiles `[B, critics * (quantiles - dropped)]`."""
        action, log_prob = soft.act(self, batch["next_obs"])
        quantiles_next = ops.truncated_mixture(
            continuous.values(self.target_critics, batch["next_obs"], action),
            self.top_quantiles_to_drop,
        )
        return ops.quantile_target(
            batch["reward"],
            batch["discount"],
            quantiles_next - temperature * log_prob[:, None],
        )

    def _fit_critics(self, batch, target):
        """The loss, summed over the critics; the first one's quantiles."""
        fractions = ops.quantile_midpoints(self.quantiles)

        def loss_fn():
            estimates = continuous.values(
                self.critic_networks,
                batch["obs"],
                batch["action"],
                training=True,
            )
            losses = [
                ops.weighted_mean(
                    keras.ops.mean(
                        ops.quantile_huber(estimate, fractions, target), axis=-1
                    ),
                    batch["weight"],
                )
                for estimate in estimates
            ]
            return sum(losses), estimates[0]

        return self.minimize(loss_fn, continuous.critic_variables(self))

    def get_config(self):
        return {
            **super().get_config(),
            **soft.get_config(self),
            "critics": continuous.serialize(self.critics),
            "noise_correlation": self.noise_correlation,
            "quantiles": self.quantiles,
            "top_quantiles_to_drop": self.top_quantiles_to_drop,
        }
