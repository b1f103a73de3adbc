import gymnasium.spaces as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import networks
from keras_rl2x import spaces

SPACE = gym.Box(-1, 1, (3,))
STEPS, ENVS, MEMORY = 5, 4, 8


def lstm(**arguments):
    return networks.lstm(SPACE, (6,), 4, seed=0, **arguments)


def life():
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (STEPS, ENVS, 3)).astype("float32")
    memory = rng.uniform(-1, 1, (ENVS, MEMORY)).astype("float32")
    begins = rng.random((STEPS, ENVS)) < 0.4
    assert begins.any() and not begins.all()
    return obs, memory, begins


def test_size_and_input():
    network = lstm()
    assert networks.memory_size(network) == MEMORY
    assert networks.observation_input(network).shape == (None, 3)
    assert [o.shape for o in network.outputs] == [(None, 4), (None, MEMORY)]
    plain = networks.mlp(SPACE, (4,))
    assert networks.memory_size(plain) == 0
    assert networks.observation_input(plain) is plain.input


def test_episodes_begin_with_zeros():
    network = lstm()
    obs = np.zeros((2, 3), "float32")
    inputs = networks.with_memory(network, obs)
    np.testing.assert_array_equal(inputs["memory"], np.zeros((2, MEMORY)))
    np.testing.assert_array_equal(inputs["observation"], obs)
    plain = networks.mlp(SPACE, (4,))
    assert networks.with_memory(plain, obs) is obs


def test_unroll_is_step_after_step():
    network, (obs, memory, begins) = lstm(), life()
    (features,) = networks.unroll(network, obs, tf.constant(memory), begins)
    for t in range(STEPS):
        memory = np.where(begins[t][:, None], 0, memory)
        wanted, memory = network({"observation": obs[t], "memory": memory})
        np.testing.assert_allclose(features[t], wanted, atol=1e-6)


def test_no_gradient_crosses_a_beginning():
    network, (obs, memory, _) = lstm(), life()
    begins = np.zeros((STEPS, ENVS), bool)
    begins[3, 0] = True
    obs = tf.constant(obs)
    with tf.GradientTape() as tape:
        tape.watch(obs)
        (features,) = networks.unroll(network, obs, tf.constant(memory), begins)
        last = tf.reduce_sum(features[-1])
    gradient = np.abs(tape.gradient(last, obs)).sum(-1)
    np.testing.assert_array_equal(gradient[:3, 0], 0)
    assert (gradient[:3, 1:] > 0).all()
    assert (gradient[3:] > 0).all()


def test_same_seed_same_weights():
    for left, right in zip(lstm().get_weights(), lstm().get_weights()):
        np.testing.assert_array_equal(left, right)


def test_the_value_must_share_the_memory():
    leaf = spaces.action_spec(gym.Discrete(2))
    critic = networks.mlp(SPACE, (4,))
    with pytest.raises(ValueError, match="'lstm' has a memory"):
        networks.actor_critic(lstm(), critic, leaf, 2)
    policy, value, both = networks.actor_critic(lstm(), None, leaf, 2)
    assert [o.shape for o in policy.outputs] == [(None, 2), (None, MEMORY)]
    assert value.output.shape == (None,)
    assert len(both.outputs) == 3


def test_normalized_and_nested():
    space = gym.Dict(a=SPACE, action_mask=gym.MultiBinary(2))
    network = networks.lstm(space, (6,), 4, normalize=True)
    leaf = spaces.action_spec(gym.Discrete(2))
    policy, _, _ = networks.actor_critic(network, None, leaf, 2)
    obs = {
        "a": np.zeros((2, 3), "float32"),
        "action_mask": np.array([[0, 1], [1, 1]], "uint8"),
    }
    params, _ = policy(networks.with_memory(policy, obs))
    assert params[0, 0] == np.float32(spaces.MASKED)
    assert np.abs(params[1]).max() < 1
    statistics = [
        layer
        for layer in network.layers
        if isinstance(layer, networks.RunningNormalization)
    ]
    assert len(statistics) == 1
    assert isinstance(network, keras.Model)
