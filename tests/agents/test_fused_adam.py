"""The kernels take the steps that Keras's own Adam takes."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x.agents.fused_adam import fused

Adam = keras.optimizers.Adam


def variables():
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.normal(size=shape).astype("f4"))
        for shape in ((5, 7), (7,), ())
    ]


def gradients(step):
    rng = np.random.default_rng(step)
    return [
        tf.constant(rng.normal(size=shape).astype("f4"))
        for shape in ((5, 7), (7,), ())
    ]


def run(optimizer, take=lambda optimizer: optimizer):
    """All numbers after some steps: of the variables, and the optimizer."""
    moved = variables()
    optimizer.build(moved)
    apply = tf.function(lambda grads: take(optimizer).apply(grads, moved))
    for step in range(12):
        apply(gradients(step))
    return [np.array(v) for v in [*moved, *optimizer.variables]]


def assert_same(make):
    ours, theirs = run(make(), fused), run(make())
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        # In single precision 1 - 0.999 is off by a hundred thousandth.
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
        {"global_clipnorm": 0.5},
        {"global_clipnorm": 100.0},
        {"clipnorm": 0.5},
        {"clipvalue": 0.5},
        {"weight_decay": 0.1},
        {"use_ema": True, "ema_momentum": 0.5},
        {
            "learning_rate": keras.optimizers.schedules.PolynomialDecay(
                0.1, 10, 0.0
            )
        },
    ],
    ids=lambda arguments: "-".join(arguments) or "plain",
)
def test_same_steps(arguments):
    arguments = {"learning_rate": 0.05, **arguments}
    built = Adam(**arguments)
    built.build(variables())
    assert fused(built).update_step.__func__ is not Adam.update_step
    assert_same(lambda: Adam(**arguments))


def test_first_step_by_hand():
    # Both moments are corrected to the gradient: a step of the learning rate.
    variable = keras.Variable([1.0, 2.0])
    optimizer = Adam(0.1, epsilon=1e-7)
    optimizer.build([variable])
    fused(optimizer).apply([tf.constant([3.0, -0.01])], [variable])
    np.testing.assert_allclose(variable, [0.9, 2.1], rtol=1e-4)
    momentum, velocity = optimizer.variables[2:]
    np.testing.assert_allclose(momentum, [0.3, -0.001], rtol=1e-5)
    np.testing.assert_allclose(velocity, [9e-3, 1e-7], rtol=1e-4)
    assert int(optimizer.iterations) == 1


def test_learning_rate_is_read_at_each_step():
    variable = keras.Variable(0.0)
    optimizer = Adam(0.1)
    optimizer.build([variable])
    apply = tf.function(
        lambda: fused(optimizer).apply([tf.constant(1.0)], [variable])
    )
    apply()
    optimizer.learning_rate = 0.0  # As a callback sets it.
    before = float(variable)
    apply()
    assert float(variable) == before != 0.0


def test_a_gradient_that_is_no_number_is_not_hidden_by_clipping():
    variable = keras.Variable([1.0, 1.0])
    optimizer = Adam(0.1, global_clipnorm=1.0)
    optimizer.build([variable])
    fused(optimizer).apply([tf.constant([np.inf, 1.0])], [variable])
    assert np.isnan(variable).all()


def test_rows_of_an_embedding():
    def after(take):
        table = keras.Variable(np.ones((4, 2), "f4"))
        optimizer = Adam(0.1)
        optimizer.build([table])
        rows = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([1, 3]), (4, 2))
        take(optimizer).apply([rows], [table])
        return np.array(table)

    np.testing.assert_array_equal(after(fused), after(lambda same: same))


def test_variables_without_a_gradient_stay():
    first, second = keras.Variable(1.0), keras.Variable(2.0)
    optimizer = Adam(0.1, global_clipnorm=1.0)
    optimizer.build([first, second])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        fused(optimizer).apply([tf.constant(1.0), None], [first, second])
    assert float(first) != 1.0
    assert float(second) == 2.0


def test_one_that_is_not_built_is_built_by_keras():
    # As where `train_step` is called without `fit`.
    variable = keras.Variable([1.0, 2.0])
    optimizer = Adam(0.1)
    step = tf.function(
        lambda: fused(optimizer).apply([tf.constant([1.0, 1.0])], [variable])
    )
    step()
    assert fused(optimizer) is not optimizer
    step()
    np.testing.assert_allclose(variable, [0.8, 1.8], rtol=1e-4)
    assert int(optimizer.iterations) == 2


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(amsgrad=True),
        keras.optimizers.AdamW(),
        keras.optimizers.SGD(),
        keras.optimizers.LossScaleOptimizer(Adam()),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_others_are_left_as_they_are(optimizer):
    optimizer.build(variables())
    assert fused(optimizer) is optimizer


def test_copies_of_a_variable_are_left_to_keras(monkeypatch):
    optimizer = Adam()
    optimizer.build(variables())
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    assert fused(optimizer) is optimizer
