import itertools
import math

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from gymnasium import spaces as gym
from gymnasium.vector.utils import batch_space

from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.acting import samplers
from keras_rl2x.spaces import MASKED

LN2 = math.log(2)

# Every discrete kind of action, small enough to be listed whole.
DISCRETE = {
    "discrete": gym.Discrete(4, start=3),
    "one": gym.Discrete(1),
    "multi_discrete": gym.MultiDiscrete([2, 3, 4]),
    "multi_discrete_one": gym.MultiDiscrete([3]),
    "multi_discrete_2d": gym.MultiDiscrete([[2, 3], [1, 2]]),
    "multi_binary": gym.MultiBinary(3),
    "multi_binary_2d": gym.MultiBinary([2, 2]),
}
REAL = {
    "box": gym.Box(-1, 1, (2,)),
    "box_2d": gym.Box(-np.inf, np.inf, (3, 2)),
    "box_scalar": gym.Box(0, 5, ()),
}
ALL = {**DISCRETE, **REAL}


def f32(*values):
    return tf.constant(values, tf.float32)


def build(name):
    """The leaf, the family, and two batches `[3, P]` of its parameters."""
    leaf = spaces.action_spec(ALL[name])
    family = ops.distribution(leaf)
    rng = np.random.default_rng(0)
    shape = (2, 3, family.num_params)
    return leaf, family, *rng.normal(size=shape).astype("f4")


def every_action(leaf):
    """Array `[A, *shape]` of all actions of a discrete kind."""
    classes = leaf.num_classes or (2,) * math.prod(leaf.shape)
    listed = list(itertools.product(*map(range, classes)))
    return np.array(listed, leaf.dtype).reshape(-1, *leaf.shape)


def log_probs(leaf, family, params):
    """Array `[B, A]`: each row's logarithms over all actions."""
    actions = every_action(leaf)
    return np.array(
        [
            family.log_prob(tf.repeat(row[None], len(actions), 0), actions)
            for row in params
        ],
        "float64",
    )


