import keras
import numpy as np
import pytest
from gymnasium import spaces as gym

from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x.spaces import MASKED
from tests.networks.test_value_heads import stream

SPACE = gym.Box(-1, 1, (4,))
OBS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
MEAN = networks.CategoricalMean(-1.0, 1.0, 7)


def test_categorical_mean():
    # 0.5 * -1 + 0.25 * 0 + 0.25 * 1 = -0.25.
    logits = np.log([[[0.5, 0.25, 0.25]]])
    mean = networks.CategoricalMean(-1.0, 1.0, 3)
    np.testing.assert_allclose(mean(logits), [[-0.25]], rtol=1e-6)
    support = ops.categorical_support(-1.0, 1.0, 7)
    logits = np.random.default_rng(0).normal(size=(2, 3, 7)).astype("float32")
    np.testing.assert_array_equal(
        MEAN(logits), ops.categorical_mean(logits, support)
    )


@pytest.mark.parametrize("head", ["q_values", "dueling"])
def test_survives_saving(tmp_path, head):
    path = tmp_path / "network.keras"
    for network in build(head=head):
        network.save(path)
        copy = keras.saving.load_model(path)
        np.testing.assert_array_equal(
            keras.tree.flatten(copy(OBS))[0],
            keras.tree.flatten(network(OBS))[0],
        )


def build(space=SPACE, num_actions=3, head="q_values", seed=0):
    backbone = networks.mlp(space, (8,), seed=0)
    return networks.action_distributions(
        backbone, num_actions, 7, MEAN, head, seed
    )


@pytest.mark.parametrize("head", ["q_values", "dueling"])
def test_values_are_the_means_of_the_distributions(head):
    values, both = build(head=head)
    q, numbers = both(OBS)
    assert numbers.shape == (5, 3, 7)
    np.testing.assert_array_equal(values(OBS), q)
    np.testing.assert_allclose(q, MEAN(numbers), rtol=1e-5, atol=1e-6)
    assert values.trainable_variables == both.trainable_variables


def test_dueling_advantages_are_centred_over_the_actions():
    _, both = build(head="dueling")
    _, numbers = both(OBS)
    features = both.get_layer("value_head_hidden").input
    backbone = keras.Model(both.input, features)
    value = stream(both, "value_head", backbone(OBS))
    np.testing.assert_allclose(
        np.mean(numbers, axis=1), value, rtol=1e-4, atol=1e-5
    )
    # The differences between actions are those of the advantages.
    advantage = stream(both, "distributions_head", backbone(OBS))
    advantage = advantage.reshape(5, 3, 7)
    np.testing.assert_allclose(
        numbers[:, 1] - numbers[:, 0],
        advantage[:, 1] - advantage[:, 0],
        rtol=1e-3,
        atol=1e-5,
    )


def test_noisy_heads():
    backbone = networks.mlp(SPACE, (8,), seed=0)
    values, both = networks.action_distributions(
        backbone, 3, 7, MEAN, "dueling", seed=0, noisy=True
    )
    noise = networks.noise_variables(both)
    assert networks.noise_variables(values) == noise
    # From 8 features to 8 hidden ones and on to 3 * 7 numbers, and to 7.
    assert sorted(len(v.numpy()) for v in noise) == [7, *[8] * 6, 21]


def test_seeds():
    (_, one), (_, same), (_, other) = (
        build(head="dueling", seed=seed) for seed in (1, 1, 2)
    )
    for left, right in zip(one.get_weights(), same.get_weights()):
        np.testing.assert_array_equal(left, right)
    assert np.abs(one.get_weights()[2] - other.get_weights()[2]).max() > 0.01


def test_only_the_values_are_masked():
    space = gym.Dict(at=SPACE, action_mask=gym.MultiBinary(3))
    _, both = build(space)
    mask = np.array([[1, 0, 1], [0, 0, 1]], "uint8")
    q, numbers = both({"at": OBS[:2], "action_mask": mask})
    means = MEAN(numbers)
    np.testing.assert_allclose(
        q, np.where(mask, means, MASKED), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("head", [None, "duelling"])
def test_an_unknown_head_is_refused(head):
    with pytest.raises(ValueError, match="'q_values', 'dueling'.*head="):
        build(head=head)


def test_a_wrong_output_is_refused_by_the_networks_name():
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)], name="mine"
    )
    with pytest.raises(ValueError, match="'mine_graph' must end in one vector"):
        networks.action_distributions(network, 3, 7, MEAN)
