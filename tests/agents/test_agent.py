"""The base class, by an agent with two optimizers and random updates."""

import collections
import os
import pathlib
import resource
import types

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x.acting import samplers
from keras_rl2x.agents import Agent
from keras_rl2x.data import state_files
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.agents import test_continuous
from tests.agents.test_dqn import Pictures


@keras.saving.register_keras_serializable("tests")
class Noisy(Agent):
    """Learns rewards; one optimizer for the network, one for a scale."""

    metric_names = ("loss", "scale")
    sampler = staticmethod(samplers.epsilon_greedy)
    no_exploration = {"epsilon": 0.0}

    def __init__(self, action_space, seed=None, **kwargs):
        super().__init__(action_space, seed, **kwargs)
        initializer = keras.initializers.GlorotUniform(seed=seed)
        entry = keras.Input((1,))
        hidden = keras.layers.Dense(8, "relu", kernel_initializer=initializer)
        last = keras.layers.Dense(4, kernel_initializer=initializer)
        self.network = keras.Model(entry, last(hidden(entry)))
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.another_optimizer = keras.optimizers.RMSprop(1e-3)
        self.another_optimizer.build([self.scale])
        self.built = True

    @property
    def policy(self):
        return self.network

    def call(self, obs):
        return keras.ops.argmax(self.network(obs), axis=-1)

    def exploration(self):
        return {"epsilon": 0.3}

    def train_step(self, batch):
        noise = keras.random.normal(
            batch["reward"].shape, 0.0, 0.01, seed=self.seed_generator
        )

        def loss_fn():
            value = rl.ops.take(self.network(batch["obs"]), batch["action"])
            error = self.scale * value - batch["reward"] - noise
            return keras.ops.mean(error**2), error

        loss, error = self.minimize(loss_fn, self.network.trainable_variables)
        self.minimize(
            lambda: (loss_fn()[0], None), [self.scale], self.another_optimizer
        )
        return self.finish(batch, loss=loss, scale=self.scale, error=error)


def noisy(envs):
    return Noisy(envs.single_action_space, seed=0)


def test_harness(tmp_path):
    harness.check_config(noisy, toy.Bandit)
    harness.check_actions(noisy, toy.Bandit)
    harness.check_loss_falls(noisy, toy.Bandit, harness.make_replay)
    harness.check_fit(noisy, toy.Bandit, harness.make_replay)
    trained = harness.save(noisy, tmp_path, toy.Bandit)
    harness.check_eager(noisy, toy.Bandit, harness.make_replay, trained)
    harness.resume(tmp_path)
    harness.check_resumed(tmp_path)


@pytest.fixture
def living():
    """The agent, compiled for three updates at once, and six batches."""
    envs = harness.make_envs(toy.Bandit)
    agent = harness.compiled(noisy, envs, steps_per_execution=3)
    return agent, harness.fixed_batches(envs, harness.make_replay(envs))


def test_every_optimizer_is_saved(living):
    agent, batches = living
    agent.fit(batches, verbose=0)
    names = [type(optimizer).__name__ for optimizer in agent.optimizers]
    assert names == ["Adam", "RMSprop"]
    before = agent.get_state()
    agent.fit(batches, verbose=0)
    after = agent.get_state()
    moved = [key for key in before if np.any(before[key] != after[key])]
    # The seed's state; 4 weights and a scale; Adam's and RMSprop's counters
    # and slots. What stays: `env_steps`, the two learning rates, and the slots
    # that Adam has for the scale, which it does not move.
    assert len(moved) == 1 + 5 + (1 + 8) + (1 + 1)
    assert len(before) == len(moved) + 1 + 2 + 2
    agent.set_state(before)
    harness.assert_same(agent.get_state(), before)


def test_state_of_another_agent(living):
    agent, _ = living
    state = agent.get_state()
    key = max(state, key=lambda name: state[name].size)
    state[key] = state[key][:1]
    with pytest.raises(ValueError, match="The saved agent differs.*shapes"):
        agent.set_state(state)
    del state[key]
    with pytest.raises(ValueError, match="The saved agent differs.*shapes"):
        agent.set_state(state)


