"""What every agent must do: the tests that all of their test files share.

A new agent's test file calls `check_agent(make_agent, ...)`, and adds what is
its own: its equation, its heads, its messages.

`make_agent(envs)` builds the agent for vector environments, from fixed seeds:
two calls give the same weights. `env` is as in `rl.envs.make`, and
`make_data(envs)` makes what the agent learns from, a replay or a rollout.
"""

import concurrent.futures
import json
import multiprocessing
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

import keras_rl2x as rl
from keras_rl2x import spaces
from keras_rl2x.acting import Driver
from keras_rl2x.acting import Policy
from keras_rl2x.envs import toy

BATCH_SIZE = 16
NUM_BATCHES = 6


def make_replay(envs):
    return rl.data.Replay(envs, capacity=300, gamma=0.9)


def make_rollout(envs):
    return rl.data.Rollout(envs, steps=16, gamma=0.9)


def is_rollout(data):
    return isinstance(data, rl.data.Rollout)


def dataset(data):
    """Batches of a replay; of a rollout, four for each filling."""
    if is_rollout(data):
        return data.dataset(minibatch_size=data.size // 2, passes=2)
    return data.dataset(BATCH_SIZE)


def check_agent(
    make_agent,
    folder,
    env=toy.Identity,
    make_data=make_replay,
    falling="loss",
):
    """Runs the whole harness; `folder` is an empty one to write in."""
    check_config(make_agent, env)
    check_actions(make_agent, env)
    check_export(make_agent, os.path.join(folder, "exported"), env)
    check_loss_falls(make_agent, env, make_data, falling)
    check_fit(make_agent, env, make_data)
    trained = save(make_agent, folder, env, make_data)
    check_eager(make_agent, env, make_data, trained)
    resume_in_fresh_process(folder)
    check_resumed(folder)


def make_envs(env):
    return rl.envs.make(env, num_envs=3, seed=0)


def compiled(make_agent, envs, **kwargs):
    agent = make_agent(envs)
    agent.compile(keras.optimizers.Adam(1e-2), **kwargs)
    return agent


def target_updates(agent, every=2):
    return [rl.callbacks.TargetUpdate(every)] if agent.targets else []


def random_obs(envs, size=32):
    """A batch of observations, as networks take them."""
    space = envs.single_observation_space
    space.seed(0)
    spec = spaces.spec(space)
    return keras.tree.map_structure_up_to(
        spec,
        lambda leaf, *values: np.stack(values).astype(leaf.dtype),
        spec,
        *(space.sample() for _ in range(size)),
    )


def fixed_batches(envs, data, num_batches=NUM_BATCHES, agent=None):
    """A finite dataset: the same batches each time, drawn from random play.

    A rollout must be prepared by an agent, whose running statistics change.
    """
    driver = Driver(envs)
    data.begin(driver.reset(seed=0))
    envs.action_space.seed(0)

    def act(obs, begins):
        actions = envs.action_space.sample()
        return spaces.to_agent(driver._action_spec, actions)

    chunk = driver.run(data.steps if is_rollout(data) else 50, act)
    data.write(chunk.rows, chunk.next_obs)
    if is_rollout(data):
        data.prepare(agent)
    batches = list(dataset(data).take(num_batches))
    return tf.data.Dataset.from_tensor_slices(
        keras.tree.map_structure(lambda *x: tf.stack(x), *batches)
    )


def train_on(agent, batches):
    """One update for each of the fixed batches."""
    return agent.fit(batches, callbacks=target_updates(agent), verbose=0)


def assert_same(left, right, tolerance=0.0):
    """Asserts that two results of `get_state` are the same, bit for bit."""
    assert left.keys() == right.keys()
    for key, value in left.items():
        if tolerance:
            np.testing.assert_allclose(value, right[key], atol=tolerance)
        else:
            np.testing.assert_array_equal(value, right[key])


def check_config(make_agent, env):
    """`get_config` and `from_config` are each other's inverse."""
    envs = make_envs(env)
    agent = make_agent(envs)
    config = json.loads(json.dumps(agent.get_config()))
    copy = type(agent).from_config(config)
    assert json.loads(json.dumps(copy.get_config())) == config
    copy.set_weights(agent.get_weights())
    obs = random_obs(envs)
    _assert_same_actions(agent.predict(obs, verbose=0), copy(obs))


def _assert_same_actions(left, right):
    """Categories are the same; real numbers, to the last bits of a float."""
    real = np.asarray(right).dtype.kind == "f"
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-6 if real else 0)


