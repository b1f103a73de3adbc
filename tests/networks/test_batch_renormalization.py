import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym

from keras_rl2x import networks

# Means 3 and 10; variances 4 and 0.
BATCH = np.array([[1, 10], [5, 10]], "float32")


def make(**arguments):
    """A layer without epsilon, so that numbers can be worked out by hand."""
    arguments = {"epsilon": 0.0, "momentum": 0.5, **arguments}
    layer = networks.BatchRenormalization(**arguments)
    layer.build((None, 1))
    return layer


def column(*values):
    return np.array(values, "float32")[:, None]


def test_it_begins_as_the_identity():
    layer = networks.BatchRenormalization(epsilon=0.0)
    np.testing.assert_allclose(layer(BATCH), BATCH)


def test_warming_up_it_normalizes_by_the_batch():
    layer = networks.BatchRenormalization(epsilon=1e-9)
    scaled = layer(BATCH, training=True)
    np.testing.assert_allclose(scaled, [[-1, 0], [1, 0]], rtol=1e-6)
    # A hundredth of the way from mean 0 and variance 1.
    np.testing.assert_allclose(layer.mean, [0.03, 0.1], rtol=1e-5)
    np.testing.assert_allclose(layer.variance, [1.03, 0.99], rtol=1e-5)


def test_running_statistics_by_hand():
    layer = make()
    layer(column(1, 5), training=True)
    np.testing.assert_allclose(layer.mean, [1.5])  # Half way from 0 to 3,
    np.testing.assert_allclose(layer.variance, [2.5])  # and from 1 to 4.
    layer(column(1, 5), training=True)
    np.testing.assert_allclose(layer.mean, [2.25])
    np.testing.assert_allclose(layer.variance, [3.25])


def test_correction_by_hand():
    layer = make(warmup=0)
    layer.mean.assign([1.0])
    layer.variance.assign([16.0])
    # The batch: mean 3, deviation 2. r = 2/4 and d = (3 - 1)/4.
    np.testing.assert_allclose(
        layer(column(1, 5), training=True), [[-1 * 0.5 + 0.5], [1]]
    )


def test_where_nothing_is_clipped_training_gives_what_inference_does():
    layer = networks.BatchRenormalization(warmup=0)
    layer.build((None, 3))
    layer.mean.assign([1, 2, 3])
    layer.variance.assign([1, 2, 4])
    batch = np.random.default_rng(0).normal(2, 1, (50, 3)).astype("f4")
    frozen = layer(batch)
    np.testing.assert_allclose(layer(batch, training=True), frozen, atol=1e-5)


def test_r_and_d_are_clipped():
    # The batch: mean 3, deviation 2. The running mean 0 and deviation 1/4
    # would give r = 8 and d = 12, the other way round 1/8.
    layer = make(warmup=0, r_max=2.0, d_max=5.0)
    layer.variance.assign([1 / 16])
    np.testing.assert_allclose(
        layer(column(1, 5), training=True), [[-1 * 2 + 5], [1 * 2 + 5]]
    )
    layer = make(warmup=0, r_max=2.0, d_max=0.5)
    layer.mean.assign([67.0])
    layer.variance.assign([256.0])  # d = -64/16
    np.testing.assert_allclose(
        layer(column(1, 5), training=True), [[-0.5 - 0.5], [0.5 - 0.5]]
    )


def test_warmup_counts_batches():
    layer = make(warmup=2, momentum=1.0)  # The statistics stay.
    batch = column(1, 5)
    for _ in range(2):
        np.testing.assert_allclose(layer(batch, training=True), [[-1], [1]])
    # r = 2 and d = 3, of mean 0 and deviation 1.
    np.testing.assert_allclose(layer(batch, training=True), [[1], [5]])
    assert layer.batches == 3


def test_no_gradient_goes_through_the_correction():
    # A sum of normalized numbers is 0 whatever they are, as is its gradient;
    # through d it would not be.
    layer = make(warmup=0)
    features = tf.constant(column(1, 2, 6))
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(layer(features, training=True))
    np.testing.assert_allclose(tape.gradient(total, features), 0, atol=1e-6)


@pytest.mark.parametrize("training", [None, False])
def test_frozen_in_inference(training):
    layer = make()
    layer(column(1, 5), training=True)
    before = [w.numpy() for w in layer.weights]
    # Mean 1.5 and variance 2.5 by now.
    scaled = layer(column(1.5, 3), training=training)
    np.testing.assert_allclose(scaled, [[0], [1.5 / 2.5**0.5]], rtol=1e-6)
    for weight, value in zip(layer.weights, before):
        np.testing.assert_array_equal(weight, value)


def test_scale_and_offset_are_learned():
    layer = make()
    assert [w.name for w in layer.trainable_weights] == ["scale", "offset"]
    assert len(layer.non_trainable_weights) == 3
    layer.scale.assign([3.0])
    layer.offset.assign([-1.0])
    for training in (False, True):
        np.testing.assert_allclose(
            make_same(layer)(column(-1, 1), training=training), [[-4], [2]]
        )


def make_same(layer):
    copy = make()
    copy.set_weights(layer.get_weights())
    return copy


def test_each_feature_of_an_image_has_one():
    images = np.random.default_rng(0).normal(5, 3, (4, 6, 6, 2)).astype("f4")
    layer = networks.BatchRenormalization(epsilon=1e-9)
    scaled = np.array(layer(images, training=True))
    assert layer.mean.shape == (2,)
    np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=(0, 1, 2)), 1, rtol=1e-4)


def test_config():
    given = {
        "momentum": 0.9,
        "epsilon": 0.1,
        "r_max": 2.0,
        "d_max": 3.0,
        "warmup": 7,
        "name": "norm",
    }
    layer = networks.BatchRenormalization(**given)
    config = networks.BatchRenormalization.from_config(
        layer.get_config()
    ).get_config()
    assert {key: config[key] for key in given} == given


def test_in_mixed_precision_the_statistics_stay_exact():
    layer = networks.BatchRenormalization(dtype="mixed_bfloat16")
    scaled = layer(tf.constant(BATCH), training=True)
    assert scaled.dtype == "bfloat16"
    assert layer.mean.dtype == "float32"
    np.testing.assert_allclose(layer.mean, [0.03, 0.1], rtol=1e-5)


def test_survives_saving(tmp_path):
    model = keras.Sequential(
        [keras.Input((2,)), networks.BatchRenormalization(warmup=1)]
    )
    for _ in range(3):
        model(BATCH, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].batches == 3
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    np.testing.assert_array_equal(
        loaded(BATCH, training=True), model(BATCH, training=True)
    )


def test_mlp_has_one_before_and_behind_each_hidden_layer():
    space = gym.Box(-1, 1, (2,))
    network = networks.mlp(
        space, (4, 3), normalization=networks.BatchRenormalization
    )
    kinds = [type(x) for x in network.layers]
    norm, dense = networks.BatchRenormalization, keras.layers.Dense
    assert kinds[-5:] == [norm, dense, norm, dense, norm]
