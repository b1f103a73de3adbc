"""Deep Q-learning."""

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.agents.agent import Agent

LOSSES = {"huber": ops.huber, "squared": ops.squared}


@keras.saving.register_keras_serializable("keras_rl2x")
class DQN(Agent):
    """Learns action values by regression on a bootstrapped target.

    n-step returns and priorities come with the batch (`data.Replay(n_step=)`,
    `data.PrioritizedReplay`), the target network is moved by
    `callbacks.TargetUpdate`.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`, or,
            with `head=None`, to action values.
        action_space: A `gymnasium.spaces.Discrete`.
        epsilon: Float, or a `keras.optimizers.schedules.LearningRateSchedule`
            over environment steps: the probability of a random action while
            collecting. Defaults to 0.05.
        double: Boolean, whether the online network picks the action whose
            target value is bootstrapped. Defaults to `True`.
        head: `"q_values"`, `"dueling"` or `None`; see
            `networks.action_values`. Defaults to `"q_values"`.
        loss: `"huber"` or `"squared"`. Defaults to `"huber"`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If the network's output does not fit.

    Reference:
     - [Mnih et al., 2015](https://doi.org/10.1038/nature14236)
     - [van Hasselt et al., 2016](https://arxiv.org/abs/1509.06461) (`double`)
     - [Wang et al., 2016](https://arxiv.org/abs/1511.06581) (`"dueling"`)

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    network = keras_rl2x.networks.mlp(envs.single_observation_space)
    agent = keras_rl2x.agents.DQN(network, envs.single_action_space)
    agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=16)
    ```
    """

    metric_names = ("loss", "q_value", "td_error")
    sampler = staticmethod(samplers.epsilon_greedy)
    no_exploration = {"epsilon": 0.0}

    def __init__(
        self,
        network,
        action_space,
        epsilon=0.05,
        double=True,
        head="q_values",
        loss="huber",
        seed=None,
        **kwargs,
    ):
        leaf = spaces.require(action_space, ("discrete",), type(self).__name__)
        if loss not in LOSSES:
            raise ValueError(
                f"`loss` must be one of {sorted(LOSSES)}. Received: {loss=}"
            )
        super().__init__(action_space, seed, **kwargs)
        self.epsilon = epsilon
        self.double = double
        self.head = head
        self.loss_name = loss
        self.network = network
        self.q_network = networks.action_values(
            network, leaf.num_classes[0], head, seed
        )
        self.target_network = networks.Target(self.q_network)
        self.built = True

    @property
    def policy(self):
        return self.q_network

    @property
    def targets(self):
        return ((self.target_network, self.q_network),)

    def call(self, obs):
        best = keras.ops.argmax(self.q_network(obs), axis=-1)
        return spaces.to_env(self.action_spec, best)

    def exploration(self):
        if callable(self.epsilon):
            return {"epsilon": float(self.epsilon(self.env_steps))}
        return {"epsilon": float(self.epsilon)}

    def train_step(self, batch):
        reward, discount = batch["reward"], batch["discount"]
        q_next = self.target_network(batch["next_obs"])  # [B, A]
        if self.double:
            online = self.q_network(batch["next_obs"])
            target = ops.double_q_target(reward, discount, q_next, online)
        else:
            target = ops.q_target(reward, discount, q_next)

        def loss_fn():
            q_values = self.q_network(batch["obs"], training=True)
            q_value = ops.take(q_values, batch["action"])  # [B]
            td_error = target - q_value
            error = LOSSES[self.loss_name](td_error)
            return ops.weighted_mean(error, batch["weight"]), (
                q_value,
                td_error,
            )

        loss, (q_value, td_error) = self.minimize(
            loss_fn, self.q_network.trainable_variables
        )
        return self.finish(
            batch,
            loss=loss,
            q_value=q_value,
            td_error=keras.ops.abs(td_error),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "epsilon": keras.saving.serialize_keras_object(self.epsilon),
            "double": self.double,
            "head": self.head,
            "loss": self.loss_name,
        }
