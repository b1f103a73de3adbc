import keras
import numpy as np
import pytest
from gymnasium import spaces as gym

from keras_rl2x import networks
from keras_rl2x.acting import GraphNetwork
from keras_rl2x.acting import HostNetwork
from keras_rl2x.acting import export
from keras_rl2x.spaces import MASKED

SPACE = gym.Box(-1, 1, (4,))
RNG = np.random.default_rng(0)
OBS = RNG.normal(size=(5, 4)).astype("float32")
FRACTIONS = RNG.uniform(size=(5, 7)).astype("float32")
BOTH = {"fractions": FRACTIONS, "observation": OBS}
HEADS = pytest.mark.parametrize("head", ["q_values", "dueling"])


def build(space=SPACE, samples=6, head="q_values", seed=0):
    backbone = networks.mlp(space, (8,), seed=0)
    return networks.implicit_distributions(
        backbone, 3, samples, cosines=10, head=head, seed=seed
    )


def test_cosine_embedding_by_hand():
    layer = networks.CosineEmbedding(2, cosines=3)
    layer.build((None, 2))
    kernel, bias = layer.weights
    kernel.assign([[1.0, 0], [2, 1], [4, 0]])
    bias.assign([0.5, 0])
    # At 1/2: cos 0 = 1, cos pi/2 = 0, cos pi = -1; at 1: 1, -1 and 1.
    # 1 - 4 + 0.5 < 0; 1 - 2 + 4 + 0.5 = 3.5, and -1 < 0.
    embedded = layer(np.array([[0.5, 1.0]], "float32"))
    np.testing.assert_allclose(embedded, [[[0, 0], [3.5, 0]]], atol=1e-6)
    assert layer.compute_output_shape((None, 2)) == (None, 2, 2)


def test_midpoints_are_the_same_for_any_input():
    for obs in (OBS, OBS[:2]):
        np.testing.assert_allclose(
            networks.Midpoints(2)(obs), [[0.25, 0.75]], rtol=1e-6
        )


@HEADS
def test_values_are_the_means_at_the_midpoints(head):
    values, both = build(head=head)
    q, quantiles = both(BOTH)
    assert quantiles.shape == (5, 3, 7)
    np.testing.assert_array_equal(values(OBS), q)
    midpoints = np.tile((np.arange(6, dtype="float32") + 0.5) / 6, (5, 1))
    _, fixed = both({"fractions": midpoints, "observation": OBS})
    np.testing.assert_allclose(q, np.mean(fixed, -1), rtol=1e-5, atol=1e-6)
    assert {id(v) for v in values.variables} == {id(v) for v in both.variables}


@HEADS
def test_each_quantile_is_that_of_its_own_fraction(head):
    _, both = build(head=head)
    _, quantiles = both(BOTH)
    order = RNG.permutation(7)
    _, permuted = both({**BOTH, "fractions": FRACTIONS[:, order]})
    np.testing.assert_allclose(
        permuted, quantiles.numpy()[:, :, order], rtol=1e-4, atol=1e-6
    )
    assert np.std(quantiles, axis=-1).min() > 0


def test_what_is_seen_and_the_fraction_are_multiplied():
    _, both = build()
    hidden = keras.Model(both.inputs, both.get_layer("hidden_0").output)
    _, quantiles = both(BOTH)
    embedded = both.get_layer("fraction_embedding")(FRACTIONS)
    products = hidden(BOTH)[:, None] * embedded  # [B, N, F]
    kernel, bias = both.get_layer("quantiles_head_hidden").get_weights()
    after = np.maximum(products.numpy() @ kernel + bias, 0)
    kernel, bias = both.get_layer("quantiles_head").get_weights()
    wanted = after @ kernel + bias
    np.testing.assert_allclose(
        quantiles, wanted.swapaxes(1, 2), rtol=1e-4, atol=1e-6
    )


def test_dueling_advantages_are_centred_over_the_actions():
    _, both = build(head="dueling")
    _, quantiles = both(BOTH)
    value = both.get_layer("value_head")
    value.kernel.assign(0 * value.kernel)
    _, centred = both(BOTH)
    np.testing.assert_allclose(np.mean(centred, axis=1), 0, atol=1e-6)
    # What the value adds is the same for each action.
    added = np.subtract(quantiles, centred)
    np.testing.assert_allclose(added, added[:, :1].repeat(3, 1), atol=1e-5)


def test_seeds():
    def weights(seed):
        return [w.numpy() for w in build(seed=seed, head="dueling")[0].weights]

    assert all(map(np.array_equal, weights(1), weights(1)))
    assert not all(map(np.array_equal, weights(1), weights(2)))


def test_only_the_values_are_masked():
    space = gym.Dict(action_mask=gym.MultiBinary(3), at=SPACE)
    values, both = build(space)
    mask = np.tile(np.array([[1, 0, 1]], "int8"), (5, 1))
    obs = {"action_mask": mask, "at": OBS}
    q, quantiles = both({"fractions": FRACTIONS, "observation": obs})
    np.testing.assert_array_equal(q[:, 1], MASKED)
    np.testing.assert_array_equal(values(obs), q)
    assert np.abs(quantiles).max() < 100


@HEADS
def test_survives_saving(head, tmp_path):
    path = tmp_path / "network.keras"
    for network, inputs in zip(build(head=head), (OBS, BOTH)):
        network.save(path)
        copy = keras.saving.load_model(path)
        for one, other in zip(
            keras.tree.flatten(copy(inputs)),
            keras.tree.flatten(network(inputs)),
        ):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("num_envs", [1, 5])
def test_the_host_and_the_graph_act_alike(num_envs):
    values, _ = build(head="dueling")
    obs = OBS[:num_envs]
    for acting in (
        HostNetwork(export.flatbuffer(values, num_envs)),
        GraphNetwork(values, num_envs),
    ):
        acting.set_weights([v.numpy() for v in export.weights(values)])
        np.testing.assert_allclose(acting(obs), values(obs), atol=1e-5)


def test_what_does_not_fit_is_refused():
    backbone = networks.mlp(SPACE, (8,))
    with pytest.raises(ValueError, match="Received: head='duelling'"):
        networks.implicit_distributions(backbone, 3, 4, head="duelling")
    entry = keras.Input((8, 8, 3))
    images = keras.Model(entry, keras.layers.Conv2D(4, 3)(entry), name="flat")
    with pytest.raises(ValueError, match="'flat' must end in one vector"):
        networks.implicit_distributions(images, 3, 4)
