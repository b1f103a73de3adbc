import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym

from keras_rl2x import networks

FEATURES = np.random.default_rng(0).normal([3, -5], [2, 0.1], (100, 2))
FEATURES = FEATURES.astype("float32")
# Batches of these sizes, 100 rows in all.
ENDS = np.cumsum([1, 60, 7, 31])
BATCHES = np.split(FEATURES, ENDS)[: len(ENDS)] + [FEATURES[ENDS[-1] :]]


def learn(model, batches=BATCHES):
    with networks.update_statistics():
        for batch in batches:
            model(batch)


def statistics(layer):
    return [w.numpy() for w in (layer.count, layer.mean, layer.variance)]


def assert_learnt(layer, features=FEATURES):
    count, mean, variance = statistics(layer)
    assert count == len(features)
    features = features.astype("float64")
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, features.var(axis=0), rtol=1e-4)


def same(layer, other):
    pairs = zip(statistics(layer), statistics(other))
    return all(np.array_equal(a, b) for a, b in pairs)


# update_statistics


def test_it_begins_as_the_identity():
    layer = networks.RunningNormalization()
    np.testing.assert_allclose(layer(FEATURES), FEATURES, rtol=1e-6)


@pytest.mark.parametrize("training", [None, False, True])
def test_frozen_outside_update_statistics(training):
    layer = networks.RunningNormalization()
    learn(layer, BATCHES[:2])
    before = statistics(layer)
    for batch in BATCHES:
        layer(batch, training=training) if training else layer(batch)
    for now, wanted in zip(statistics(layer), before):
        np.testing.assert_array_equal(now, wanted)
    assert layer.trainable_variables == []
    assert len(layer.non_trainable_variables) == 3


def test_frozen_while_fitting():
    layer = networks.RunningNormalization()
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    learn(model)
    before = statistics(layer)
    model.compile("sgd", "mse")
    model.fit(FEATURES, FEATURES[:, 0], epochs=1, verbose=0)
    for now, wanted in zip(statistics(layer), before):
        np.testing.assert_array_equal(now, wanted)


def test_update_statistics_may_be_nested():
    layer = networks.RunningNormalization()
    with networks.update_statistics():
        with networks.update_statistics():
            layer(FEATURES[:10])
        # The inner one does not switch off the outer.
        layer(FEATURES[10:])
    assert_learnt(layer)


def test_an_error_freezes_again():
    layer = networks.RunningNormalization()
    with pytest.raises(RuntimeError), networks.update_statistics():
        layer(FEATURES)
        raise RuntimeError
    layer(FEATURES)
    assert layer.count == 100


# RunningNormalization


def test_one_batch_by_hand():
    layer = networks.RunningNormalization()
    # Means 3 and 10; deviations 2 and 0.
    batch = np.array([[1, 10], [5, 10]], "float32")
    learn(layer, [batch])
    np.testing.assert_allclose(layer.mean, [3, 10])
    np.testing.assert_allclose(layer.variance, [4, 0])
    np.testing.assert_allclose(layer(batch), [[-1, 0], [1, 0]], rtol=1e-6)


def test_statistics_are_those_of_all_batches():
    layer = networks.RunningNormalization()
    learn(layer)
    assert_learnt(layer)
    scaled = np.array(layer(FEATURES))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-4)


def test_the_order_of_batches_does_not_matter():
    layers = [networks.RunningNormalization() for _ in range(2)]
    learn(layers[0])
    learn(layers[1], reversed(BATCHES))
    for a, b in zip(*map(statistics, layers)):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_each_feature_has_its_own():
    features = np.random.default_rng(1).normal(7, 3, (50, 3, 2)).astype("f4")
    layer = networks.RunningNormalization()
    learn(layer, [features[:20], features[20:]])
    assert layer.mean.shape == (3, 2)
    assert_learnt(layer, features)


def test_far_from_0_the_variance_stays_right():
    # The textbook's mean of squares minus square of means would be rounded
    # away: 1e8 has no digits left for 1.
    features = np.random.default_rng(1).normal(1e4, 1, (400, 1)).astype("f4")
    layer = networks.RunningNormalization()
    learn(layer, np.split(features, 40))
    variance = features.astype("float64").var()
    np.testing.assert_allclose(layer.variance, [variance], rtol=1e-2)


def test_clip():
    features = np.array([[0], [2]], "float32")
    layer = networks.RunningNormalization(clip=3)
    learn(layer, [features])
    # Mean 1, deviation 1: 3 and -3 are 4 and -2.
    far = np.array([[3.5], [4], [5], [1e9], [-2], [-1e9]], "float32")
    np.testing.assert_allclose(
        layer(far), [[2.5], [3], [3], [3], [-3], [-3]], rtol=1e-6
    )
    layer = networks.RunningNormalization()
    learn(layer, [features])
    np.testing.assert_allclose(layer(far)[3:], [[10], [-3], [-10]], rtol=1e-6)


def test_a_constant_feature_stays_finite():
    layer = networks.RunningNormalization()
    learn(layer, [np.full((5, 1), 4, "float32")])
    scaled = layer(np.array([[4], [5], [-9]], "float32"))
    np.testing.assert_array_equal(scaled, [[0], [10], [-10]])


def test_config():
    layer = networks.RunningNormalization(clip=3.0, name="norm")
    loaded = networks.RunningNormalization.from_config(layer.get_config())
    assert (loaded.clip, loaded.name) == (3.0, "norm")


def model():
    """A functional model within another."""
    entry = keras.Input((2,))
    inner = keras.Model(
        entry, networks.RunningNormalization(clip=2.0, name="norm")(entry)
    )
    entry = keras.Input((2,))
    x = keras.layers.Dense(3)(inner(entry))
    return keras.Model(entry, x), inner.get_layer("norm")


