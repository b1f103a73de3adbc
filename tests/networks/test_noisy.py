import keras
import numpy as np
import pytest
from gymnasium import spaces as gym

from keras_rl2x import networks
from keras_rl2x.acting import HostNetwork
from keras_rl2x.acting import export

OBS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def noisy_network(seed=0):
    return networks.mlp(gym.Box(-1, 1, (4,)), (8, 6), noisy=True, seed=seed)


def resample(network, seed=0):
    networks.resample_noise(network, keras.random.SeedGenerator(seed))


def drawn(size, draws):
    """The noise of a layer from and to `size` units, drawn again and again."""
    layer = networks.NoisyDense(size)
    layer.build((None, size))
    model = keras.Sequential([keras.Input((size,)), layer])
    noise = networks.noise_variables(model)
    seeds = keras.random.SeedGenerator(0)
    rows = []
    for _ in range(draws):
        networks.resample_noise(model, seeds)
        rows.append(np.stack([v.numpy() for v in noise]))
    return np.stack(rows)  # [draws, 2, size]


def by_hand():
    layer = networks.NoisyDense(2)
    layer.build((None, 2))
    layer.kernel.assign([[1, 2], [3, 4]])
    layer.bias.assign([5, 6])
    layer.kernel_sigma.assign([[0.5, 1], [2, 0.25]])
    layer.bias_sigma.assign([1, 0.5])
    return layer


def test_without_noise_it_is_dense():
    # [1 * 1 + 3 * 2 + 5, 2 * 1 + 4 * 2 + 6]
    np.testing.assert_allclose(by_hand()(np.array([[1.0, 2.0]])), [[12, 16]])


def test_noise_by_hand():
    layer = by_hand()
    layer.noise_in.assign([2, -1])
    layer.noise_out.assign([3, -2])
    # The outer product is [[6, -4], [-3, 2]]: weights [[4, -2], [-3, 4.5]],
    # and biases [5 + 3, 6 - 1].
    np.testing.assert_allclose(
        layer(np.array([[1.0, 2.0]])), [[4 - 6 + 8, -2 + 9 + 5]]
    )


