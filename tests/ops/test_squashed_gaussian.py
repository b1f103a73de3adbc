"""The squashed Gaussian against a change of variables done numerically."""

import decimal

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf

from keras_rl2x import ops

MEAN, LOG_STD = 0.3, -0.5


def draw(params, shape=(1,)):
    """Actions, their log-probabilities, and the normal numbers behind."""
    params = tf.constant(params, "float32")
    action, log_prob = ops.SquashedGaussian(shape).sample_and_log_prob(
        params, keras.random.SeedGenerator(0)
    )
    noise = keras.random.normal(
        (len(params), params.shape[1] // 2), seed=keras.random.SeedGenerator(0)
    )
    return np.array(action), np.array(log_prob, "f8"), np.array(noise, "f8")


def normal_log_density(noise, log_std):
    return scipy.stats.norm.logpdf(noise) - log_std


def log_slope(u):
    """The logarithm of the slope of tanh at `u`, by a difference, exactly.

    With 200 digits, as tanh(50) differs from 1 in the 44th.
    """
    with decimal.localcontext() as context:
        context.prec = 200
        step = decimal.Decimal(10) ** -50

        def tanh(x):
            return 1 - 2 / ((2 * x).exp() + 1)

        u = decimal.Decimal(float(u))
        return float(((tanh(u + step) - tanh(u - step)) / (2 * step)).ln())


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("u", [0.0, 0.1, 1.0, 4.0, 8.5, 9.5, 20.0, 50.0])
def test_log_prob_is_a_change_of_variables(u, sign):
    # So narrow that all draws are u, to the last bit but one.
    action, log_prob, noise = draw(np.tile([[sign * u, -18.0]], (20, 1)))
    np.testing.assert_allclose(action, np.tanh(sign * u), atol=2e-7)
    if u > 9.1:  # tanh rounds to 1: the formula must not see that.
        np.testing.assert_array_equal(action, sign)
    wanted = normal_log_density(noise[:, 0], -18.0) - log_slope(sign * u)
    np.testing.assert_allclose(log_prob, wanted, rtol=1e-6, atol=1e-5)


def test_several_numbers_in_two_dimensions():
    rng = np.random.default_rng(0)
    mean, log_std = rng.normal(size=(2, 50, 6)).astype("f4")
    params = np.concatenate([mean, log_std], axis=1)
    action, log_prob, noise = draw(params, (2, 3))
    u = mean + np.exp(log_std) * noise
    np.testing.assert_allclose(action, np.tanh(u).reshape(50, 2, 3), atol=1e-6)
    normal = normal_log_density(noise, log_std)
    wanted = (normal - np.vectorize(log_slope)(u)).sum(axis=1)
    np.testing.assert_allclose(log_prob, wanted, rtol=1e-5, atol=1e-4)


def distribution_of_action(x):
    return scipy.stats.norm.cdf(np.arctanh(x), MEAN, np.exp(LOG_STD))


def test_actions_are_distributed_so():
    action, *_ = draw(np.tile([[MEAN, LOG_STD]], (20_000, 1)))
    drawn = action[:, 0].astype("f8")
    found = scipy.stats.kstest(drawn, distribution_of_action)
    assert found.pvalue > 1e-3


def test_entropy_by_integration():
    # The density is the slope of that distribution, by differences.
    def density(x, step=1e-7):
        high, low = distribution_of_action(np.array([x + step, x - step]))
        return (high - low) / (2 * step)

    wanted, _ = scipy.integrate.quad(
        lambda x: -density(x) * np.log(density(x) + 1e-300), -0.999999, 0.999999
    )
    _, log_prob, _ = draw(np.tile([[MEAN, LOG_STD]], (100_000, 1)))
    error = log_prob.std() / np.sqrt(len(log_prob))
    assert abs(-log_prob.mean() - wanted) < 4 * error + 1e-4


@pytest.mark.parametrize("mean", [-1e6, -30.0, 0.0, 9.0, 1e6])
@pytest.mark.parametrize("log_std", [-20.0, 2.0])
def test_gradients_are_finite(mean, log_std):
    params = tf.constant([[mean, log_std]])
    with tf.GradientTape() as tape:
        tape.watch(params)
        action, log_prob = ops.SquashedGaussian((1,)).sample_and_log_prob(
            params, keras.random.SeedGenerator(0)
        )
        total = tf.reduce_sum(action) + log_prob
    assert np.isfinite(total).all()
    assert np.isfinite(tape.gradient(total, params)).all()


def test_the_gradient_at_the_bounds():
    # log pi = log N - 2 (log 2 - |u|): of the mean it tends to 2, and of the
    # log deviation to 2 std noise - 1.
    params = tf.constant([[30.0, -2.0]])
    with tf.GradientTape() as tape:
        tape.watch(params)
        _, log_prob = ops.SquashedGaussian((1,)).sample_and_log_prob(
            params, keras.random.SeedGenerator(0)
        )
    gradient = tape.gradient(log_prob, params)
    *_, noise = draw([[30.0, -2.0]])
    wanted = [[2.0, 2 * np.exp(-2) * noise[0, 0] - 1]]
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5)