def check_actions(make_agent, env):
    """Every way to act gives the same greedy actions of the environment."""
    envs = make_envs(env)
    agent = make_agent(envs)
    obs = random_obs(envs)
    actions = np.array(agent(obs))
    space = envs.single_action_space
    assert actions.shape == (32, *space.shape)
    assert all(space.contains(action) for action in actions)
    _assert_same_actions(agent.predict(obs, verbose=0), actions)
    _assert_same_actions(agent.act(obs, explore=False), actions)
    for where in ("host", "graph"):
        policy = Policy(agent, 32, where)
        policy.snapshot()
        acted = spaces.to_env(agent.action_spec, policy.greedy(obs))
        _assert_same_actions(acted, actions)
        assert policy.where == where


def check_export(make_agent, folder, env=toy.Identity):
    """What is exported serves greedy actions; it need not have acted before."""
    envs = make_envs(env)
    agent = make_agent(envs)
    obs = random_obs(envs)
    if agent.memory_size:
        with pytest.raises(ValueError, match="export `agent.policy`"):
            agent.export(folder, verbose=False)
        agent.policy.export(folder, verbose=False)
        inputs = rl.networks.with_memory(agent.policy, obs)
        loaded = tf.saved_model.load(folder)
        outputs = loaded.serve(inputs)
        expected = agent.policy(inputs)
        for served, own in zip(
            tf.nest.flatten(outputs), tf.nest.flatten(expected)
        ):
            np.testing.assert_allclose(served, own, rtol=1e-4, atol=1e-5)
        return
    agent.export(folder, verbose=False)
    loaded = tf.saved_model.load(folder)
    _assert_same_actions(loaded.serve(obs), agent(obs))


def check_loss_falls(make_agent, env, make_data, falling="loss"):
    """Learning from one batch, over and over, lowers its loss."""
    envs = make_envs(env)
    agent = compiled(make_agent, envs)
    batch = fixed_batches(envs, make_data(envs), 1, agent).repeat()
    history = agent.fit(
        batch,
        steps_per_epoch=20,
        epochs=3,
        callbacks=target_updates(agent, every=10**6),
        verbose=0,
    ).history
    assert set(history) == set(agent.metric_names)
    first, *_, last = history[falling]
    assert last < first - 0.1 * abs(first), history[falling]


def check_eager(make_agent, env, make_data, trained):
    """Eager updates do what compiled ones did; `save` returned `trained`."""
    envs = make_envs(env)
    eager = compiled(make_agent, envs, run_eagerly=True)
    batches = fixed_batches(envs, make_data(envs), agent=eager)
    train_on(eager, batches)
    assert_same(trained, eager.get_state(), tolerance=1e-5)


def check_fit(make_agent, env, make_data):
    """Living and learning is exact, and traced once."""
    ways = (False,) if is_rollout(make_data(make_envs(env))) else (False, True)
    one, four = (
        fit(make_agent, env, make_data, ways, steps_per_execution=n)
        for n in (1, 4)
    )
    for left, right in zip(one, four, strict=True):
        assert_same(left, right)