def gradients(function, *inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(*inputs)
    return tape.gradient(output, inputs)


# Which family


@pytest.mark.parametrize(
    ("name", "kind", "num_params"),
    [
        ("discrete", ops.Categorical, 4),
        ("one", ops.Categorical, 1),
        ("multi_discrete", ops.MultiCategorical, 9),
        ("multi_discrete_2d", ops.MultiCategorical, 8),
        ("multi_binary", ops.Bernoulli, 3),
        ("multi_binary_2d", ops.Bernoulli, 4),
        ("box", ops.DiagonalGaussian, 4),
        ("box_2d", ops.DiagonalGaussian, 12),
        ("box_scalar", ops.DiagonalGaussian, 2),
    ],
)
def test_the_family_of_a_space(name, kind, num_params):
    family = ops.distribution(spaces.action_spec(ALL[name]))
    assert type(family) is kind
    assert family.num_params == num_params


# By hand


def test_categorical_by_hand():
    # p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2); logits may be shifted.
    family = ops.Categorical(3)
    p = f32([0, -LN2, -LN2], [7, 7 - LN2, 7 - LN2])
    q = f32([-2 * LN2, -2 * LN2, -LN2], [0, 0, LN2])
    actions = tf.constant([0, 2])
    np.testing.assert_allclose(
        family.log_prob(p, actions), [-LN2, -2 * LN2], rtol=1e-6
    )
    # 1/2 ln 2 + 2/4 ln 4 = 3/2 ln 2.
    np.testing.assert_allclose(family.entropy(p), [1.5 * LN2] * 2, rtol=1e-6)
    # 1/2 ln 2 + 0 - 1/4 ln 2.
    np.testing.assert_allclose(family.kl(p, q), [0.25 * LN2] * 2, rtol=1e-5)
    np.testing.assert_array_equal(family.mode(p), [0, 0])
    np.testing.assert_array_equal(family.mode(q), [2, 2])


def test_multi_categorical_by_hand():
    # A fair coin, and (1/2, 1/4, 1/4) from which q differs as above.
    family = ops.MultiCategorical((2, 3), (2,))
    p = f32([0, 0, 0, -LN2, -LN2])
    q = f32([0, 0, -LN2, -LN2, 0])
    log_prob = family.log_prob(p, tf.constant([[1, 2]]))
    np.testing.assert_allclose(log_prob, [-3 * LN2], rtol=1e-6)
    np.testing.assert_allclose(family.entropy(p), [2.5 * LN2], rtol=1e-6)
    np.testing.assert_allclose(family.kl(p, q), [0.25 * LN2], rtol=1e-5)
    np.testing.assert_array_equal(family.mode(q), [[0, 2]])


def test_bernoulli_by_hand():
    # Logit ln 3 is the probability 3/4, logit 0 is 1/2.
    family = ops.Bernoulli((2,))
    p, q = f32([math.log(3), 0]), f32([0, 0])
    log_prob = family.log_prob(p, tf.constant([[0, 1]], tf.uint8))
    # 1/4 * 1/2.
    np.testing.assert_allclose(log_prob, [-3 * LN2], rtol=1e-6)
    # 3/4 ln 4/3 + 1/4 ln 4 = 2 ln 2 - 3/4 ln 3, and ln 2 of the other.
    entropy = 3 * LN2 - 0.75 * math.log(3)
    np.testing.assert_allclose(family.entropy(p), [entropy], rtol=1e-6)
    # KL from a fair coin is what the entropy lacks of ln 2.
    np.testing.assert_allclose(family.kl(p, q), [2 * LN2 - entropy], rtol=1e-5)
    np.testing.assert_array_equal(family.mode(p), [[1, 0]])


def test_gaussian_by_hand():
    # N(1, 2^2) and N(0, 1); the action is one deviation off, and at the mean.
    family = ops.DiagonalGaussian((2,))
    p = f32([1, 0, LN2, 0])
    constant = 0.5 * math.log(2 * math.pi)
    log_prob = family.log_prob(p, f32([3, 0]))
    np.testing.assert_allclose(log_prob, [-0.5 - LN2 - 2 * constant], rtol=1e-6)
    # 1/2 ln(2 pi e sigma^2) of each.
    entropy = 1 + 2 * constant + LN2
    np.testing.assert_allclose(family.entropy(p), [entropy], rtol=1e-6)
    # From two N(0, 1): (4 + 1 - 1) / 2 - ln 2 and 0.
    kl = family.kl(p, f32([0, 0, 0, 0]))
    np.testing.assert_allclose(kl, [2 - LN2], rtol=1e-6)
    np.testing.assert_array_equal(family.mode(p), [[1, 0]])


def test_the_entries_of_a_2d_action_are_in_order():
    # Nearly certain of [[0, 2], [1, 0]], in the order of `num_classes`.
    leaf = spaces.action_spec(gym.MultiDiscrete([[2, 3], [2, 2]]))
    family = ops.distribution(leaf)
    logits = f32([30, 0, 0, 0, 30, 0, 30, 30, 0])
    wanted = [[[0, 2], [1, 0]]]
    np.testing.assert_array_equal(family.mode(logits), wanted)
    seed = keras.random.SeedGenerator(0)
    np.testing.assert_array_equal(family.sample(logits, seed), wanted)
    rng = np.random.default_rng(0)
    sampler = samplers.for_space(leaf)
    np.testing.assert_array_equal(sampler(np.array(logits), rng), wanted)
    log_prob = family.log_prob(logits, np.array(wanted))
    np.testing.assert_allclose(log_prob, [0], atol=1e-6)


# Against enumeration


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_sum_to_1(name):
    leaf, family, params, _ = build(name)
    total = np.exp(log_probs(leaf, family, params)).sum(axis=1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


@pytest.mark.parametrize("name", DISCRETE)
def test_entropy_and_kl_by_enumeration(name):
    leaf, family, params, other = build(name)
    log_p = log_probs(leaf, family, params)
    log_q = log_probs(leaf, family, other)
    p = np.exp(log_p)
    np.testing.assert_allclose(
        family.entropy(params), -(p * log_p).sum(1), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        family.kl(params, other),
        (p * (log_p - log_q)).sum(1),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", DISCRETE)
def test_the_mode_is_the_most_probable(name):
    leaf, family, params, _ = build(name)
    best = log_probs(leaf, family, params).argmax(axis=1)
    np.testing.assert_array_equal(family.mode(params), every_action(leaf)[best])


# The Gaussian against numerical integration


def grid():
    """Points of the plane, `[G, 2]`, and the area of each."""
    line = np.linspace(-12, 12, 301)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return points.astype("f4"), (line[1] - line[0]) ** 2


def test_the_gaussian_by_integration():
    family = ops.DiagonalGaussian((2,))
    params, other = f32([0.5, -1, 0.3, -0.5]), f32([0, 0.7, 0.6, 0.1])
    points, area = grid()

    def log_density(params):
        rows = tf.repeat(params, len(points), axis=0)
        return np.array(family.log_prob(rows, points), "float64")

    log_p, log_q = log_density(params), log_density(other)
    p = np.exp(log_p) * area
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(
        family.entropy(params), [-(p * log_p).sum()], rtol=1e-4
    )
    np.testing.assert_allclose(
        family.kl(params, other), [(p * (log_p - log_q)).sum()], rtol=1e-4
    )


@pytest.mark.parametrize("name", REAL)
def test_the_gaussian_as_scipy_has_it(name):
    leaf, family, params, _ = build(name)
    action = np.random.default_rng(1).normal(size=(3, *leaf.shape))
    mean, log_std = np.split(params.astype("float64"), 2, axis=1)
    normal = scipy.stats.norm(mean, np.exp(log_std))
    np.testing.assert_allclose(
        family.log_prob(params, action.astype("f4")),
        normal.logpdf(action.reshape(3, -1)).sum(axis=1),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        family.entropy(params), normal.entropy().sum(axis=1), rtol=1e-5
    )
    np.testing.assert_array_equal(
        family.mode(params), params[:, : mean.shape[1]].reshape(3, *leaf.shape)
    )


def test_the_gaussian_checks_ranks():
    with pytest.raises(ValueError, match="`params` must have 2 axes"):
        ops.DiagonalGaussian((2,)).entropy(tf.zeros(4))


# KL


@pytest.mark.parametrize("name", ALL)
def test_kl_is_0_for_itself_alone(name):
    _, family, params, other = build(name)
    np.testing.assert_allclose(family.kl(params, params), 0, atol=1e-6)
    kl = np.array(family.kl(params, other))
    assert np.all(kl > 0) or family.num_params == 1


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_of_kl_is_0_at_itself(name):
    # So TRPO's first order is the surrogate's alone.
    _, family, params, _ = build(name)
    fixed = tf.constant(params)
    (gradient,) = gradients(
        lambda params: family.kl(fixed, params), tf.constant(params)
    )
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


# Drawing: the graph and the host have one law

DRAWS = 20_000


def draw(where, leaf, family, row):
    """`DRAWS` actions from the parameters `[P]`."""
    params = np.repeat(row[None], DRAWS, axis=0)
    if where == "graph":
        seed = keras.random.SeedGenerator(0)
        return np.array(tf.function(family.sample)(params, seed))
    return samplers.for_space(leaf)(params, np.random.default_rng(0))


@pytest.mark.parametrize("where", ["graph", "host"])
@pytest.mark.parametrize("name", DISCRETE)
def test_frequencies_are_the_probabilities(name, where):
    leaf, family, params, _ = build(name)
    drawn = draw(where, leaf, family, params[0])
    assert drawn.shape == (DRAWS, *leaf.shape)
    # Whole actions are counted, so entries must be independent too.
    classes = leaf.num_classes or (2,) * math.prod(leaf.shape)
    codes = np.ravel_multi_index(drawn.reshape(DRAWS, -1).T, classes)
    counts = np.bincount(codes, minlength=math.prod(classes))
    p = np.exp(log_probs(leaf, family, params[:1])[0])
    if len(p) == 1:
        assert counts == [DRAWS]
    else:
        expected = DRAWS * p / p.sum()
        assert expected.min() > 5
        assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize("where", ["graph", "host"])
@pytest.mark.parametrize("name", REAL)
def test_normal_numbers_are_normal(name, where):
    leaf, family, params, _ = build(name)
    drawn = draw(where, leaf, family, params[0])
    assert drawn.shape == (DRAWS, *leaf.shape)
    assert drawn.dtype == "float32"
    entries = drawn.reshape(DRAWS, -1).T
    mean, log_std = np.split(params[0], 2)
    for entry, m, s in zip(entries, mean, np.exp(log_std)):
        assert scipy.stats.kstest((entry - m) / s, "norm").pvalue > 1e-3
    correlation = np.corrcoef(entries) - np.eye(len(entries))
    assert np.abs(correlation).max() < 5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("name", ALL)
def test_rows_are_drawn_independently(name):
    leaf, family, params, _ = build(name)
    seed = keras.random.SeedGenerator(0)
    first, second = (family.sample(params, seed) for _ in range(2))
    assert first.shape == second.shape == (3, *leaf.shape)
    same = np.repeat(params[:1], 200, axis=0)
    drawn = np.array(family.sample(same, seed)).reshape(200, -1)
    assert len(np.unique(drawn, axis=0)) > 1 or name == "one"


@pytest.mark.parametrize("method", ["mode", "sample"])
@pytest.mark.parametrize("name", ALL)
def test_actions_are_of_the_space(name, method):
    leaf, family, params, _ = build(name)
    seed = [keras.random.SeedGenerator(0)] if method == "sample" else []
    action = getattr(family, method)(params, *seed)
    assert keras.backend.standardize_dtype(action.dtype) == leaf.dtype
    given = np.array(spaces.to_env(leaf, action, keras.ops))
    assert batch_space(ALL[name], 3).contains(given)


# Gradients


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("name", DISCRETE)
def test_gradients_are_finite_for_any_logits(name, scale):
    leaf, family, params, other = build(name)
    actions = every_action(leaf)
    rows = tf.repeat(scale * params[:1], len(actions), axis=0)
    other = tf.repeat(scale * other[:1], len(actions), axis=0)
    for function in (
        lambda rows: family.log_prob(rows, actions),
        family.entropy,
        lambda rows: family.kl(rows, other),
        lambda rows: family.kl(other, rows),
    ):
        (gradient,) = gradients(function, rows)
        assert np.isfinite(function(rows)).all()
        assert np.isfinite(gradient).all()


def test_the_gradient_of_a_log_probability():
    # One-hot minus the probabilities.
    logits, family = f32([0.5, -1, 2]), ops.Categorical(3)
    (gradient,) = gradients(
        lambda logits: family.log_prob(logits, tf.constant([1])), logits
    )
    p = scipy.special.softmax(logits, axis=-1)
    np.testing.assert_allclose(gradient, [0, 1, 0] - p, rtol=1e-5)


def test_the_gradient_of_a_log_density():
    # (a - m) / s^2 by the mean, (a - m)^2 / s^2 - 1 by the log deviation:
    # here 2 / 4 and 4 / 4 - 1; and -1 / 1, 0.
    family = ops.DiagonalGaussian((2,))
    (gradient,) = gradients(
        lambda params: family.log_prob(params, f32([3, -1])),
        f32([1, 0, LN2, 0]),
    )
    np.testing.assert_allclose(gradient, [[0.5, -1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("log_std", [-8.0, 8.0])
def test_the_gradients_of_extreme_gaussians_are_finite(log_std):
    family = ops.DiagonalGaussian((1,))
    params, other = f32([1, log_std]), f32([-1, 0])
    for function in (
        lambda params: family.log_prob(params, f32([-1])),
        family.entropy,
        lambda params: family.kl(params, other),
        lambda params: family.kl(other, params),
    ):
        (gradient,) = gradients(function, params)
        assert np.isfinite(gradient).all()


# Masks

# A family, the one without category 1 (of the second of several entries), and
# that category's place among the logits.
MASKS = {
    "categorical": (ops.Categorical(4), ops.Categorical(3), 1),
    "multi_categorical": (
        ops.MultiCategorical((2, 4, 3), (3,)),
        ops.MultiCategorical((2, 3, 3), (3,)),
        3,
    ),
}


def masked(name):
    """Families with and without a category, and two batches of each."""
    family, smaller, place = MASKS[name]
    rng = np.random.default_rng(0)
    small = rng.normal(size=(2, 3, smaller.num_params)).astype("f4")
    large = np.insert(small, place, MASKED, axis=-1)
    kept = np.delete(np.arange(family.num_params), place)
    return family, smaller, large, small, kept, place


@pytest.mark.parametrize("name", MASKS)
def test_what_is_masked_has_probability_0(name):
    family, _, (large, _), *_ = masked(name)
    if name == "categorical":
        forbidden = np.array([1, 1, 1])
    else:
        forbidden = np.array([[0, 1, 2], [1, 1, 0], [1, 1, 1]])
    log_prob = np.array(family.log_prob(large, forbidden))
    assert np.isfinite(log_prob).all()
    np.testing.assert_array_equal(np.exp(log_prob), 0)


@pytest.mark.parametrize("name", MASKS)
def test_masked_entropy_and_kl_are_those_without_it(name):
    family, smaller, large, small, kept, place = masked(name)
    for method, of_large, of_small in [
        ("entropy", large[:1], small[:1]),
        ("kl", large, small),
    ]:
        arguments = [tf.constant(params) for params in of_large]
        fewer = [tf.constant(params) for params in of_small]
        np.testing.assert_allclose(
            getattr(family, method)(*arguments),
            getattr(smaller, method)(*fewer),
            rtol=1e-5,
            atol=1e-6,
        )
        for gradient, wanted in zip(
            gradients(getattr(family, method), *arguments),
            gradients(getattr(smaller, method), *fewer),
        ):
            gradient = np.array(gradient)
            np.testing.assert_allclose(
                gradient[:, kept], wanted, rtol=1e-4, atol=1e-6
            )
            np.testing.assert_array_equal(gradient[:, place], 0)


@pytest.mark.parametrize("name", MASKS)
def test_masked_log_probabilities_are_those_without_it(name):
    family, smaller, (large, _), (small, _), kept, place = masked(name)
    if name == "categorical":
        actions, fewer = np.array([0, 2, 3]), np.array([0, 1, 2])
    else:
        actions = np.array([[1, 0, 2], [0, 2, 1], [1, 3, 0]])
        fewer = np.array([[1, 0, 2], [0, 1, 1], [1, 2, 0]])
    large, small = tf.constant(large), tf.constant(small)
    np.testing.assert_allclose(
        family.log_prob(large, actions),
        smaller.log_prob(small, fewer),
        rtol=1e-5,
    )
    (gradient,) = gradients(lambda x: family.log_prob(x, actions), large)
    (wanted,) = gradients(lambda x: smaller.log_prob(x, fewer), small)
    gradient = np.array(gradient)
    np.testing.assert_allclose(gradient[:, kept], wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(gradient[:, place], 0)


def test_a_masked_bit_is_certainly_0():
    family, fewer = ops.Bernoulli((2,)), ops.Bernoulli((1,))
    large, small = f32([MASKED, 0.7]), f32([0.7])
    log_prob = family.log_prob(
        tf.repeat(large, 2, 0), np.array([[0, 1], [1, 1]])
    )
    p = 1 / (1 + math.exp(-0.7))
    np.testing.assert_allclose(np.exp(log_prob), [p, 0], rtol=1e-6)
    np.testing.assert_allclose(
        family.entropy(large), fewer.entropy(small), rtol=1e-6
    )
    np.testing.assert_allclose(family.kl(large, large), 0, atol=1e-6)
    for function in (family.entropy, lambda x: family.kl(x, large)):
        (gradient,) = gradients(function, large)
        assert np.isfinite(gradient).all()
        assert float(gradient[0, 0]) == 0


@pytest.mark.parametrize("where", ["graph", "host"])
def test_what_is_masked_is_never_drawn(where):
    logits = np.array([MASKED, -3.0, MASKED, 2.0], "f4")
    leaf = spaces.action_spec(gym.Discrete(4))
    drawn = draw(where, leaf, ops.Categorical(4), logits)
    assert set(drawn.tolist()) == {1, 3}


def test_all_masked_is_uniform_and_finite():
    # Never by `MaskActions`, but an entry of several may be.
    family, logits = ops.Categorical(3), tf.fill((1, 3), MASKED)
    np.testing.assert_allclose(family.entropy(logits), [math.log(3)], rtol=1e-6)
    (gradient,) = gradients(family.entropy, logits)
    assert np.isfinite(gradient).all()
