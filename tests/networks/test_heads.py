import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym

from keras_rl2x import agents
from keras_rl2x import networks
from keras_rl2x import ops
from keras_rl2x import spaces
from keras_rl2x.networks import heads
from keras_rl2x.spaces import MASKED

SPACE = gym.Box(-1, 1, (4,))
OBS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def backbone():
    return networks.mlp(SPACE, (8,), seed=0)


def test_action_logits_are_linear_in_the_features():
    features = backbone()
    network = networks.action_logits(features, 3, seed=0)
    kernel, bias = network.get_layer("logits_head").get_weights()
    np.testing.assert_allclose(
        network(OBS), np.array(features(OBS)) @ kernel + bias, rtol=1e-5
    )


def test_action_logits_are_masked():
    space = gym.Dict(at=SPACE, action_mask=gym.MultiBinary(3))
    network = networks.action_logits(networks.mlp(space, (8,), seed=0), 3)
    mask = np.array([[1, 0, 1]] * 5, "int8")
    logits = network({"at": OBS, "action_mask": mask}).numpy()
    np.testing.assert_array_equal(logits > MASKED / 2, mask == 1)


# actor_critic

ACTIONS = {
    "discrete": gym.Discrete(3),
    "multi_discrete": gym.MultiDiscrete([2, 3]),
    "multi_binary": gym.MultiBinary(4),
    "box": gym.Box(-1, 1, (2, 2)),
    "box_scalar": gym.Box(-1, 1, ()),
}


def build(space=ACTIONS["discrete"], network=None, critic=None, **kwargs):
    """The family, and the three models."""
    leaf = spaces.action_spec(space)
    family = ops.distribution(leaf)
    network = backbone() if network is None else network
    models = networks.actor_critic(
        network, critic, leaf, family.num_params, **kwargs
    )
    return family, *models


def ids(variables):
    return {id(variable) for variable in variables}


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("name", ACTIONS)
def test_actor_critic_shapes(name, separate):
    critic = networks.mlp(SPACE, (6,), seed=1) if separate else None
    family, policy, value, both = build(ACTIONS[name], critic=critic)
    assert policy.output_shape == (None, family.num_params)
    assert value.output_shape == (None,)
    params, values = both(OBS)
    assert params.shape == (5, family.num_params)
    assert values.shape == (5,)
    # All three are one: of the same weights.
    np.testing.assert_allclose(policy(OBS), params, rtol=1e-6)
    np.testing.assert_allclose(value(OBS), values, rtol=1e-6)


def test_without_a_critic_the_features_are_shared():
    network = backbone()
    _, policy, value, both = build(network=network)
    shared = ids(policy.variables) & ids(value.variables)
    assert shared == ids(network.variables)
    features = np.array(network(OBS))
    for model, name in ((policy, "policy_head"), (value, "value_head")):
        kernel, bias = model.get_layer(name).get_weights()
        wanted = features @ kernel + bias
        np.testing.assert_allclose(
            np.reshape(model(OBS), wanted.shape), wanted, rtol=1e-5, atol=1e-6
        )
    # Backbone, policy and value: two weights each.
    assert len(both.trainable_variables) == 6


def test_a_critic_shares_nothing():
    network, critic = backbone(), networks.mlp(SPACE, (6,), seed=1)
    _, policy, value, both = build(network=network, critic=critic)
    assert ids(policy.variables).isdisjoint(ids(value.variables))
    assert ids(network.variables) < ids(policy.variables)
    assert ids(critic.variables) < ids(value.variables)
    assert ids(both.variables) == ids(policy.variables) | ids(value.variables)
    kernel, bias = value.get_layer("value_head").get_weights()
    wanted = np.array(critic(OBS)) @ kernel + bias
    np.testing.assert_allclose(value(OBS), wanted[:, 0], rtol=1e-5)


@pytest.mark.parametrize("name", ["discrete", "multi_discrete", "multi_binary"])
def test_a_policy_begins_nearly_uniform(name):
    family, policy, value, _ = build(ACTIONS[name], seed=0)
    params = policy(OBS)
    uniform = family.entropy(tf.zeros_like(params))
    np.testing.assert_allclose(family.entropy(params), uniform, atol=1e-3)
    # Yet not by weights of 0, and the value's are not small.
    assert np.all(np.abs(params) > 0)
    assert np.std(value(OBS)) > 0.01


def test_the_heads_are_orthogonal():
    _, policy, value, _ = build(seed=0)
    kernel = policy.get_layer("policy_head").kernel.numpy()
    np.testing.assert_allclose(
        kernel.T @ kernel, 1e-4 * np.eye(3), rtol=1e-4, atol=1e-9
    )
    kernel = value.get_layer("value_head").kernel.numpy()
    np.testing.assert_allclose(np.linalg.norm(kernel), 1, rtol=1e-5)


def test_real_actions_begin_near_0_with_the_deviation_asked_for():
    _, policy, _, _ = build(ACTIONS["box"], log_std=-0.5, seed=0)
    mean, log_std = np.split(np.array(policy(OBS)), 2, axis=1)
    assert np.abs(mean).max() < 0.05
    np.testing.assert_array_equal(log_std, np.full((5, 4), -0.5))
    _, policy, _, _ = build(ACTIONS["box"])
    np.testing.assert_array_equal(
        np.array(policy(OBS))[:, 4:], np.zeros((5, 4))
    )


