import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import ops


def f32(*values):
    return tf.constant(values, tf.float32)


def gradients(function, *inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(*inputs)
    return tape.gradient(output, inputs)


# live_mean


def test_live_mean_by_hand():
    # (1 + 5) / 2 = 3: what is dead counts neither above nor below.
    assert float(ops.live_mean(f32(1, 100, 5), f32(1, 0, 1))) == 3


def test_dead_cells_do_not_change_the_mean():
    weight = f32(1, 0, 1, 0)
    means = {
        float(ops.live_mean(f32(1, a, 5, b), weight))
        for a, b in [(0, 0), (1e6, -3), (-7, 1e30)]
    }
    assert means == {3.0}


def test_the_mean_of_nothing_is_0():
    assert float(ops.live_mean(f32(1, 2), f32(0, 0))) == 0


def test_the_gradient_of_dead_cells_is_0():
    (gradient, _) = gradients(ops.live_mean, f32(1, 100, 5), f32(1, 0, 1))
    np.testing.assert_array_equal(gradient, [0.5, 0, 0.5])


# normalize


def test_normalize_by_hand():
    # Mean 3, deviation 2.
    normal = ops.normalize(f32(1, 5, 1, 5), f32(1, 1, 1, 1))
    np.testing.assert_allclose(normal, [-1, 1, -1, 1], rtol=1e-6)


def test_dead_cells_do_not_change_what_is_normal():
    weight = f32(1, 0, 1, 1, 1)
    for dead in (0.0, 1e4, -1e4):
        normal = np.array(ops.normalize(f32(1, dead, 5, 1, 5), weight))
        np.testing.assert_allclose(normal[[0, 2, 3, 4]], [-1, 1, -1, 1], 1e-6)


def test_normal_values_have_mean_0_and_variance_1():
    values = tf.constant(np.random.default_rng(0).normal(7, 3, 500), "float32")
    normal = ops.normalize(values, tf.ones(500))
    assert abs(np.mean(normal)) < 1e-5
    assert abs(np.std(normal) - 1) < 1e-5


@pytest.mark.parametrize("weight", [[1, 1, 1], [0, 1, 0], [0, 0, 0]])
def test_equal_values_become_0(weight):
    # Nothing to scale by, or nothing that counts: finite all the same.
    normal = np.array(ops.normalize(f32(4, 4, 4), f32(*weight)))
    assert np.isfinite(normal).all()
    np.testing.assert_array_equal(normal[np.array(weight) == 1], 0)


def test_normalize_stops_the_gradient():
    assert gradients(ops.normalize, f32(1, 2), f32(1, 1)) == (None, None)


# score_function


def test_score_function_by_hand():
    score = ops.score_function(f32(-1, -2), f32(3, -0.5))
    np.testing.assert_array_equal(score, [-3, 1])


def test_the_gradient_of_the_score_is_the_advantage():
    gradient, none = gradients(ops.score_function, f32(-1, -2), f32(3, -0.5))
    np.testing.assert_array_equal(gradient, [3, -0.5])
    assert none is None


def test_the_policy_gradient_theorem():
    # With q(a) the reward of action a, the gradient of the expected reward
    # by the logits is p(a) (q(a) - sum_b p(b) q(b)).
    logits, q = f32([0.5, -1.0, 2.0]), np.array([1.0, 3.0, -2.0])
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    family = ops.Categorical(3)

    def expected_score(logits):
        total = 0
        for a in range(3):
            log_prob = family.log_prob(logits, tf.constant([a]))
            total += p[a] * ops.score_function(log_prob, f32(q[a]))[0]
        return total

    (gradient,) = gradients(expected_score, logits)
    np.testing.assert_allclose(gradient[0], p * (q - p @ q), rtol=1e-5)


# importance_ratio


def test_importance_ratio_by_hand():
    # 1/2 : 1/4 = 2; 1/8 : 1/2 = 1/4; equal: 1.
    new, old = np.log([0.5, 0.125, 0.3]), np.log([0.25, 0.5, 0.3])
    ratio = ops.importance_ratio(f32(*new), f32(*old))
    np.testing.assert_allclose(ratio, [2, 0.25, 1], rtol=1e-6)


def test_the_old_policy_gets_no_gradient():
    gradient, none = gradients(ops.importance_ratio, f32(-1), f32(-1))
    # At ratio 1 the ratio's gradient is that of the log-probability.
    np.testing.assert_array_equal(gradient, [1])
    assert none is None


# clipped_surrogate

# All with c = 1/4: advantages 2 and -2, below, inside and beyond the clip.
RATIO = f32(0.5, 0.875, 1.0, 1.125, 1.5, 0.5, 0.875, 1.0, 1.125, 1.5)
ADVANTAGE = f32(2, 2, 2, 2, 2, -2, -2, -2, -2, -2)


def test_clipped_surrogate_by_hand():
    surrogate = ops.clipped_surrogate(RATIO, ADVANTAGE, 0.25)
    # Gains stop at 1.25 * 2 = 2.5 and 0.75 * -2 = -1.5; losses do not stop.
    wanted = [1, 1.75, 2, 2.25, 2.5, -1.5, -1.75, -2, -2.25, -3]
    np.testing.assert_array_equal(surrogate, wanted)


def test_the_gradient_vanishes_beyond_the_clip_where_it_improves():
    gradient, none = gradients(
        lambda ratio, a: ops.clipped_surrogate(ratio, a, 0.25), RATIO, ADVANTAGE
    )
    # A good action is not made more likely than by 1.25, a bad one not less
    # likely than by 0.75; what went the wrong way is always brought back.
    np.testing.assert_array_equal(gradient, [2, 2, 2, 2, 0, 0, -2, -2, -2, -2])
    assert none is None


def test_the_clip_may_be_a_tensor():
    surrogate = ops.clipped_surrogate(RATIO, ADVANTAGE, tf.constant(0.25))
    np.testing.assert_array_equal(
        surrogate, ops.clipped_surrogate(RATIO, ADVANTAGE, 0.25)
    )


def test_at_the_old_policy_all_surrogates_have_one_gradient():
    log_prob, advantage = f32(-1, -2, -0.5), f32(3, -1, 0)

    def clipped(log_prob):
        ratio = ops.importance_ratio(log_prob, f32(-1, -2, -0.5))
        return ops.clipped_surrogate(ratio, advantage, 0.2)

    (by_ratio,) = gradients(clipped, log_prob)
    (by_score, _) = gradients(ops.score_function, log_prob, advantage)
    np.testing.assert_array_equal(by_ratio, by_score)


# clipped_value_error


@pytest.mark.parametrize(
    ("value", "old", "target", "error"),
    [
        # Moved by 0.25 only: 1.25 - 4 = -2.75 either way.
        (1.25, 1, 4, 2.75**2),
        # Moved towards the target by 2, which counts as 0.5: 1.5 - 4.
        (3, 1, 4, 2.5**2),
        # Moved away by 2: its own error, -1 - 4, is the greater.
        (-1, 1, 4, 5**2),
        # Beyond the target by 1; the clipped value is 2.5 short of it.
        (5, 1, 4, 2.5**2),
        # The same downwards: 1 - 0.5 + 2 = 2.5.
        (-1, 1, -2, 2.5**2),
    ],
)
def test_clipped_value_error_by_hand(value, old, target, error):
    got = ops.clipped_value_error(f32(value), f32(old), f32(target), 0.5)
    np.testing.assert_array_equal(got, [error])


def test_a_value_that_moved_far_enough_gets_no_gradient():
    old, target = f32(1, 1, 1), f32(4, 4, 4)
    (gradient,) = gradients(
        lambda value: ops.clipped_value_error(value, old, target, 0.5),
        f32(1.25, 3, -1),
    )
    # 2 (1.25 - 4) inside; none where it moved enough; 2 (-1 - 4) back.
    np.testing.assert_array_equal(gradient, [-5.5, 0, -10])


# approximate_kl


def test_approximate_kl_by_hand():
    # Ratio 2: 2 - 1 - ln 2; ratio 1/2: 1/2 - 1 + ln 2; ratio 1: 0.
    ln2 = np.log(2)
    kl = ops.approximate_kl(f32(ln2, 0, -3), f32(0, ln2, -3))
    np.testing.assert_allclose(kl, [1 - ln2, ln2 - 0.5, 0], rtol=1e-6)


def test_approximate_kl_is_never_negative():
    difference = tf.linspace(-5.0, 5.0, 101)
    kl = ops.approximate_kl(difference, tf.zeros(101))
    assert np.min(kl) >= 0
    small = np.linspace(-1e-3, 1e-3, 1_001).astype("float32")
    kl = ops.approximate_kl(tf.constant(small), tf.zeros(1_001))
    assert np.min(kl) >= 0
    # A half of the square, to the leading order.
    np.testing.assert_allclose(np.mean(kl), np.mean(small**2) / 2, rtol=1e-2)


def test_approximate_kl_is_the_kl_in_the_mean():
    # Actions of the old policy; its KL from the new one.
    old, new = f32([0.3, -0.2, 0.9]), f32([0.7, 0.1, 0.2])
    family = ops.Categorical(3)
    exact = float(family.kl(old, new)[0])
    rng = np.random.default_rng(0)
    p = np.exp(old[0]) / np.exp(old[0]).sum()
    actions = tf.constant(rng.choice(3, 20_000, p=p / p.sum()))
    old, new = (tf.repeat(logits, 20_000, axis=0) for logits in (old, new))
    estimates = ops.approximate_kl(
        family.log_prob(new, actions), family.log_prob(old, actions)
    )
    error = np.std(estimates) / np.sqrt(20_000)
    assert abs(np.mean(estimates) - exact) < 4 * error
    # So sharp that an estimate in the other direction would not pass.
    backward = float(family.kl(new[:1], old[:1])[0])
    assert 4 * error < 0.1 * exact
    assert abs(backward - exact) > 4 * error


# Ranks


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (ops.live_mean, ("values", "weight")),
        (ops.normalize, ("values", "weight")),
        (ops.score_function, ("log_prob", "advantage")),
        (ops.importance_ratio, ("log_prob", "old_log_prob")),
        (ops.clipped_surrogate, ("ratio", "advantage")),
        (ops.clipped_value_error, ("value", "old_value", "target")),
        (ops.approximate_kl, ("log_prob", "old_log_prob")),
    ],
)
def test_ranks_are_checked(function, names):
    clip = {"clip": 0.2} if "clip" in function.__name__ else {}
    for wrong in names:
        arguments = {name: tf.zeros(3) for name in names}
        arguments[wrong] = tf.zeros((3, 1))
        with pytest.raises(ValueError, match=f"`{wrong}` must have 1 axes"):
            function(**arguments, **clip)
