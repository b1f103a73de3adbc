import keras
import numpy as np
import pytest
from gymnasium import spaces as gym

from keras_rl2x import networks
from keras_rl2x.spaces import MASKED
from tests.networks.test_heads import LEFT
from tests.networks.test_heads import MASK
from tests.networks.test_heads import MASKED_OBS
from tests.networks.test_heads import MASKED_SPACE
from tests.networks.test_heads import OBS
from tests.networks.test_heads import SPACE
from tests.networks.test_heads import backbone


def test_q_values_are_linear_in_the_features():
    features = backbone()
    network = networks.action_values(features, 3)
    kernel, bias = network.get_layer("q_values_head").get_weights()
    np.testing.assert_allclose(
        network(OBS), np.array(features(OBS)) @ kernel + bias, rtol=1e-5
    )


def test_dueling_advantages_are_centred():
    features = backbone()
    network = networks.action_values(features, 3, head="dueling", seed=0)
    value = stream(network, "value_head", features(OBS))
    q = np.array(network(OBS))
    assert q.shape == (5, 3)
    np.testing.assert_allclose(
        q.mean(axis=1, keepdims=True), value, rtol=1e-5, atol=1e-6
    )
    # The differences between actions are those of the advantages.
    advantage = stream(network, "q_values_head", features(OBS))
    np.testing.assert_allclose(
        q[:, 1] - q[:, 0],
        advantage[:, 1] - advantage[:, 0],
        rtol=1e-4,
        atol=1e-6,
    )


def stream(network, name, features):
    """What a stream of a dueling head makes of features."""
    kernel, bias = network.get_layer(f"{name}_hidden").get_weights()
    hidden = np.maximum(np.array(features) @ kernel + bias, 0)
    kernel, bias = network.get_layer(name).get_weights()
    return hidden @ kernel + bias


def test_a_dueling_head_is_more_than_a_linear_one():
    features = backbone()
    network = networks.action_values(features, 3, head="dueling", seed=0)
    obs = np.random.default_rng(0).normal(size=(200, *OBS.shape[1:]))
    known = np.array(features(obs))
    known = np.concatenate([known, np.ones((200, 1))], axis=1)
    q = np.array(network(obs))
    weights, *_ = np.linalg.lstsq(known, q, rcond=None)
    assert np.abs(known @ weights - q).max() > 0.01


def test_streams_are_no_wider_than_the_papers():
    wide = networks.mlp(SPACE, (600,))
    network = networks.action_values(wide, 3, "dueling")
    for name in ("value_head_hidden", "q_values_head_hidden"):
        assert network.get_layer(name).kernel.shape == (600, 512)


def test_without_a_head_the_network_serves_as_it_is():
    features = networks.mlp(SPACE, (8, 3))
    assert networks.action_values(features, 3, head=None) is features


def test_the_number_of_actions_may_be_gymnasiums():
    space = gym.Discrete(3)
    assert networks.action_values(backbone(), space.n).output.shape[1] == 3


@pytest.mark.parametrize("head", ["q_values", "dueling"])
def test_seeds(head):
    def weights(seed):
        network = networks.action_values(backbone(), 3, head, seed)
        return np.concatenate([w.ravel() for w in network.get_weights()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    assert not np.array_equal(weights(None), weights(None))


def test_value_and_advantages_begin_differently():
    network = networks.action_values(backbone(), 1, "dueling", seed=0)
    value, advantage = (
        network.get_layer(name).kernel.numpy()
        for name in ("value_head", "q_values_head")
    )
    assert abs(np.corrcoef(value.ravel(), advantage.ravel())[0, 1]) < 0.99


@pytest.mark.parametrize("head", ["q_values", "dueling", None])
def test_a_wrong_output_is_refused_by_the_networks_name(head):
    entry = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(entry)
    network = keras.Model(entry, x, name="my_pictures")
    with pytest.raises(ValueError, match="'my_pictures' must end in") as error:
        networks.action_values(network, 3, head)
    assert "Received: output shape (None, 6, 6, 4)" in str(error.value)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(entry, [x, x], name="my_twins")
    with pytest.raises(ValueError, match="'my_twins' must end in"):
        networks.action_values(network, 3, head)


def test_without_a_head_the_number_of_outputs_must_fit():
    network = networks.mlp(SPACE, (8,))
    with pytest.raises(ValueError, match="'mlp' must end in one value for"):
        networks.action_values(network, 3, head=None)


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="`head` must be one of"):
        networks.action_values(backbone(), 3, head="duel")


def test_centre_survives_saving(tmp_path):
    network = networks.action_values(backbone(), 3, "dueling")
    network.save(tmp_path / "q.keras")
    loaded = keras.saving.load_model(tmp_path / "q.keras")
    np.testing.assert_array_equal(loaded(OBS), network(OBS))


@pytest.mark.parametrize("head", ["q_values", "dueling", None])
def test_action_values_are_masked(head):
    features = networks.mlp(MASKED_SPACE, (8, 3), seed=0)
    network = networks.action_values(features, 3, head, seed=0)
    free = {**MASKED_OBS, "action_mask": np.ones_like(MASK, "uint8")}
    q, unmasked = np.array(network(MASKED_OBS)), np.array(network(free))
    assert np.all(unmasked > MASKED)
    np.testing.assert_array_equal(q, np.where(LEFT, unmasked, MASKED))


@pytest.mark.parametrize("head", ["q_values", "dueling"])
def test_noisy_heads(head):
    network = networks.action_values(backbone(), 3, head, seed=0, noisy=True)
    noise = networks.noise_variables(network)
    # From 8 features to 3 values; or to 8 hidden ones and on, and to 1 as well.
    sizes = [8, 3] if head == "q_values" else [8] * 6 + [3, 1]
    assert sorted(len(v.numpy()) for v in noise) == sorted(sizes)
    before = np.array(network(OBS))
    networks.resample_noise(network, keras.random.SeedGenerator(0))
    assert np.abs(network(OBS) - before).max() > 0.01
    same = networks.action_values(backbone(), 3, head, seed=0, noisy=True)
    np.testing.assert_array_equal(same(OBS), before)


def test_without_a_head_nothing_can_be_noisy():
    network = networks.mlp(SPACE, (3,))
    with pytest.raises(ValueError, match="'mlp' `rl.networks.NoisyDense`"):
        networks.action_values(network, 3, head=None, noisy=True)
