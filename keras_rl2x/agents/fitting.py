"""What `Agent.fit` does that `keras.Model.fit` does not."""

import contextlib
import itertools
import weakref

import keras
import tensorflow as tf

from keras_rl2x import networks
from keras_rl2x import spaces
from keras_rl2x.compiled import direct


def check(agent):
    """Refuses a `fit` that could not do what it is meant to.

    Raises:
        ValueError: If an optimizer accumulates gradients, or the agent was made
            for several devices; see also `check_callbacks`.
    """
    for optimizer in agent.optimizers:
        if getattr(optimizer, "gradient_accumulation_steps", None):
            raise ValueError(
                "Targets and actors move by the updates of an optimizer, which "
                "must not accumulate gradients: draw larger batches. Received: "
                f"{optimizer.gradient_accumulation_steps=}"
            )
    replicas = agent.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "An agent learns on one device, as what it draws depends on its "
            "last update: make it outside of the strategy's scope. Received: "
            f"a strategy of {replicas} replicas"
        )
    check_callbacks(agent)


def check_callbacks(agent):
    """Refuses callbacks that cannot do what they are for.

    Args:
        agent: An `Agent`; its `fit_callbacks` are checked. Attributes that
            count: `moves_targets`; `writes` and `reads`, tuples of names in
            the logs; `stands_behind` and `stands_before`, tuples of classes.

    Raises:
        ValueError: Says which to add, or to put before which.
    """
    callbacks = agent.fit_callbacks
    movers = [c for c in callbacks if getattr(c, "moves_targets", False)]
    if agent.targets and not movers:
        raise ValueError(
            f"{type(agent).__name__} has a target network that nothing would "
            "move: add `rl.callbacks.TargetUpdate(every=...)` to the callbacks "
            "of `fit`."
        )
    for first, second in itertools.combinations(callbacks, 2):
        reason = _misplaced(first, second)
        if reason:
            first, second = type(first).__name__, type(second).__name__
            raise ValueError(
                f"`{first}` stands before `{second}`, {reason}: in the list of "
                f"callbacks, put `{second}` before `{first}`."
            )


def end(agent):
    """Lets go of the callbacks of a `fit`, whatever ended it."""
    callbacks, agent.fit_callbacks = agent.fit_callbacks, ()
    agent._initial_epoch = None
    with contextlib.ExitStack() as stack:  # Each, though another fails.
        for callback in reversed(callbacks):
            if hasattr(callback, "on_fit_exit"):
                stack.callback(callback.on_fit_exit)


def refusal(name, instead):
    """A method for what Keras's models do, and an agent cannot.

    Args:
        name: String, the method's.
        instead: String, what to call in its place.
    """

    def refuse(self, *args, **kwargs):
        raise NotImplementedError(
            f"`{name}` is for pairs of inputs and labels, which an agent does "
            f"not have: {instead}."
        )

    refuse.__doc__ = f"Refused: {instead}."
    return refuse


def _misplaced(first, second):
    """Why two callbacks must not stand in this order, or `None`."""
    missing = _reads(first) & set(getattr(second, "writes", ()))
    if missing:
        return f"which writes the {sorted(missing)} that it reads"
    if isinstance(second, getattr(first, "stands_behind", ())):
        return "whose state it saves as it is after the epoch"
    if isinstance(first, getattr(second, "stands_before", ())):
        return "which would save the averaged weights in place of the trained"
    return None


def _reads(callback):
    """The names that a callback reads from the logs at an epoch's end."""
    if isinstance(
        callback, (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)
    ):
        return {"return", "val_return"}
    return {getattr(callback, "monitor", None), *getattr(callback, "reads", ())}