def always(batch):
    return True


@pytest.mark.parametrize(
    ("change", "updates"),
    [
        (lambda batches: batches, 6),
        # Not a multiple of the three updates of an execution.
        (lambda batches: batches.take(5), 5),
        (lambda batches: batches.take(2), 2),
        # Of a number that is known only in the end.
        (lambda batches: batches.filter(always), 6),
        (lambda batches: batches.take(4).filter(always), 4),
    ],
)
def test_finite_data(living, change, updates):
    agent, batches = living
    agent.fit(change(batches), verbose=0)
    assert agent.optimizer.iterations.numpy() == updates


def test_fused_updates_are_those_of_keras(living):
    agent, batches = living
    agent.fit(batches, verbose=0)
    one = harness.compiled(noisy, harness.make_envs(toy.Bandit))
    one.fit(batches, verbose=0)
    harness.assert_same(agent.get_state(), one.get_state())


def test_metrics_are_means_over_the_epoch(living):
    agent, batches = living
    seen = tf.Variable(tf.zeros([6]))

    class Read(rl.callbacks.GraphCallback):
        def on_update(self, agent, batch, values):
            seen[agent.optimizer.iterations - 1].assign(values["loss"])

    logs = agent.fit(batches, callbacks=[Read()], verbose=0).history
    np.testing.assert_allclose(logs["loss"], [seen.numpy().mean()], rtol=1e-5)


