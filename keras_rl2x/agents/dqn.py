"""Deep Q-learning."""

import keras

from keras_rl2x import ops
from keras_rl2x.acting import samplers
from keras_rl2x.agents import value_based
from keras_rl2x.agents.agent import Agent


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
        noisy: Boolean, whether the head's layers are noisy; `epsilon` is then
            usually 0, and the network `mlp(..., noisy=True)`. Defaults to
            `False`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If the network's output does not fit.

    Reference:
     - [Mnih et al., 2015](https://doi.org/10.1038/nature14236)
     - [van Hasselt et al., 2016](https://arxiv.org/abs/1509.06461) (`double`)
     - [Wang et al., 2016](https://arxiv.org/abs/1511.06581) (`"dueling"`)
     - [Fortunato et al., 2018](https://arxiv.org/abs/1706.10295) (`noisy`)

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
        noisy=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        value_based.build(self, network, epsilon, head, loss, noisy)
        self.double = double
        self.noisy = noisy
        self.built = True

    @property
    def policy(self):
        return self.q_network

    @property
    def targets(self):
        return ((self.target_network, self.q_network),)

    def call(self, obs):
        return value_based.greedy(self, obs)

    def exploration(self):
        return value_based.exploration(self)

    def train_step(self, batch):
        value_based.resample_noise(self)
        reward, discount = batch["reward"], batch["discount"]
        q_next = self.target_network(batch["next_obs"])  # [B, A]
        if self.double:
            online = self.q_network(batch["next_obs"])
            target = ops.double_q_target(reward, discount, q_next, online)
        else:
            target = ops.q_target(reward, discount, q_next)
        loss, q_value, td_error = value_based.fit_values(self, batch, target)
        return self.finish(batch, loss=loss, q_value=q_value, td_error=td_error)

    def get_config(self):
        return {
            **super().get_config(),
            **value_based.get_config(self),
            "double": self.double,
            "loss": self.loss_name,
            "noisy": self.noisy,
        }
