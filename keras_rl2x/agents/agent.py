"""The base class of every agent: a Keras model that acts and learns."""

import copy
import functools

import keras
import numpy as np
import tensorflow as tf

from keras_rl2x import networks
from keras_rl2x import spaces
from keras_rl2x.agents import fit_checks
from keras_rl2x.agents import fitting
from keras_rl2x.agents import keyword_checks
from keras_rl2x.agents import loss_checks
from keras_rl2x.agents import saving
from keras_rl2x.agents import space_checks
from keras_rl2x.agents.fused_adam import fused
from keras_rl2x.agents.metrics import Means


class Agent(keras.Model):
    """A policy and its learning rule.

    An agent knows nothing of environments, buffers or loops: `fit` hands it
    batches, callbacks read and move it. To write one, subclass `Agent` (and
    no other agent), build every network and optimizer in `__init__`, end
    `__init__` with `self.built = True`, and override

    - `policy`: the Keras model that acting needs;
    - `call`: from observations to greedy environment actions;
    - `train_step`: one update; must end in `return self.finish(...)`;
    - `prepare`, if it learns from rollouts;
    - `metric_names`, `get_config`, and `targets` if it has target networks;
    - `sampler`, `exploration`, `no_exploration`: how it explores.

    Args:
        action_space: A `gymnasium.Space`.
        seed: Integer seed of its heads' weights and its sampling, or `None`.
        **kwargs: As in `keras.Model` (`name`, `dtype`).

    Attributes:
        action_spec: The action space, as `rl.spaces.action_spec` gives it.
        env_steps: Integer weight, the environment steps taken.
        seed_generator: A `keras.random.SeedGenerator`, saved with the agent.
        fit_callbacks: Tuple, the callbacks of the `fit` that is under way.
    """

    # Keras would choose XLA, which is slower for these updates on a CPU, and
    # cannot reach the replay's variables from a GPU.
    supports_jit = False

    metric_names = ("loss",)

    # How `acting` turns the outputs of `policy` into actions, the arguments
    # with which it does so greedily, and the correlation of its noise in
    # successive steps.
    sampler = None
    no_exploration = {}
    noise_correlation = 0.0

    # Whether it learns from a `data.Rollout`, not from a `data.Replay`.
    on_policy = False
    normalize_rewards = False  # Whether `prepare` wants `reward_so_far`, too.

    # How many numbers a recurrent `policy` remembers, see `networks.lstm`.
    memory_size = 0

    def __init__(self, action_space, seed=None, **kwargs):
        keyword_checks.check(type(self).__name__, kwargs)
        super().__init__(autocast=False, **kwargs)  # Its networks cast.
        self.action_spec = spaces.action_spec(action_space)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.env_steps = self.add_weight(
            name="env_steps",
            dtype="int64",
            initializer="zeros",
            trainable=False,
        )
        self._means = Means(self.metric_names)
        self.fit_callbacks = ()
        self._endless = False
        self._traced_with = None

    # What an agent overrides.

    @property
    def policy(self):
        """The functional `keras.Model` whose outputs acting samples from."""
        raise NotImplementedError

    def call(self, obs):
        """Greedy environment actions `[N, ...]` for observations `[N, ...]`."""
        raise NotImplementedError

    def train_step(self, batch):
        """One update.

        Args:
            batch: Dict of tensors `[B, ...]`, as `data.Replay.dataset` or
                `data.Rollout.dataset` describes them. Actions are the agent's:
                categories count from 0, bounded ones are within [-1, 1].

        Returns:
            What `self.finish(batch, loss=loss, ...)` returned.
        """
        raise NotImplementedError

    def prepare(self, rows):
        """What it makes of a rollout before it learns from it, in the graph.

        Args:
            rows: Dict of tensors `[T, N, ...]`; see `data.Rollout.rows`.

        Returns:
            Dict of tensors `[T, N]`: `value, log_prob, advantage, return,
            weight`.
        """
        raise NotImplementedError

    @property
    def targets(self):
        """Tuple of pairs `(target, source)` for `TargetUpdate` to move."""
        return ()

    def exploration(self):
        """Keyword arguments of `sampler`, at the present `env_steps`."""
        return {}

    # What every agent is given.

    @property
    def metrics(self):
        return [self._means]

    @property
    def optimizers(self):
        """Every optimizer of the agent, the compiled one first."""
        # The compiled one is the attribute `optimizer`, set by Keras.
        names = sorted(vars(self), key=lambda name: (name != "optimizer", name))
        values = (getattr(self, name) for name in names)
        return [v for v in values if isinstance(v, keras.optimizers.Optimizer)]

    def act(self, obs, explore=True):
        """Environment actions for a batch of observations, as arrays.

        For a few by hand: `rl.evaluate` is tens of times faster. An agent with
        a memory acts as at the beginning of an episode.

        Args:
            obs: Array `[N, ...]` (or a structure of such).
            explore: Boolean, whether as when collecting, or greedily. Defaults
                to `True`.

        Returns:
            Array `[N, ...]`.
        """
        obs = space_checks.as_batch(self, obs)
        rng, arguments = None, self.no_exploration
        if explore:
            networks.resample_noise(self.policy, self.seed_generator)
            rng = np.random.default_rng(np.array(self.seed_generator.next()))
            arguments = self.exploration()
        outputs = keras.tree.map_structure(np.array, self._act(obs, explore))
        if self.memory_size:
            outputs, _ = outputs
        return spaces.to_env(
            self.action_spec, self.sampler(outputs, rng, **arguments)
        )

    @functools.cached_property
    def _act(self):
        """Function of a batch, and of whether to explore: what `policy` gives.

        In the graph: Keras takes ten times as long to call a small model.
        """

        def outputs(obs, explore):
            policy = self.policy
            compute = policy if explore else networks.without_noise(policy)
            return compute(networks.with_memory(policy, obs))

        return tf.function(outputs, autograph=False, reduce_retracing=True)

    def check_spaces(self, envs):
        """Raises `ValueError` if it cannot act in these environments."""
        space_checks.check_spaces(self, envs)

    def minimize(self, loss_fn, variables, optimizer=None):
        """Takes one step of an optimizer.

        Args:
            loss_fn: Function without arguments that returns a scalar loss, a
                mean over the batch, and anything else.
            variables: List of the `keras.Variable`s to move.
            optimizer: A Keras optimizer. Defaults to the compiled one.

        Returns:
            What `loss_fn` returned: a tuple `(loss, anything else)`; the loss
            with what the regularizers of these variables add.

        Raises:
            ValueError: If a layer adds losses of its own, or the optimizer
                was built when other variables were trainable.
        """
        optimizer = optimizer or self.optimizer
        loss_checks.check_moved(optimizer, variables)
        # Gradients are summed over replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape() as tape:
            loss, aux = loss_fn()
            loss_checks.check_losses(self)
            loss += fitting.penalty(variables)
            scaled = optimizer.scale_loss(loss / replicas)
        gradients = tape.gradient(scaled, variables)
        fused(optimizer).apply(gradients, variables)
        return loss, aux

    def finish(self, batch, **values):
        """Ends an update: graph callbacks, then metrics.

        Args:
            batch: The batch that `train_step` was given.
            **values: Tensors by name, of which those in `metric_names` are
                averaged and logged; graph callbacks see them all.

        Returns:
            Dict of the logged values, what `train_step` must return.
        """
        self.finished = True
        for callback in self.graph_callbacks():
            callback.on_update(self, batch, values)
        self._means.update_state(values)
        return self.get_metrics_result()

    def graph_callbacks(self):
        """List of the callbacks of `fit` that are traced into its updates."""
        return [c for c in self.fit_callbacks if hasattr(c, "on_update")]

    def fit(self, x=None, *args, callbacks=None, **kwargs):
        """As `keras.Model.fit`, once the callbacks were checked.

        Raises:
            TypeError: If `x` is no dataset of a replay or a rollout.
            ValueError: If callbacks cannot do what they are meant to, or
                something is given that no agent uses; says what to change.
        """
        kwargs.setdefault("shuffle", False)  # Keras would warn that it cannot.
        self._endless = fitting.is_endless(x)
        flat = getattr(callbacks, "callbacks", callbacks)
        self.fit_callbacks = tuple(keras.tree.flatten(flat or []))
        try:
            fit_checks.check(self, x, *args, **kwargs)
            callbacks = list(self.fit_callbacks)
            return super().fit(x, *args, callbacks=callbacks, **kwargs)
        finally:
            fitting.end(self)

    evaluate = fitting.refusal("evaluate", "call `rl.evaluate(agent, env)`")
    test_on_batch = fitting.refusal("test_on_batch", "call `rl.evaluate`")
    train_on_batch = fitting.refusal("train_on_batch", "call `agent.fit`")

    def make_train_function(self, force=False):
        now = self.graph_callbacks(), self._endless
        force, self._traced_with = force or now != self._traced_with, now
        for optimizer in self.optimizers:
            if not optimizer.built:
                optimizer.build(self.trainable_variables)
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        if not self.run_eagerly:
            self.train_function = fitting.make_loop(self, self._endless)

    def save(self, filepath, overwrite=True, **kwargs):
        """As `keras.Model.save`, whole or not at all, and not as HDF5."""
        saving.save(super().save, filepath, overwrite, **kwargs)

    def export(self, *args, input_signature=None, **kwargs):
        """As `keras.Model.export`: what is served takes observations.

        Raises:
            ValueError: If the agent has a memory, which would be lost.
        """
        if self.memory_size:
            raise ValueError(
                f"{type(self).__name__} remembers, and what is served would "
                "not: export `agent.policy`, which takes and returns its "
                "memory beside the observations and what actions are sampled "
                "from."
            )
        # Keras asks for a call first, and forgets its dtype.
        observations = [networks.observation_input(self.policy)]
        signature = input_signature or observations
        super().export(*args, input_signature=signature, **kwargs)

    def get_state(self):
        """Dict of arrays: every variable of the agent and its optimizers."""
        return saving.get_state(self)

    def set_state(self, state):
        """Restores what `get_state` returned."""
        saving.set_state(self, state)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        saving.save_random_states(self, store)

    def load_own_variables(self, store):
        super().load_own_variables(saving.load_random_states(self, store))

    def get_config(self):
        return {
            "action_space": spaces.to_config(self.action_spec),
            # Half-precision optimizers are wrapped by it.
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        # A copy: Keras empties what it is given.
        config = keras.saving.deserialize_keras_object(copy.deepcopy(config))
        return cls(**config)