def test_within_nested_models():
    outer, layer = model()
    learn(outer)
    assert_learnt(layer)
    outer(FEATURES)
    assert layer.count == 100


def test_statistics_survive_saving(tmp_path):
    outer, layer = model()
    learn(outer)
    outer.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(FEATURES), outer(FEATURES))
    inner = next(x for x in loaded.layers if isinstance(x, keras.Model))
    copy = inner.get_layer("norm")
    assert same(copy, layer)
    assert copy.clip == 2.0
    # It goes on from there.
    learn(loaded, [FEATURES])
    assert copy.count == 200


def test_weights_survive_saving(tmp_path):
    outer, layer = model()
    learn(outer)
    outer.save_weights(tmp_path / "model.weights.h5")
    other, copy = model()
    assert not same(copy, layer)
    other.load_weights(tmp_path / "model.weights.h5")
    assert same(copy, layer)


def test_in_a_graph():
    outer, layer = model()

    @tf.function
    def lived(features):
        with networks.update_statistics():
            outer(features)
        return outer(features)

    frozen = tf.function(outer)
    for batch in BATCHES:
        np.testing.assert_allclose(lived(batch), outer(batch), rtol=1e-5)
        frozen(batch)
    # A batch was counted once, though each call of `lived` sees it twice.
    assert_learnt(layer)


def test_the_graph_reads_the_statistics_as_they_are():
    outer, _ = model()
    frozen = tf.function(outer)
    before = np.array(frozen(FEATURES))
    learn(outer)
    assert not np.allclose(frozen(FEATURES), before)
    np.testing.assert_allclose(frozen(FEATURES), outer(FEATURES), rtol=1e-5)


def test_mlp_normalizes_the_whole_observation():
    space = gym.Dict(a=gym.Discrete(3), b=gym.Box(-9, 9, (2,)))
    network = networks.mlp(space, (4,), normalize=True)
    obs = {"a": np.arange(100) % 3, "b": FEATURES}
    learn(network, [obs])
    (layer,) = (
        x
        for x in network.layers
        if isinstance(x, networks.RunningNormalization)
    )
    assert_learnt(layer, np.concatenate([np.eye(3)[obs["a"]], FEATURES], 1))
    plain = networks.mlp(space, (4,))
    kinds = {type(x) for x in plain.layers}
    assert networks.RunningNormalization not in kinds


# RewardScale


def update(scale, sums):
    scale.update(tf.convert_to_tensor(sums), tf.ones_like(sums, "bool"))


def test_reward_scale_divides_by_the_deviation_of_the_sums():
    scale = networks.RewardScale()
    # The deviation is 2; the mean, 3, is not subtracted.
    update(scale, [1.0, 5, 1, 5])
    np.testing.assert_allclose(
        scale(tf.constant([0.0, 1, -3])), [0, 0.5, -1.5], rtol=1e-6
    )


def test_reward_scale_is_that_of_all_batches():
    scale = networks.RewardScale()
    sums = FEATURES[:, 0]
    for batch in np.split(sums, [10, 11, 70]):
        update(scale, batch)
    assert_learnt(scale, sums)
    np.testing.assert_allclose(scale(tf.ones(1)), [1 / sums.std()], rtol=1e-4)


def test_reward_scale_leaves_out_what_is_dead():
    scale = networks.RewardScale()
    sums = tf.constant([1.0, 0, 5, 0])
    scale.update(sums, tf.constant([True, False, True, False]))
    assert scale.count == 2
    np.testing.assert_allclose(scale(tf.ones(1)), [0.5], rtol=1e-6)
    scale.update(sums, tf.zeros(4, "bool"))  # None of a short rollout lives.
    assert scale.count == 2
    np.testing.assert_allclose(scale(tf.ones(1)), [0.5], rtol=1e-6)


def test_reward_scale_of_a_first_rollout_that_does_not_live():
    scale = networks.RewardScale()
    scale.update(tf.zeros(2), tf.zeros(2, "bool"))
    update(scale, [1.0, 5])
    np.testing.assert_allclose(scale(tf.ones(1)), [0.5], rtol=1e-6)


def test_reward_scale_learns_by_update_alone():
    scale = networks.RewardScale()
    learn(scale, [tf.constant([1.0, 5])])
    assert scale.count == 0
    np.testing.assert_allclose(scale(tf.ones(2)), [1, 1], rtol=1e-6)


def test_reward_scale_takes_a_rollout():
    scale = networks.RewardScale()
    update(scale, [1.0, 5])
    reward = np.arange(6, dtype="float32").reshape(2, 3)
    np.testing.assert_allclose(scale(reward), reward / 2, rtol=1e-6)


def test_reward_scale_clips():
    scale = networks.RewardScale(clip=1.5)
    update(scale, [1.0, 5])
    np.testing.assert_allclose(
        scale(tf.constant([2.0, 3, 4, -100])), [1, 1.5, 1.5, -1.5], rtol=1e-6
    )
    np.testing.assert_allclose(
        networks.RewardScale()(tf.constant([1e3, -1e3])), [10, -10]
    )


def test_reward_scale_in_a_graph():
    scale = networks.RewardScale()

    @tf.function
    def lived(sums, reward):
        update(scale, sums)
        return scale(reward)

    scaled = lived(tf.constant([1.0, 5]), tf.constant([4.0]))
    np.testing.assert_allclose(scaled, [2], rtol=1e-6)
    scaled = lived(tf.constant([1.0, 5]), tf.constant([4.0]))
    np.testing.assert_allclose(scaled, [2], rtol=1e-6)
    assert scale.count == 4
    assert len(scale.non_trainable_variables) == 3
    assert scale.trainable_variables == []