def test_gradients_are_those_of_the_outer_product():
    layer = by_hand()
    layer.noise_in.assign([2, -1])
    layer.noise_out.assign([3, -2])
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mean_absolute_error")
    before = [variable.numpy() for variable in model.trainable_variables]
    # The loss falls by half of each output: 1/2 for every one of them.
    model.train_on_batch(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    steps = [
        old - variable.numpy()
        for old, variable in zip(before, model.trainable_variables)
    ]
    kernel, bias, kernel_sigma, bias_sigma = steps
    np.testing.assert_allclose(kernel, [[0.5, 0.5], [1, 1]])
    np.testing.assert_allclose(bias, [0.5, 0.5])
    np.testing.assert_allclose(kernel_sigma, [[3, -2], [-3, 2]])
    np.testing.assert_allclose(bias_sigma, [1.5, -1])


def test_initial_values():
    layer = networks.NoisyDense(300, seed=0)
    layer.build((None, 100))
    for mean in (layer.kernel.numpy(), layer.bias.numpy()):
        assert 0.09 < np.abs(mean).max() <= 0.1
        # The deviation of uniform numbers, and 4 times that of their mean.
        spread = 0.1 / np.sqrt(3)
        np.testing.assert_allclose(np.std(mean), spread, rtol=0.1)
        assert abs(np.mean(mean)) < 4 * spread / np.sqrt(np.size(mean))
    np.testing.assert_allclose(layer.kernel_sigma, 0.05)
    np.testing.assert_allclose(layer.bias_sigma, 0.05)
    assert not np.isin(layer.bias.numpy(), layer.kernel.numpy()).any()


def test_moments_of_the_noise():
    noise = drawn(size=50, draws=400)
    # f is symmetric, f^2 = |x|, f^4 = x^2.
    np.testing.assert_allclose(np.mean(noise), 0, atol=0.02)
    np.testing.assert_allclose(np.mean(noise**2), np.sqrt(2 / np.pi), rtol=0.02)
    np.testing.assert_allclose(np.mean(noise**4), 1, rtol=0.04)


def test_draws_are_independent():
    noise = drawn(size=50, draws=400)
    one, other = noise[:, 0], noise[:, 1]
    for left, right in (
        (one, other),  # In and out.
        (one[:, 1:], one[:, :-1]),  # Neighbours.
        (noise[1:], noise[:-1]),  # One time and the next.
    ):
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.03


def test_layers_have_noise_of_their_own():
    network = noisy_network()
    resample(network)
    noise = [v.numpy() for v in networks.noise_variables(network)]
    assert [len(array) for array in noise] == [4, 8, 8, 6]
    assert len(np.unique(np.concatenate(noise))) == 4 + 8 + 8 + 6


def test_same_seed_same_weights_and_noise():
    one, same, other = (noisy_network(seed) for seed in (0, 0, 1))
    for network in (one, same, other):
        resample(network)
    for left, right in zip(one.weights, same.weights):
        np.testing.assert_array_equal(left, right)
    assert np.any(one.weights[0] != other.weights[0])
    np.testing.assert_array_equal(one(OBS), same(OBS))
    resample(one, seed=1)
    assert np.abs(one(OBS) - same(OBS)).max() > 0.1


def test_noise_is_not_learnt():
    network = noisy_network()
    trained = {id(variable) for variable in network.trainable_variables}
    noise = networks.noise_variables(network)
    assert len(trained) == 8 and len(noise) == 4
    assert trained.isdisjoint(map(id, noise))


def test_without_noise():
    network = noisy_network()
    plain = np.array(network(OBS))
    resample(network)
    noisy = np.array(network(OBS))
    assert np.abs(noisy - plain).max() > 0.1
    np.testing.assert_array_equal(networks.without_noise(network)(OBS), plain)
    # The noise is still there.
    np.testing.assert_array_equal(network(OBS), noisy)


def test_a_network_without_noise_stays_as_it_is():
    network = networks.mlp(gym.Box(-1, 1, (4,)), (8,))
    seeds = keras.random.SeedGenerator(0)
    before = seeds.state.numpy()
    networks.resample_noise(network, seeds)
    np.testing.assert_array_equal(seeds.state.numpy(), before)
    assert networks.noise_variables(network) == []
    assert networks.without_noise(network) is network


def test_a_target_has_noise_of_its_own():
    network = noisy_network()
    target = networks.Target(network)
    resample(network, seed=0)
    resample(target, seed=1)
    noise = [v.numpy() for v in networks.noise_variables(target)]
    assert len(noise) == 4
    for tau in (1, 0.5):
        for variable in network.trainable_variables:
            variable.assign_add(variable * 0 + 1)
        networks.track(target, network, tau)
    for variable, before in zip(networks.noise_variables(target), noise):
        np.testing.assert_array_equal(variable, before)
    for variable, own in zip(networks.noise_variables(network), noise):
        assert np.all(variable.numpy() != own)
    np.testing.assert_allclose(
        target.copies[0], network.variables[0] - 0.5, atol=1e-6
    )


def test_saved_and_loaded_with_its_noise(tmp_path):
    network = noisy_network()
    resample(network)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(OBS), network(OBS))
    assert len(networks.noise_variables(loaded)) == 4
    resample(loaded, seed=1)
    resample(network, seed=1)
    np.testing.assert_array_equal(loaded(OBS), network(OBS))


@pytest.mark.parametrize("activation", [None, "relu"])
def test_activation(activation):
    layer = networks.NoisyDense(8, activation)
    outputs = np.array(layer(OBS))
    assert (outputs.min() < 0) == (activation is None)


def test_litert_computes_what_keras_does():
    network = noisy_network()
    host = HostNetwork(export.flatbuffer(network, len(OBS)))
    read = export.reader(export.weights(network))
    for seed in range(2):
        resample(network, seed)
        host.set_weights(read())
        np.testing.assert_allclose(host(OBS), network(OBS), atol=1e-6)


def test_mixed_precision():
    layer = networks.NoisyDense(8, dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((4,)), layer])
    resample(model)
    assert layer.noise_in.dtype == "float32"
    assert model(OBS).dtype.name == "bfloat16"
