"""Agents whose convolutions compute in half precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x import compose
from keras_rl2x.acting import Policy
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.agents.test_continuous import some
from tests.agents.test_dqn import Pictures

DTYPE = "mixed_bfloat16"


def dqn(envs, make=rl.networks.nature_cnn, dtype=DTYPE):
    network = make(envs.single_observation_space, 16, seed=0, dtype=dtype)
    space = envs.single_action_space
    return rl.agents.DQN(network, space, epsilon=0.2, seed=0)


def ppo(envs):
    observations, actions = (
        envs.single_observation_space,
        envs.single_action_space,
    )
    network = rl.networks.nature_cnn(observations, 16, seed=0, dtype=DTYPE)
    return rl.agents.PPO(network, actions, seed=0)


def live(envs):
    """A DQN that has lived in the pictures, and learnt."""
    agent = dqn(envs)
    agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=10)
    replay = rl.data.Replay(envs, 600, gamma=0.0)
    agent.fit(
        replay.dataset(16),
        steps_per_epoch=60,
        callbacks=[
            rl.callbacks.Collect(envs, replay, warmup=100),
            rl.callbacks.TargetUpdate(20),
        ],
        verbose=0,
    )
    return agent


def assert_tells_pictures_apart(agent):
    dark = np.random.default_rng(0).integers(0, 55, (8, 36, 36, 3), "uint8")
    np.testing.assert_array_equal(agent.act(dark, explore=False), 0)
    np.testing.assert_array_equal(agent.act(dark + 200, explore=False), 1)


def test_dqn_learns(tmp_path):
    with harness.make_envs(Pictures) as envs:
        agent = live(envs)
        again = live(envs)
    harness.assert_same(agent.get_state(), again.get_state())
    assert_tells_pictures_apart(agent)
    agent.save(tmp_path / "agent.keras")
    copy = rl.load(tmp_path / "agent.keras")
    obs = harness.random_obs(envs)
    np.testing.assert_array_equal(copy.q_network(obs), agent.q_network(obs))
    layer = copy.network.get_layer(index=2)
    assert layer.compute_dtype == "bfloat16"


def test_ppo_learns():
    agent = harness.live(
        ppo,
        Pictures,
        20,
        gamma=0.0,
        minibatch_size=32,
        passes=4,
        learning_rate=1e-3,
    )
    assert_tells_pictures_apart(agent)


@pytest.mark.parametrize(
    "make", [rl.networks.nature_cnn, rl.networks.impala_cnn]
)
def test_gradients_are_those_of_single_precision(make):
    envs = harness.make_envs(Pictures)
    obs = harness.random_obs(envs)
    found = []
    for dtype in (DTYPE, None):
        agent = dqn(envs, make, dtype)
        with tf.GradientTape() as tape:
            q = agent.q_network(obs, training=True)
            assert q.dtype == "float32"
            loss = tf.reduce_mean(tf.square(q - 1))
        gradients = tape.gradient(loss, agent.q_network.trainable_variables)
        assert all(gradient.dtype == "float32" for gradient in gradients)
        found.append(np.concatenate([np.ravel(g) for g in gradients]))
    half, single = found
    assert np.isfinite(half).all() and np.any(half)
    error = np.linalg.norm(half - single) / np.linalg.norm(single)
    assert error < 0.1


@pytest.mark.parametrize("num_envs", [1, 8])
def test_acting_agrees(num_envs):
    envs = harness.make_envs(Pictures)
    agent = dqn(envs)
    obs = harness.random_obs(envs, num_envs)
    policy = Policy(agent, num_envs)
    policy.snapshot()
    half, single = agent.q_network(obs), policy._network(obs)
    assert np.any(half != single)  # Acting computes with all digits.
    np.testing.assert_allclose(half, single, atol=0.02, rtol=0.02)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def global_policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield keras.config.dtype_policy()
    keras.config.set_dtype_policy(before)


ALGORITHMS = ("dqn", "rainbow", "iqn", "discrete_sac", "ppo", "trpo", "sac")
# Of the optimizers that scale the loss for float16, one for each way to step.
IN_FLOAT16 = ("dqn", "sac", "trpo")


def slow_if_alike(algorithm, policy):
    alike = policy == "mixed_float16" and algorithm not in IN_FLOAT16
    marks = [pytest.mark.slow] if alike else []
    return pytest.param(algorithm, policy, marks=marks)


@pytest.mark.parametrize(
    ("algorithm", "global_policy"),
    [
        slow_if_alike(algorithm, policy)
        for policy in ("mixed_bfloat16", "mixed_float16")
        for algorithm in ALGORITHMS
    ],
    indirect=["global_policy"],
)
def test_keras_global_policy_is_that_of_the_backbone(algorithm, global_policy):
    env = toy.Reach if algorithm == "sac" else toy.Identity
    settings = rl.presets.get(algorithm, None)
    settings.update(seed=0, algorithm=algorithm)
    settings["network"]["units"] = (16, 16)
    for name, value in (("normalize", True), ("normalize_rewards", True)):
        for part in ("network", "agent"):
            if name in settings[part]:
                settings[part][name] = value
    with rl.envs.make(env, num_envs=4, seed=0) as envs:
        agent = compose.compose(envs, settings).agent
        agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=4)
        kind = harness.make_rollout if agent.on_policy else harness.make_replay
        data = kind(envs)
        collect = rl.callbacks.Collect(envs, data)
        history = agent.fit(
            harness.dataset(data),
            steps_per_epoch=8,
            callbacks=[collect, *harness.target_updates(agent)],
            verbose=0,
        ).history
    assert all(np.isfinite(history[name]).all() for name in agent.metric_names)
    computed = {x.compute_dtype for x in agent.policy._flatten_layers()}
    assert computed == {"float32", global_policy.compute_dtype}
    outputs = agent.policy(harness.random_obs(envs))
    assert all(x.dtype == "float32" for x in keras.tree.flatten(outputs))
    assert keras.config.dtype_policy() == global_policy


def test_a_memory_keeps_all_digits(global_policy):
    with rl.envs.make(toy.Memory, 4, seed=0) as envs:
        network = rl.networks.lstm(envs.single_observation_space, (8,), 8)
        agent = rl.agents.PPO(network, envs.single_action_space, seed=0)
        agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=4)
        rollout = rl.data.Rollout(envs, steps=8, gamma=0.9)
        history = agent.fit(
            rollout.dataset(16, 2, sequences=True),
            steps_per_epoch=8,
            callbacks=[rl.callbacks.Collect(envs, rollout)],
            verbose=0,
        ).history
    assert np.isfinite(history["loss"]).all()


def test_acting_copies_operations(global_policy):
    envs = harness.make_envs("CartPole-v1")
    obs = keras.Input(envs.single_observation_space.shape)
    hidden = keras.ops.clip(keras.layers.Dense(8)(obs), -0.5, 0.5)
    network = keras.Model(obs, hidden)
    agent = rl.agents.DQN(network, envs.single_action_space, seed=0)
    policy = Policy(agent, 4)
    policy.snapshot()
    some = harness.random_obs(envs, 4)
    np.testing.assert_allclose(
        policy._network(some), agent.q_network(some), atol=0.02
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_acting_with_networks_in_networks(dtype):
    envs = harness.make_envs("CartPole-v1")
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, "tanh", dtype=dtype)]
    )
    obs = keras.Input((4,))
    network = keras.Model(obs, inner(keras.layers.Rescaling(0.1)(obs)))
    agent = rl.agents.DQN(network, envs.single_action_space, seed=0)
    policy = Policy(agent, 4)
    assert policy.where == "host"
    policy.snapshot()
    some = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    np.testing.assert_allclose(
        policy._network(some), agent.q_network(some), atol=0.02
    )


def test_every_optimizer_scales_its_loss():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with rl.envs.make(toy.Reach) as envs:
            space = envs.single_observation_space
            actions = envs.single_action_space
            network, *critics = (
                rl.networks.mlp(space, (8,), action_space=action_space)
                for action_space in (None, actions, actions)
            )
            agent = rl.agents.SAC(network, actions, critics)
        agent.compile("adam")
    finally:
        keras.config.set_dtype_policy("float32")
    kinds = {type(optimizer) for optimizer in agent.optimizers}
    assert kinds == {keras.optimizers.LossScaleOptimizer}
    assert len(agent.optimizers) == 3


def test_a_scaled_loss_makes_the_same_step():
    found = []
    for wrapped in (keras.optimizers.LossScaleOptimizer, lambda same: same):
        agent, batch = some(
            rl.agents.SAC,
            wrapped(keras.optimizers.SGD(1.0)),
            actor_optimizer=wrapped(keras.optimizers.SGD(1.0)),
            temperature_optimizer=wrapped(keras.optimizers.SGD(1.0)),
        )
        agent.train_step(batch)
        found.append(agent.get_weights())
    for scaled, plain in zip(*found):
        np.testing.assert_allclose(scaled, plain, atol=1e-5)