def fit(
    make_agent,
    env,
    make_data=make_replay,
    ways=(False,),
    steps_per_execution=4,
):
    """The states of an agent after three short epochs, and three more, ...

    Args:
        make_agent: As in `check_agent`; so are `env` and `make_data`.
        ways: Booleans, whether to overlap: one `fit` for each.
        steps_per_execution: Integer.
    """
    states = []
    with make_envs(env) as envs:
        agent = compiled(
            make_agent, envs, steps_per_execution=steps_per_execution
        )
        data = make_data(envs)
        batches, count = dataset(data), CountTraces()
        others = target_updates(agent, every=3)
        if hasattr(data, "update"):
            others.append(rl.callbacks.UpdatePriorities(data))
        for overlap in ways:
            collect = {"warmup": 30, "chunk": 4, "overlap": overlap}
            if is_rollout(data):
                collect = {}
            history = agent.fit(
                batches,
                steps_per_epoch=12,
                epochs=3,
                callbacks=[
                    rl.callbacks.Collect(envs, data, **collect),
                    *others,
                    count,
                ],
                verbose=0,
            ).history
            assert set(agent.metric_names) < set(history)
            states.append(agent.get_state())
    return states


class CountTraces(keras.callbacks.Callback):
    """Fails at the end of an epoch, but the very first, that traced anything.

    Whatever TensorFlow traces (`tf.function`, `Dataset.map`, loops) passes
    through `func_graph_from_py_func`.
    """

    def __init__(self):
        super().__init__()
        self.begun = False

    def on_train_begin(self, logs=None):
        self.traces = 0
        self._original = func_graph.func_graph_from_py_func

        def trace(*args, **kwargs):
            self.traces += 1
            return self._original(*args, **kwargs)

        func_graph.func_graph_from_py_func = trace

    def on_epoch_end(self, epoch, logs=None):
        if self.begun:
            assert self.traces == 0, f"{self.traces} traces in {epoch=}"
        else:
            assert self.traces > 0  # Else this would count nothing.
        self.begun, self.traces = True, 0

    def on_fit_exit(self):
        func_graph.func_graph_from_py_func = self._original


def save(make_agent, folder, env=toy.Identity, make_data=make_replay):
    """Trains, saves, trains on; leaves in `folder` what should come of it.

    Returns:
        The state of the agent as it was saved.
    """
    envs = make_envs(env)
    agent = compiled(make_agent, envs, steps_per_execution=2)
    batches = fixed_batches(envs, make_data(envs), agent=agent)
    train_on(agent, batches)
    trained = agent.get_state()
    agent.save(os.path.join(folder, "agent.keras"))
    batches.save(os.path.join(folder, "batches"))
    obs = tf.data.Dataset.from_tensors(random_obs(envs))
    obs.save(os.path.join(folder, "obs"))
    _go_on(agent, batches, obs, os.path.join(folder, "expected.npz"))
    return trained


def resume_in_fresh_process(folder):
    """Loads what `save` left, and trains on, in another process.

    It is forked from one that has imported this file, and done nothing else.
    """
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload([__name__])
    with concurrent.futures.ProcessPoolExecutor(1, fresh) as pool:
        pool.submit(resume, folder).result()


def check_resumed(folder):
    """The agent that was loaded acts and learns as the one that was saved."""
    expected = np.load(os.path.join(folder, "expected.npz"))
    resumed = np.load(os.path.join(folder, "resumed.npz"))
    assert_same(dict(expected), dict(resumed))


def _go_on(agent, batches, obs, path):
    before = agent.predict(obs, verbose=0)
    train_on(agent, batches)
    np.savez(path, actions_before=before, **agent.get_state())


def resume(folder):
    agent = keras.saving.load_model(os.path.join(folder, "agent.keras"))
    batches, obs = (
        tf.data.Dataset.load(os.path.join(folder, name))
        for name in ("batches", "obs")
    )
    _go_on(agent, batches, obs, os.path.join(folder, "resumed.npz"))


# What the tests of agents that learn from rollouts share.


def on_policy(kind, second=None, normalize=False, **arguments):
    """A `make_agent`; `second` names the argument for a second network."""

    def make_agent(envs):
        first, other = (
            rl.networks.mlp(
                envs.single_observation_space,
                (16,),
                "tanh",
                normalize=normalize,
                seed=seed,
            )
            for seed in (0, 1)
        )
        own = {second: other} if second else {}
        space = envs.single_action_space
        return kind(first, space, seed=0, **own, **arguments)

    return make_agent