def test_fit_cleans_up_after_a_failure(living):
    agent, batches = living
    exits = []

    class Exit(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("no more")

        def on_fit_exit(self):
            exits.append(self)

    class BadExit(Exit):
        def on_fit_exit(self):
            super().on_fit_exit()
            raise OSError("disk full")

    callbacks = [Exit(), BadExit(), Exit()]
    with pytest.raises(RuntimeError, match="no more"):
        agent.fit(batches, callbacks=callbacks[:1], verbose=0)
    assert exits == callbacks[:1]
    assert agent.fit_callbacks == ()
    with pytest.raises(OSError, match="disk full"):
        agent.fit(batches, callbacks=callbacks, verbose=0)
    assert exits == [callbacks[0], *callbacks]
    assert agent.fit_callbacks == ()


def test_what_no_agent_learns_with(living, monkeypatch):
    agent, batches = living
    agent.compile(keras.optimizers.Adam(gradient_accumulation_steps=4))
    with pytest.raises(ValueError, match="accumulate.*batches.*=4"):
        agent.fit(batches, verbose=0)
    agent.compile(keras.optimizers.Adam(-1e-3, name="backwards"))
    with pytest.raises(ValueError, match="0 or more.*-0.001.*'backwards'"):
        agent.fit(batches, verbose=0)
    agent.compile("adam", loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match=r"\['loss', 'metrics'\] out of"):
        agent.fit(batches, verbose=0)
    agent.compile("adam")
    for data in (
        np.zeros((4, 2)),
        1_000,
        None,
        batches.map(lambda b: b["obs"]),
    ):
        with pytest.raises(TypeError, match=r"`dataset\(...\)`.*Received"):
            agent.fit(data, verbose=0)
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(type(agent), "distribute_strategy", strategy)
    with pytest.raises(ValueError, match="one device.*2 replicas"):
        agent.fit(batches, verbose=0)


def test_weights_that_became_trainable_too_late(living):
    agent, _ = living
    variables = agent.network.trainable_variables
    with pytest.raises(ValueError, match="new agent of the same.*'dense.*ker"):
        agent.minimize(
            lambda: (keras.ops.sum(variables[0]), ()),
            variables,
            agent.another_optimizer,
        )


def test_one_observation_is_no_batch(living):
    agent, _ = living
    entry = agent.policy.input
    with pytest.raises(ValueError, match=r"`obs\[None\]`.*'N', .*Received"):
        agent.act(np.zeros(entry.shape[1:], "f4"))
    assert len(agent.act(np.zeros((3, *entry.shape[1:])).tolist())) == 3


def test_act_is_traced_once_for_all_sizes():
    calls = []

    def watched(x):
        calls.append(x.shape)
        return x

    entry = keras.Input((1,))
    features = keras.layers.Lambda(watched, output_shape=(1,))(entry)
    agent = rl.agents.DQN(
        keras.Model(entry, features), toy.Bandit().action_space, epsilon=1.0
    )
    calls.clear()
    for size in (1, 1, 2, 3, 4):
        agent.act(np.ones((size, 1), "f4"), explore=False)
    # For the first size, and then for any.
    assert len(calls) == 2


def test_act_follows_the_weights():
    network = rl.networks.mlp(toy.Bandit().observation_space, ())
    agent = rl.agents.DQN(network, toy.Bandit().action_space)
    head = agent.q_network.layers[-1]
    for best in (2, 0, 3):
        head.bias.assign(100.0 * np.eye(4)[best])
        actions = agent.act(np.ones((2, 1), "f4"), explore=False)
        assert actions.tolist() == [best] * 2


def test_acting_greedily_draws_nothing(living):
    agent, _ = living
    obs = np.zeros((2, *agent.policy.input.shape[1:]), "f4")
    before = np.array(agent.seed_generator.state)
    agent.act(obs, explore=False)
    np.testing.assert_array_equal(agent.seed_generator.state, before)
    agent.act(obs)
    assert (np.array(agent.seed_generator.state) != before).any()


def test_one_observation_of_several_entries_is_no_batch():
    space = Seen.observation_space
    network = rl.networks.mlp(space)
    agent = rl.agents.DQN(network, toy.Bandit().action_space, seed=0)
    one = space.sample()
    with pytest.raises(ValueError, match=r"`obs\[None\]`.*'N', 4, 4, 1"):
        agent.act(one)
    with pytest.raises(ValueError, match=r"\['picture', 'speed'\]. Received"):
        agent.act({"picture": one["picture"][None]})
    batch = {key: entry[None] for key, entry in one.items()}
    assert agent.act(
        collections.OrderedDict(reversed(batch.items()))
    ).shape == (1,)


@pytest.mark.parametrize("space", ["CartPole-v1", 2, None, toy.Bandit()])
def test_an_action_space_is_a_space(space):
    network = rl.networks.mlp(toy.Bandit().observation_space)
    with pytest.raises(TypeError, match="single_action_space.*Received"):
        rl.agents.DQN(network, space)


def test_one_optimizer_cannot_move_two_parts(living):
    agent, batches = living
    agent.compile(agent.another_optimizer)
    with pytest.raises(ValueError, match="its own.*twice.*rm_sprop"):
        agent.fit(batches, verbose=0)


def test_running_statistics_need_rollouts():
    envs = harness.make_envs(toy.Reach)
    network = rl.networks.mlp(envs.single_observation_space, normalize=True)
    critic = rl.networks.mlp(
        envs.single_observation_space, action_space=envs.single_action_space
    )
    agent = rl.agents.DDPG(network, envs.single_action_space, critic)
    agent.compile("adam")
    replay = harness.make_replay(envs)
    callbacks = [
        rl.callbacks.Collect(envs, replay, warmup=30),
        rl.callbacks.TargetUpdate(),
    ]
    with pytest.raises(ValueError, match="empty.*normalize=False"):
        agent.fit(replay.dataset(4), callbacks=callbacks, steps_per_epoch=1)
    # Those that were learnt elsewhere serve as they are.
    for layer in network.layers:
        if isinstance(layer, rl.networks.RunningNormalization):
            layer.update(np.ones((2, 2), "float32"))
    agent.fit(
        replay.dataset(4), callbacks=callbacks, steps_per_epoch=1, verbose=0
    )


def test_half_precision_is_loaded_whatever_the_policy_is(tmp_path):
    path = str(tmp_path / "agent.keras")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        envs = harness.make_envs(toy.Reach)
        agent = test_continuous.make(rl.agents.SAC)(envs)
        agent.compile("adam")
        batches = tf.data.Dataset.from_tensors(test_continuous.batch_of(envs))
        harness.train_on(agent, batches)
        agent.save(path)
    finally:
        keras.config.set_dtype_policy("float32")
    loaded = rl.load(path)
    kinds = [type(optimizer) for optimizer in loaded.optimizers]
    assert kinds == [keras.optimizers.LossScaleOptimizer] * 3
    harness.assert_same(loaded.get_state(), agent.get_state())


def test_state_of_half_precision_goes_through_a_file(tmp_path):
    def network(envs):
        space = envs.single_observation_space
        return rl.networks.nature_cnn(space, 4, dtype="bfloat16", seed=0)

    envs = harness.make_envs(Pictures)
    space = envs.single_action_space
    agent, other = (
        rl.agents.DQN(network(envs), space, seed=seed) for seed in range(2)
    )
    state_files.write(agent.get_state(), str(tmp_path / "state"))
    other.set_state(state_files.read(str(tmp_path / "state")))
    assert {v.dtype for v in other.network.weights} == {"bfloat16"}
    for one, two in zip(agent.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_what_an_agent_cannot_do(living):
    agent, batches = living
    batch = next(iter(batches))
    for method in (agent.evaluate, agent.test_on_batch, agent.train_on_batch):
        with pytest.raises(NotImplementedError, match="labels.*: call `"):
            method(batch)
    for name, value in (
        ("validation_data", batches),
        ("class_weight", {0: 1.0}),
        ("sample_weight", np.ones(3)),
        ("y", np.ones(3)),
    ):
        with pytest.raises(ValueError, match=rf"\['{name}'\].*`val_return`"):
            agent.fit(batches, verbose=0, **{name: value})
    with pytest.raises(ValueError, match=r"\['y'\]"):
        agent.fit(batches, np.ones(3), verbose=0)
    assert agent.optimizer.iterations.numpy() == 0
    agent.fit(batches, None, verbose=0)


@pytest.mark.parametrize("path", [str, pathlib.Path])
def test_a_save_that_fails_leaves_the_old_file(living, tmp_path, path):
    agent, _ = living
    file = path(tmp_path / "agent.keras")
    agent.save(file)
    assert os.listdir(tmp_path) == ["agent.keras"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OSError):
            agent.save(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["agent.keras"]
    rl.load(file)


def test_an_agent_is_not_saved_over_another_that_is_to_stay(
    living, tmp_path, monkeypatch
):
    agent, _ = living
    path = tmp_path / "agent.keras"
    agent.save(path, overwrite=False)
    before = path.read_bytes()
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    agent.save(path, overwrite=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["agent.h5", "agent.hdf5"])
def test_an_agent_is_saved_as_keras_alone(living, tmp_path, name):
    agent, _ = living
    with pytest.raises(ValueError, match=rf"ends in `.keras`.*{name}'"):
        agent.save(tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"gamma": 0.99}, "`gamma` of `rl.data.Replay` or `rl.data.Rollout`"),
        ({"learning_rate": 1e-3}, "the optimizer that `compile` is given"),
    ],
)
def test_arguments_of_other_libraries(given, place):
    envs = harness.make_envs(toy.Bandit)
    network = rl.networks.mlp(envs.single_observation_space)
    with pytest.raises(TypeError, match=f"here it is {place}"):
        rl.agents.DQN(network, envs.single_action_space, **given)


