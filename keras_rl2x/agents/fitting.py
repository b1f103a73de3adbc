"""What `Agent.fit` does that `keras.Model.fit` does not."""

import contextlib
import weakref

import keras
import tensorflow as tf

from keras_rl2x.compiled import direct


def is_endless(data):
    """Whether there is always another batch."""
    return (
        isinstance(data, tf.data.Dataset)
        and int(data.cardinality()) == tf.data.INFINITE_CARDINALITY
    )


def penalty(variables):
    """What the regularizers of variables add to a loss: a scalar."""
    return sum(
        keras.ops.sum(keras.ops.cast(v.regularizer(v), "float32"))
        for v in variables
        if v.regularizer
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

    @tf.function(autograph=False)
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
