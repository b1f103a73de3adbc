"""Parallelised Q-network."""

import keras

from keras_rl2x import arguments
from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.acting import samplers
from keras_rl2x.agents import on_policy
from keras_rl2x.agents import value_based
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class PQN(Agent):
    """Q-learning from fresh experience, with neither replay nor target.

    Learns from `data.Rollout.dataset(minibatch_size, passes)`, whose targets
    are lambda-returns of what was done, exploration included: let `epsilon`
    fall. What keeps it stable is a network with layer normalization before its
    activations: without, as its authors show, the values may diverge.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`, or,
            with `head=None`, to action values.
        action_space: A `gymnasium.spaces.Discrete`.
        epsilon: As in `DQN`. Defaults to 0.05.
        lambda_: Float in [0, 1], of the returns: 0 looks one step ahead, 1 to
            the end of the rollout. Defaults to 0.65.
        head: As in `DQN`. Defaults to `"q_values"`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If the network's output does not fit, or `lambda_` is out
            of range.

    Reference:
     - [Gallici et al., 2024](https://arxiv.org/abs/2407.04811), algorithm 1

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=32, seed=0)
    network = keras_rl2x.networks.mlp(
        envs.single_observation_space,
        normalization=keras.layers.LayerNormalization,
        before_activation=True,
    )
    agent = keras_rl2x.agents.PQN(network, envs.single_action_space)
    agent.compile(keras.optimizers.Adam(2.5e-4, global_clipnorm=10.0))
    rollout = keras_rl2x.data.Rollout(envs, steps=32, gamma=0.99)
    ```
    """

    metric_names = ("loss", "q_value", "td_error")
    sampler = staticmethod(samplers.epsilon_greedy)
    no_exploration = {"epsilon": 0.0}
    on_policy = True

    def __init__(
        self,
        network,
        action_space,
        epsilon=0.05,
        lambda_=0.65,
        head="q_values",
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        num_actions = value_based.store(self, network, epsilon, head)
        self.lambda_ = arguments.fraction(lambda_=lambda_)
        self.loss_name = "squared"
        self.q_network = networks.action_values(
            network, num_actions, head, seed
        )
        self.built = True

    @property
    def policy(self):
        return self.q_network

    def call(self, obs):
        return value_based.greedy(self, obs)

    def exploration(self):
        return value_based.exploration(self)

    def prepare(self, rows):
        on_policy.observe(self.q_network, rows["obs"])
        q_values = self.q_network(on_policy.flat(rows["obs"]))
        steps, num_envs = rows["reward"].shape
        q_values = keras.ops.reshape(q_values, (steps + 1, num_envs, -1))
        returns = ops.q_lambda_returns(
            rows["reward"],
            rows["discount"],
            q_values,
            rows["cut"],
            self.lambda_,
        )
        value = keras.ops.max(q_values[:-1], axis=-1)
        return {
            "value": value,
            "log_prob": keras.ops.zeros_like(value),  # Nothing depends on it.
            "advantage": returns - value,
            "return": returns,
            "weight": keras.ops.cast(rows["live"], "float32"),
        }

    def train_step(self, batch):
        networks.resample_noise(self.q_network, self.seed_generator)
        loss, q_value, td_error = value_based.fit_values(
            self, batch, batch["return"], ops.live_mean
        )
        return self.finish(
            batch,
            loss=loss,
            q_value=ops.live_mean(q_value, batch["weight"]),
            td_error=ops.live_mean(td_error, batch["weight"]),
        )

    def get_config(self):
        return {
            **super().get_config(),
            **value_based.get_config(self),
            "lambda_": self.lambda_,
        }