def regularized(**arguments):
    """An agent that descends what its layers add alone, by the half of it."""
    space = toy.Bandit().observation_space
    entry = keras.Input(space.shape)
    dense = keras.layers.Dense(4, **arguments)
    network = keras.Model(entry, dense(entry))
    agent = rl.agents.DQN(network, toy.Bandit().action_space, seed=0)
    agent.compile(keras.optimizers.SGD(0.5))
    return agent, dense


def test_regularizers_of_weights_are_in_the_loss():
    agent, dense = regularized(
        kernel_regularizer=keras.regularizers.L2(0.5),
        bias_regularizer=keras.regularizers.L1(0.25),
    )
    kernel = np.array(dense.kernel)
    dense.bias.assign([1.0, -1.0, 2.0, 3.0])
    loss, _ = agent.minimize(lambda: (3.0, None), dense.trainable_variables)
    # Of half the squares, the gradient is the kernel; of the absolute values,
    # the sign.
    np.testing.assert_allclose(dense.kernel, kernel * 0.5, rtol=1e-6)
    np.testing.assert_allclose(dense.bias, [0.875, -0.875, 1.875, 2.875])
    expected = 3 + 0.5 * np.sum(kernel**2) + 0.25 * 7
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16", "float64"])
def test_regularizers_of_weights_in_other_precisions(dtype):
    agent, dense = regularized(kernel_regularizer="l2", dtype=dtype)
    kernel = np.array(dense.kernel, "f4")
    loss, _ = agent.minimize(
        lambda: (keras.ops.convert_to_tensor(3.0), None), [dense.kernel]
    )
    np.testing.assert_allclose(loss, 3 + 0.01 * np.sum(kernel**2), rtol=1e-2)
    assert np.linalg.norm(np.array(dense.kernel, "f4")) < np.linalg.norm(kernel)


