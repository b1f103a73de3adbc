"""Trust region policy optimisation."""

import keras
import tensorflow as tf

from keras_rl2x import arguments
from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.agents import fitting
from keras_rl2x.agents import on_policy
from keras_rl2x.agents.agent import Agent
from keras_rl2x.agents.natural_gradient import fisher_vector_product
from keras_rl2x.agents.natural_gradient import flatten
from keras_rl2x.agents.natural_gradient import line_search


@keras.saving.register_keras_serializable("keras_rl2x")
class TRPO(Agent):
    """The best step of the policy within a mean KL divergence of the old one.

    Learns from a whole rollout at once, `data.Rollout.dataset()`. The policy
    has no optimizer: its step is the natural gradient, shortened until it keeps
    the constraint. The compiled optimizer moves the critic, in minibatches.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: As in `PPO`.
        critic: Another `keras.Model`, for the value: it cannot share the
            policy's features, which only the constrained step may move.
        max_kl: Float, or a `keras.optimizers.schedules.LearningRateSchedule`
            over environment steps: the mean KL divergence that a step may
            have. Defaults to 0.01.
        lambda_: Float in [0, 1], as in `PPO`. Defaults to 0.95.
        cg_iterations: Integer, products with the Fisher matrix per update.
            Defaults to 15.
        cg_damping: Float, added to the matrix's diagonal: more makes steps
            shorter and safer. Defaults to 0.1.
        line_search_steps: Integer, how many steps to try. Defaults to 10.
        line_search_shrink: Float, the length of each to that of the one
            before. Defaults to 0.8.
        critic_passes: Integer, passes of the critic over each rollout.
            Defaults to 10.
        critic_minibatch_size: Integer; what a pass leaves over is not used.
            Defaults to 128.
        normalize_rewards: Boolean, whether rewards are divided by a running
            scale. Defaults to `False`.
        log_std: Float, the initial log standard deviation of continuous
            actions. Defaults to 0.
        noise_correlation: Float, as in `PPO`. Defaults to 0.
        seed: Integer seed of the heads' weights and the critic's shuffles.
        **kwargs: As in `keras.Model`.

    Raises:
        TypeError: If the action space is of another kind.
        ValueError: If a network's output, or a number, does not fit, or there
            is no critic.

    Reference:
     - [Schulman et al., 2015](https://arxiv.org/abs/1502.05477), section 6 and
       appendix C

    Example:

    ```python
    envs = keras_rl2x.envs.make("CartPole-v1", num_envs=2, seed=0)
    space = envs.single_observation_space
    agent = keras_rl2x.agents.TRPO(
        keras_rl2x.networks.mlp(space, activation="tanh"),
        envs.single_action_space,
        critic=keras_rl2x.networks.mlp(space, activation="tanh"),
    )
    agent.compile(keras.optimizers.Adam(1e-3))
    rollout = keras_rl2x.data.Rollout(envs, steps=512, gamma=0.99)
    ```
    """

    metric_names = (
        "loss",
        "kl",
        "improvement",
        "step_size",
        "value_loss",
        "entropy",
    )
    no_exploration = {"greedy": True}

    def __init__(
        self,
        network,
        action_space,
        critic,
        max_kl=0.01,
        lambda_=0.95,
        cg_iterations=15,
        cg_damping=0.1,
        line_search_steps=10,
        line_search_shrink=0.8,
        critic_passes=10,
        critic_minibatch_size=128,
        normalize_rewards=False,
        log_std=0.0,
        noise_correlation=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(action_space, seed, **kwargs)
        if networks.memory_size(networks.as_functional(network)):
            raise ValueError(
                "TRPO does not learn from sequences: use a network without a "
                f"memory, or PPO. Received: network='{network.name}'"
            )
        if critic is None or critic is network:
            raise ValueError(
                "TRPO needs a `critic` of its own, such as another "
                f"`rl.networks.mlp(observation_space)`. Received: {critic=}"
            )
        on_policy.build(
            self,
            network,
            critic,
            log_std,
            normalize_rewards,
            noise_correlation,
        )
        if not callable(max_kl):
            arguments.positive(max_kl=max_kl)
        self.max_kl = max_kl
        self.lambda_ = arguments.fraction(lambda_=lambda_)
        self.cg_iterations = arguments.integer(cg_iterations=cg_iterations)
        self.cg_damping = arguments.nonnegative(cg_damping=cg_damping)
        self.line_search_steps = arguments.integer(
            line_search_steps=line_search_steps
        )
        self.line_search_shrink = arguments.fraction(
            line_search_shrink=line_search_shrink
        )
        self.critic_passes = arguments.integer(critic_passes=critic_passes)
        self.critic_minibatch_size = arguments.integer(
            critic_minibatch_size=critic_minibatch_size
        )
        self.built = True

    @property
    def policy(self):
        return self.policy_network

    def call(self, obs):
        return on_policy.mode(self, obs)

    def prepare(self, rows):
        return on_policy.prepare(self, rows, self.lambda_)

    def train_step(self, batch):
        weight, max_kl = batch["weight"], self.max_kl
        if callable(max_kl):
            max_kl = max_kl(self.env_steps)
        old = keras.ops.stop_gradient(self.policy_network(batch["obs"]))
        advantage = ops.normalize(batch["advantage"], weight)
        variables = self.policy_network.trainable_variables

        def surrogate():
            params = self.policy_network(batch["obs"])
            log_prob = self.distribution.log_prob(params, batch["action"])
            ratio = ops.importance_ratio(log_prob, batch["log_prob"])
            gain = ops.live_mean(ratio * advantage, weight)
            return gain - fitting.penalty(variables)

        def kl():
            params = self.policy_network(batch["obs"])
            return ops.live_mean(self.distribution.kl(old, params), weight)

        def fisher(vector):
            product = fisher_vector_product(kl, variables, vector)
            return product + self.cg_damping * vector

        with tf.GradientTape() as tape:
            before = surrogate()
        gradient = flatten(
            tape.gradient(before, variables, unconnected_gradients="zero")
        )
        direction = ops.conjugate_gradient(fisher, gradient, self.cg_iterations)
        curvature = keras.ops.sum(direction * fisher(direction))
        step = direction * keras.ops.sqrt(2 * max_kl / curvature)
        size, improvement, divergence = line_search(
            variables,
            step,
            lambda: (surrogate() - before, kl()),
            max_kl,
            self.line_search_steps,
            self.line_search_shrink,
        )
        return self.finish(
            batch,
            loss=-improvement,
            kl=divergence,
            improvement=improvement,
            step_size=size,
            value_loss=self._fit_critic(batch),
            entropy=ops.live_mean(self.distribution.entropy(old), weight),
        )

    def _fit_critic(self, batch):
        """Regresses the value on the returns; the mean loss."""
        data = {name: batch[name] for name in ("obs", "return", "weight")}
        size = data["weight"].shape[0]
        minibatch_size = min(self.critic_minibatch_size, size)
        used = size - size % minibatch_size
        keys = keras.random.uniform(
            (self.critic_passes, size), seed=self.seed_generator
        )
        orders = tf.argsort(keys)[:, :used]
        minibatches = tf.reshape(orders, [-1, minibatch_size])
        variables = self.value_network.trainable_variables

        def update(i, total):
            rows = minibatches[i]
            part = tf.nest.map_structure(lambda x: tf.gather(x, rows), data)

            def loss_fn():
                value = self.value_network(part["obs"], training=True)
                error = keras.ops.square(value - part["return"])
                return ops.live_mean(error, part["weight"]), ()

            loss, _ = self.minimize(loss_fn, variables)
            return i + 1, total + loss

        updates = minibatches.shape[0]
        _, total = tf.while_loop(
            lambda i, _: i < updates, update, (0, 0.0), parallel_iterations=1
        )
        return total / updates

    def get_config(self):
        return {
            **super().get_config(),
            **on_policy.get_config(self),
            "max_kl": keras.saving.serialize_keras_object(self.max_kl),
            "lambda_": self.lambda_,
            "cg_iterations": self.cg_iterations,
            "cg_damping": self.cg_damping,
            "line_search_steps": self.line_search_steps,
            "line_search_shrink": self.line_search_shrink,
            "critic_passes": self.critic_passes,
            "critic_minibatch_size": self.critic_minibatch_size,
        }