def live(
    make_agent,
    env,
    rollouts,
    steps=16,
    num_envs=4,
    gamma=0.9,
    minibatch_size=None,
    passes=1,
    learning_rate=0.02,
    callbacks=(),
):
    """An agent that has lived through so many rollouts, and learnt."""
    with rl.envs.make(env, num_envs, seed=0) as envs:
        agent = make_agent(envs)
        rollout = rl.data.Rollout(envs, steps, gamma)
        batches = rollout.dataset(minibatch_size, passes)
        agent.compile(
            keras.optimizers.Adam(learning_rate),
            steps_per_execution=rollout.updates,
        )
        agent.fit(
            batches,
            steps_per_epoch=rollouts * rollout.updates,
            callbacks=[rl.callbacks.Collect(envs, rollout), *callbacks],
            verbose=0,
        )
    return agent


def linear_agent(kind, action_space, spread=1.0, second=None, **arguments):
    """An agent whose heads are all there is; its observations are `[B, 2]`.

    Their weights are drawn from a seed, with this deviation. The optimizer
    subtracts the gradient.
    """
    first, other = (
        keras.Sequential([keras.Input((2,)), keras.layers.Activation("linear")])
        for _ in range(2)
    )
    own = {second: other} if second else {}
    agent = kind(first, action_space, seed=0, **own, **arguments)
    rng = np.random.default_rng(0)
    for variable in agent.trainable_variables:
        variable.assign(spread * rng.normal(size=variable.shape))
    agent.compile(keras.optimizers.SGD(1.0))
    return agent


def heads(agent):
    """The weights of a linear agent: of its policy, and of its value."""
    policy = agent.policy_network.trainable_variables
    value = agent.value_network.get_layer("value_head").trainable_variables
    return [*policy, *value]


def some_batch(num_actions=3, size=8):
    """A batch for a linear agent: random numbers, and two dead cells."""
    rng = np.random.default_rng(1)
    floats = {
        name: rng.normal(size=size)
        for name in ("value", "log_prob", "advantage", "return")
    }
    batch = {
        "obs": rng.normal(size=(size, 2)),
        **floats,
        "weight": np.arange(size) % 4 != 2,
    }
    batch = {name: array.astype("float32") for name, array in batch.items()}
    batch["action"] = rng.integers(num_actions, size=size).astype("int32")
    return {name: tf.constant(array) for name, array in batch.items()}


def check_update(agent, batch, loss_fn):
    """An update follows the gradient of a loss written down independently.

    Args:
        agent: A linear agent, of a `Discrete` space.
        batch: Dict of tensors.
        loss_fn: Function of log-probabilities `[B, A]` and values `[B]`.

    Returns:
        Dict of arrays, what the update logged.
    """
    weights = heads(agent)
    before = [tf.Variable(weight.numpy()) for weight in weights]
    with tf.GradientTape() as tape:
        kernel, bias, value_kernel, value_bias = before
        logits = batch["obs"] @ kernel + bias
        value = (batch["obs"] @ value_kernel + value_bias)[:, 0]
        loss = loss_fn(tf.nn.log_softmax(logits), value)
    gradients = tape.gradient(loss, before, unconnected_gradients="zero")
    logs = agent.train_step(batch)
    for weight, old, gradient in zip(weights, before, gradients):
        np.testing.assert_allclose(weight, old - gradient, atol=1e-5)
    np.testing.assert_allclose(logs["loss"], loss, atol=1e-5)
    return {name: value.numpy() for name, value in logs.items()}


def of_actions(log_p, batch):
    """The log-probabilities `[B]` of the actions in a batch."""
    return tf.gather(log_p, batch["action"], axis=1, batch_dims=1)


def mean_of_live(values, batch):
    """Their mean `[]` over the cells that are not dead."""
    return tf.reduce_mean(tf.boolean_mask(values, batch["weight"] > 0))