@pytest.mark.parametrize("method", ["activity_regularizer", "add_loss"])
def test_losses_that_layers_add_are_refused(method):
    class Adding(keras.layers.Layer):
        def call(self, x):
            if method == "add_loss":
                self.add_loss(keras.ops.sum(x))
            return x

    envs = harness.make_envs(toy.Bandit)
    entry = keras.Input(envs.single_observation_space.shape)
    regularizer = "l2" if method == "activity_regularizer" else None
    x = Adding(activity_regularizer=regularizer, name="adding")(entry)
    agent = rl.agents.DQN(
        keras.Model(entry, keras.layers.Dense(4)(x)), envs.single_action_space
    )
    agent.compile("adam")
    replay = harness.make_replay(envs)
    with pytest.raises(ValueError, match=r"layers add.*\['adding'\]"):
        agent.fit(
            replay.dataset(4),
            callbacks=[
                rl.callbacks.Collect(envs, replay),
                rl.callbacks.TargetUpdate(),
            ],
            steps_per_epoch=2,
            verbose=0,
        )


def test_an_update_that_does_not_finish(living):
    class Hasty(Noisy):
        def train_step(self, batch):
            loss, _ = self.minimize(
                lambda: (keras.ops.sum(self.scale**2), None), [self.scale]
            )
            return {"loss": loss}

    _, batches = living
    agent = Hasty(harness.make_envs(toy.Bandit).single_action_space, seed=0)
    agent.compile("adam")
    with pytest.raises(ValueError, match=r"Hasty.train_step. must end in"):
        agent.fit(batches, verbose=0)


def test_what_must_be_overridden():
    agent = Agent(harness.make_envs(toy.Bandit).single_action_space)
    for use in (
        lambda: agent.policy,
        lambda: agent.call(None),
        lambda: agent.train_step(None),
    ):
        with pytest.raises(NotImplementedError):
            use()
    assert agent.targets == () and agent.exploration() == {}


class Seen(toy.Identity):
    """Its observations are bytes, one of two entries."""

    observation_space = gymnasium.spaces.Dict(
        picture=gymnasium.spaces.Box(0, 255, (4, 4, 1), "uint8"),
        speed=gymnasium.spaces.Box(-1, 1, (2,)),
    )


@pytest.mark.parametrize("env", [Seen, toy.Memory])
def test_what_is_exported_takes_observations(env, tmp_path):
    def make(envs):
        network = (
            rl.networks.lstm(envs.single_observation_space)
            if env is toy.Memory
            else rl.networks.mlp(envs.single_observation_space, (8,))
        )
        return rl.agents.A2C(network, envs.single_action_space, seed=0)

    harness.check_export(make, tmp_path / "exported", env)
