import keras
import pytest
import tensorflow as tf

import keras_rl2x as rl
from tests.callbacks.living import Living


class Count(rl.callbacks.GraphCallback):
    """Counts updates, and how often it was traced."""

    def __init__(self):
        super().__init__()
        self.updates = tf.Variable(0)
        self.traces = 0

    def on_update(self, agent, batch, values):
        self.traces += 1
        self.updates.assign_add(1)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_runs_at_each_update_whoever_comes_and_goes(steps_per_execution):
    living = Living(steps_per_execution=steps_per_execution)
    first, second = Count(), Count()
    living.fit()
    living.fit(first)  # Added,
    assert first.updates.numpy() == 8
    traces = first.traces
    living.fit(first, epochs=2)  # kept,
    assert first.updates.numpy() == 24
    assert first.traces == traces
    living.fit(second)  # swapped,
    assert first.updates.numpy() == 24
    assert second.updates.numpy() == 8
    living.fit(first, second)  # both,
    living.fit()  # removed.
    assert first.updates.numpy() == 32
    assert second.updates.numpy() == 16


def test_sees_the_update_that_was_made():
    class Read(rl.callbacks.GraphCallback):
        def on_update(self, agent, batch, values):
            assert batch["obs"].shape == (8,)
            assert {"loss", "q_value", "td_error"} <= values.keys()
            seen.assign(agent.optimizer.iterations)

    seen = tf.Variable(0, dtype=tf.int64)
    living = Living()
    living.fit(Read())
    # This update is counted already.
    assert seen.numpy() == living.agent.optimizer.iterations.numpy() == 8


def test_must_be_overridden():
    living = Living()
    with pytest.raises(NotImplementedError):
        living.fit(rl.callbacks.GraphCallback())


def test_stock_callbacks_are_not_traced():
    living = Living()
    living.fit()
    train_function = living.agent.train_function
    living.fit(keras.callbacks.LambdaCallback())
    assert living.agent.train_function is train_function