def test_log_deviations_are_learnt():
    family, policy, _, _ = build(ACTIONS["box"], seed=0)
    with tf.GradientTape() as tape:
        entropy = tf.reduce_sum(family.entropy(policy(OBS)))
    weight = policy.get_layer("log_std_head").log_std
    assert ids([weight]) < ids(policy.trainable_variables)
    # Each adds itself to the entropy of each of the five observations.
    np.testing.assert_allclose(
        tape.gradient(entropy, weight.value), np.full((1, 4), 5.0)
    )
    # They do not depend on the observation.
    weight.assign([[0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(
        np.array(policy(OBS))[:, 4:], [[0.1, 0.2, 0.3, 0.4]] * 5, rtol=1e-6
    )


@pytest.mark.parametrize("name", ["discrete", "box"])
def test_actor_critic_seeds(name):
    def weights(seed):
        *_, both = build(ACTIONS[name], seed=seed)
        return np.concatenate([w.ravel() for w in both.get_weights()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    assert not np.array_equal(weights(None), weights(None))


@pytest.mark.parametrize("wrong", ["network", "critic"])
def test_actor_critic_refuses_wrong_outputs_by_name(wrong):
    entry = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(entry)
    good = keras.Model(entry, keras.layers.Flatten()(x), name="my_vectors")
    pictures = keras.Model(entry, x, name="my_pictures")
    arguments = {"network": good, "critic": good, wrong: pictures}
    with pytest.raises(ValueError, match="'my_pictures' must end in") as error:
        build(**arguments)
    assert "Received: output shape (None, 6, 6, 4)" in str(error.value)
    twins = keras.Model(entry, [good.output] * 2, name="my_twins")
    with pytest.raises(ValueError, match="'my_twins' must end in"):
        build(**{**arguments, wrong: twins})


def test_actor_critic_takes_any_model():
    network = keras.Sequential([keras.layers.Dense(7)])
    network.build((None, 4))
    _, policy, value, _ = build(network=network, critic=backbone())
    assert policy(OBS).shape == (5, 3)
    assert value(OBS).shape == (5,)


@pytest.mark.parametrize("name", ["discrete", "box"])
def test_actor_critic_survives_saving(tmp_path, name):
    *_, both = build(ACTIONS[name], log_std=-1.0, seed=0)
    both.save(tmp_path / "both.keras")
    loaded = keras.saving.load_model(tmp_path / "both.keras")
    for output, wanted in zip(loaded(OBS), both(OBS)):
        np.testing.assert_array_equal(output, wanted)


def test_the_initial_deviation_is_in_the_config():
    layer = heads.AppendLogStd(-1.5)
    assert heads.AppendLogStd.from_config(layer.get_config()).initial == -1.5


# real_actions


def test_log_deviations_are_bounded_and_means_are_not():
    network = networks.real_actions(backbone(), 3, outputs=2)
    for name in ("action_head", "log_std_head"):
        layer = network.get_layer(name)
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        layer.bias.assign([-30.0, 0.5, 30.0])
    np.testing.assert_array_equal(
        network(OBS), [[-30, 0.5, 30, -20, 0.5, 2]] * 5
    )


# Masks

MASKED_SPACE = gym.Dict(action_mask=gym.MultiBinary(3), at=SPACE)
MASK = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1]])
MASKED_OBS = {"action_mask": MASK.astype("uint8"), "at": OBS}
# Where nothing is allowed all stay.
LEFT = (MASK == 1) | (MASK.sum(axis=1, keepdims=True) == 0)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "bool"])
def test_mask_actions_by_hand(dtype):
    values = tf.constant([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    mask = tf.constant([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
    masked = heads.MaskActions()(values, tf.cast(mask, dtype))
    # Nothing is allowed in the second row: all its values stay.
    np.testing.assert_array_equal(
        masked, [[1, MASKED, 3], [4, 5, 6], [7, 8, 9]]
    )


def test_of_bits_none_need_be_set(tmp_path):
    space = gym.Dict(action_mask=gym.MultiBinary(3), at=SPACE)
    agent = agents.PPO(networks.mlp(space, (8,)), gym.MultiBinary(3), seed=0)
    actions = agent.act(MASKED_OBS)
    assert not actions[MASK == 0].any()
    agent.policy_network.save(tmp_path / "bits.keras")
    loaded = keras.saving.load_model(tmp_path / "bits.keras")
    np.testing.assert_array_equal(
        loaded(MASKED_OBS), agent.policy_network(MASKED_OBS)
    )


def test_a_mask_may_have_the_actions_shape():
    values = tf.constant([[1.0, 2, 3, 4]])
    masked = heads.MaskActions()(values, tf.constant([[[0, 1], [1, 0]]]))
    np.testing.assert_array_equal(masked, [[MASKED, 2, 3, MASKED]])


def test_masked_values_get_no_gradient():
    values = tf.constant([[1.0, 2, 3], [4, 5, 6]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        masked = heads.MaskActions()(values, tf.constant([[1, 0, 1], [0] * 3]))
    np.testing.assert_array_equal(
        tape.gradient(masked, values), [[1, 0, 1], [1, 1, 1]]
    )


@pytest.mark.parametrize("separate", [False, True])
def test_a_policy_is_masked_and_the_value_is_not(tmp_path, separate):
    network = networks.mlp(MASKED_SPACE, (8,), seed=0)
    critic = networks.mlp(MASKED_SPACE, (6,), seed=1) if separate else None
    _, policy, value, both = build(network=network, critic=critic, seed=0)
    free = {**MASKED_OBS, "action_mask": np.ones_like(MASK, "uint8")}
    params, values = both(MASKED_OBS)
    np.testing.assert_array_equal(
        params, np.where(LEFT, policy(free), np.float32(MASKED))
    )
    np.testing.assert_array_equal(values, value(free))
    p = np.array(keras.ops.softmax(params))
    assert np.all(p[~LEFT] == 0)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    policy.save(tmp_path / "policy.keras")
    loaded = keras.saving.load_model(tmp_path / "policy.keras")
    np.testing.assert_array_equal(loaded(MASKED_OBS), params)
