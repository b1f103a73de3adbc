"""C51: Q-learning of categorical distributions of returns."""

import functools

import keras

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.acting import samplers
from keras_rl2x.agents import value_based
from keras_rl2x.agents.agent import Agent


@keras.saving.register_keras_serializable("keras_rl2x")
class C51(Agent):
    """Learns the probability of each of a few returns, and acts on the mean.

    Where DQN regresses on one number, C51 classifies: the target is a whole
    distribution of returns, over the same numbers. `td_error` is the
    divergence from it, which `data.PrioritizedReplay` then draws by.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Discrete`.
        v_min: Float, the least discounted return; lesser ones are learned as
            this one.
        v_max: Float, the greatest: with rewards up to 1, at most
            `1 / (1 - gamma)`. The paper has -10 and 10, for Atari games whose
            rewards are clipped.
        epsilon: As in `DQN`. Defaults to 0.05.
        double: As in `DQN`. Defaults to `False`.
        head: `"q_values"` or `"dueling"`; see
            `networks.action_distributions`. Defaults to `"q_values"`.
        atoms: Integer, how many returns from `v_min` to `v_max` get a
            probability. Defaults to 51.
        noisy: As in `DQN`. Defaults to `False`.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is not `Discrete`.
        ValueError: If the network's output does not fit, or there are no
            returns from `v_min` to `v_max`.

    References:
     - [Bellemare et al., 2017](https://arxiv.org/abs/1707.06887), algorithm 1
     - [Hessel et al., 2018](https://arxiv.org/abs/1710.02298) (`double`,
       `"dueling"`, `noisy`, priorities); see `Rainbow`

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0)
    network = keras_rl2x.networks.mlp(envs.single_observation_space)
    agent = keras_rl2x.agents.C51(
        network, envs.single_action_space, v_min=0.0, v_max=100.0
    )
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
        v_min,
        v_max,
        epsilon=0.05,
        double=False,
        head="q_values",
        atoms=51,
        noisy=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        self.support = ops.categorical_support(v_min, v_max, atoms)
        mean = networks.CategoricalMean(v_min, v_max, atoms, dtype="float32")
        value_based.build_distributions(
            self, network, epsilon, head, atoms, mean, noisy
        )
        self.v_min = v_min
        self.v_max = v_max
        self.double = double
        self.atoms = atoms
        self.noisy = noisy
        self.built = True

    @property
    def policy(self):
        return self.q_network

    @property
    def targets(self):
        return ((self.target_network, self.distribution_network),)

    def call(self, obs):
        return value_based.greedy(self, obs)

    def exploration(self):
        return value_based.exploration(self)

    def train_step(self, batch):
        value_based.resample_noise(self)
        logits_next = value_based.next_distribution(
            self, batch["next_obs"], self.double
        )
        target = ops.categorical_target(
            batch["reward"], batch["discount"], logits_next, self.support
        )
        loss, q_value, divergence = value_based.fit_distributions(
            self, batch, functools.partial(ops.categorical_kl, target)
        )
        return self.finish(
            batch, loss=loss, q_value=q_value, td_error=divergence
        )

    def get_config(self):
        return {
            **super().get_config(),
            **value_based.get_config(self),
            "v_min": self.v_min,
            "v_max": self.v_max,
            "double": self.double,
            "atoms": self.atoms,
            "noisy": self.noisy,
        }