def check_spaces(agent, envs):
    """Refuses environments in which an agent cannot act.

    Args:
        agent: An `Agent`.
        envs: A `gymnasium.vector.VectorEnv`.

    Raises:
        ValueError: If their observations are not what the agent's network
            takes, or their actions not what it gives.
    """
    wanted = agent.action_spec
    given = spaces.action_spec(envs.single_action_space)
    if wanted != given:
        raise ValueError(
            "The agent was made for other actions than the environments take: "
            f"{wanted}. Received: {given}"
        )
    network = agent.policy
    expected = _shapes(networks.observation_input(network))
    received = _shapes(spaces.spec(envs.single_observation_space))
    if expected != received:
        raise ValueError(
            f"The network '{network.name}' takes observations of shape "
            f"{expected}, not those of the environments: begin it with "
            "`rl.networks.inputs(observation_space)`, which also turns "
            "categories into one-hot vectors. Received: observations of "
            f"shape {received}, from {envs.single_observation_space}"
        )


def _shapes(tree):
    """The shapes of a structure, as strings, without the batch axis."""
    if isinstance(tree, dict):
        return {key: _shapes(leaf) for key, leaf in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(map(_shapes, tree))
    if isinstance(tree, spaces.Leaf):
        return str(tree.shape)
    return str(tuple(tree.shape[1:]))


def is_endless(data):
    """Whether there is always another batch."""
    return (
        isinstance(data, tf.data.Dataset)
        and int(data.cardinality()) == tf.data.INFINITE_CARDINALITY
    )


def make_loop(agent, endless):
    """A `train_function`: `steps_per_execution` updates, one after the other.

    Keras's own loop draws the next batch while an update runs, which then may
    or may not see the priorities that this update sets.

    Args:
        agent: A compiled `Agent`.
        endless: Boolean, whether there is always another batch: asking each
            time costs a tenth of a small network's update.

    Returns:
        Function from an iterator over batches to the logs of the last update.
    """
    train_step = _finishing(agent)
    if agent.jit_compile:
        train_step = tf.function(train_step, autograph=False, jit_compile=True)

    def step(batch):
        answers = [c.may_update(agent) for c in agent.graph_callbacks()]
        answers = [answer for answer in answers if answer is not None]
        if not answers:
            train_step(batch)
            return
        # The values are not asked for, but both branches must return as much.
        nothing = tf.zeros([])

        def update():
            train_step(batch)
            return nothing

        tf.cond(tf.reduce_all(answers), update, lambda: nothing)

    def always(iterator):
        step(next(iterator))
        return 1

    def if_any(iterator):
        batch = iterator.get_next_as_optional()

        def learn():
            step(batch.get_value())
            return 1

        return tf.cond(batch.has_value(), learn, lambda: 0)

    learn = always if endless else if_any

    @tf.function(autograph=False, reduce_retracing=True)
    def execute(iterator):
        if agent.steps_per_execution == 1:
            done = learn(iterator)
        else:
            _, done = tf.while_loop(
                lambda i, _: i < agent.steps_per_execution,
                lambda i, done: (i + 1, done + learn(iterator)),
                (0, 0),
                parallel_iterations=1,
            )
        return done, agent.get_metrics_result()

    calls = weakref.WeakKeyDictionary()

    def train(iterator):
        if iterator not in calls:
            calls[iterator] = _bind(execute, iterator)
        done, logs = calls[iterator]()
        if not endless and not done:
            raise StopIteration
        return logs

    return train


def _finishing(agent):
    """The agent's `train_step`, refused if it does not end in `finish`."""

    def train_step(batch):
        agent.finished = False
        agent.train_step(batch)
        if not agent.finished:
            raise ValueError(
                f"`{type(agent).__name__}.train_step` must end in `return "
                "self.finish(batch, loss=loss)`, with all that it logs: else "
                "no `TargetUpdate` happens, and nothing is logged."
            )

    return train_step


def _bind(execute, iterator):
    """Function without arguments that calls `execute` on this iterator."""
    concrete = execute.get_concrete_function(iterator)
    call = direct(concrete)
    leaves = tf.nest.flatten(iterator, expand_composites=True)
    # Once, as it takes longer than the call: where in the outputs they are.
    places = list(range(len(concrete.outputs)))
    done, logs = tf.nest.pack_sequence_as(concrete.structured_outputs, places)

    def run():
        outputs = call(*leaves)
        return outputs[done], {name: outputs[i] for name, i in logs.items()}

    return run
