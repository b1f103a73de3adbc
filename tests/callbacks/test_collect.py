import concurrent.futures
import functools
import json
import re
import threading
import time

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium import vector

import keras_rl2x as rl
from keras_rl2x.callbacks.progress import Progress
from keras_rl2x.envs import toy
from tests.callbacks.living import Living


def endless():
    return toy.Identity(limit=10**9)


class Recorded(gymnasium.Wrapper):
    """Remembers all steps and episodes of all its copies."""

    steps = 0
    returns = []

    def reset(self, **kwargs):
        self.total = 0.0
        return self.env.reset(**kwargs)

    def step(self, action):
        Recorded.steps += 1
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.total += reward
        if terminated or truncated:
            Recorded.returns.append(self.total)
        return obs, reward, terminated, truncated, info


@pytest.fixture
def recorded():
    Recorded.steps, Recorded.returns = 0, []
    return Recorded


class Counter(gymnasium.Env):
    """Counts its steps, and fails when `Counter.fail` says so."""

    observation_space = spaces.Box(0, np.inf, (1,))
    action_space = spaces.Discrete(2)
    fail = None

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, "float32"), {}

    def step(self, action):
        self.count += 1
        reward = 1.0
        if Counter.fail and self.count == 15:
            failure = Counter.fail
            if isinstance(failure, BaseException):
                raise failure
            reward = failure
        obs = np.full(1, self.count, "float32")
        return obs, reward, False, self.count == 40, {}


@pytest.fixture
def counter():
    Counter.fail = None
    yield Counter
    Counter.fail = None


@pytest.fixture(scope="module")
def living():
    return Living(endless)


def test_fractions_of_steps_are_carried_over(living):
    before = living.env_steps
    collect = living.collect(env_steps_per_update=0.25)
    seen = living.fit(collect=collect, epochs=5)["env_steps"]
    # 8 updates an epoch owe 2 steps: one row of 2 environments.
    assert seen[0] - before in (2, 22)  # 22 with the warm-up.
    assert np.diff(seen).tolist() == [2, 2, 2, 2]


def test_no_step_is_lost_to_rounding():
    living = Living(endless, num_envs=3)
    collect = living.collect(env_steps_per_update=0.7, warmup=30)
    seen = living.fit(collect=collect, epochs=10)["env_steps"]
    for updates, env_steps in zip(range(8, 81, 8), seen):
        assert 0 <= 30 + 0.7 * updates - env_steps < 3


def test_warm_up_fills_the_replay_once():
    living = Living(endless, num_envs=4)
    collect = living.collect(warmup=33, env_steps_per_update=1e-6)
    living.fit(collect=collect)
    assert living.replay.size == living.env_steps == 36
    living.fit(collect=collect)
    assert living.replay.size == living.env_steps == 36


def test_warm_up_acts_at_random():
    living = Living(endless, num_envs=1, epsilon=0.0)
    collect = living.collect(warmup=200, env_steps_per_update=1e-6)
    living.fit(collect=collect)
    actions = living.replay.stream.fields["action"].numpy()[:200]
    assert np.bincount(actions, minlength=4).min() > 25


@pytest.mark.parametrize(("chunk", "expected"), [(None, 4), (8, 8)])
def test_collects_once_a_chunk(living, chunk, expected):
    written_at = []
    write = living.replay.write

    def spy(rows, next_obs):
        if len(rows["reward"]):
            written_at.append(int(living.agent.optimizer.iterations.numpy()))
        write(rows, next_obs)

    living.fit()  # Filled, and in the middle of an episode.
    begin = int(living.agent.optimizer.iterations.numpy())
    living.replay.write = spy
    collect = living.collect(chunk=chunk)
    living.fit(collect=collect, steps_per_epoch=16)
    del living.replay.write
    updates = {at - begin for at in written_at}
    assert updates == set(range(0, 16, expected))


@pytest.mark.parametrize("overlap", [False, True])
def test_env_steps_do_not_count_resets(recorded, overlap):
    living = Living(lambda: recorded(toy.Identity(limit=3)), num_envs=3)
    living.fit(collect=living.collect(overlap=overlap), epochs=3)
    assert living.env_steps == recorded.steps
    assert living.replay.size == recorded.steps
    # The steps that were owed for 24 updates, to within one row.
    assert 20 + 24 - 3 <= recorded.steps <= 20 + 24 + 3


def test_logs_the_last_hundred_episodes(recorded):
    living = Living(lambda: recorded(toy.Identity(limit=3)), num_envs=1)
    collect = living.collect(env_steps_per_update=20)
    logs = living.fit(collect=collect, epochs=2)
    assert len(recorded.returns) > 100
    assert logs["return"][-1] == np.mean(recorded.returns[-100:])
    assert logs["length"][-1] == 3
    assert logs["env_steps"][-1] == living.env_steps
    assert all(rate > 0 for rate in logs["env_steps_per_second"])


def test_return_is_nan_before_an_episode_ended(living):
    assert np.isnan(living.fit()["return"][0])


def test_return_stands_first(living, capsys):
    seen = []

    class Read(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(list(logs))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(list(logs))

    living.fit(Read(), verbose=1)
    first = ["return", "length", "env_steps"]
    assert all(keys[:3] == first for keys in seen)
    assert {"loss", "q_value", "td_error"} < set(seen[-1])
    bar = capsys.readouterr().out
    assert re.search(r"step\S* - return: .* - loss: ", bar)


def test_logs_successes_where_they_are_told():
    living = Living(functools.partial(toy.BitFlip, bits=2), num_envs=1)
    logs = living.fit(epochs=2, steps_per_epoch=40)
    assert list(logs)[:3] == ["return", "length", "success"]
    # Who reaches it by the first of two steps loses it again by the second.
    success, score = logs["success"][-1], logs["return"][-1]
    assert 0 < success < 1 and -2 + success <= score <= -1
    assert "success" not in Living().fit()


def test_successes_are_restored():
    living = Living(functools.partial(toy.BitFlip, bits=2), num_envs=1)
    collect = living.collect()
    logs = living.fit(collect=collect, steps_per_epoch=40)
    collect.restart()
    state = collect.get_state()
    kept = {name: state[name] for name in ("episodes", "successes")}
    kept = json.loads(json.dumps(kept))  # As a checkpoint keeps it.
    for given, told in ((kept, True), ({"episodes": kept["episodes"]}, False)):
        progress = Progress()
        progress.set_state(given)
        written = {}
        progress.write(written, env_steps=0)
        assert written["return"] == logs["return"][-1]
        assert ("success" in written) == told
        if told:
            assert written["success"] == logs["success"][-1]


def test_acting_in_the_graph(living):
    collect = living.collect(where="graph")
    living.fit(collect=collect)
    assert collect.policy.where == "graph"


def test_second_fit_goes_on_in_the_same_episodes(counter):
    living = Living(counter, num_envs=1)
    collect = living.collect(warmup=8)
    living.fit(collect=collect)
    living.fit(collect=collect)
    # 8 + 8 + 8 steps of one episode, and the observation after them.
    obs = living.replay.stream.fields["obs"].numpy()[:25, 0]
    np.testing.assert_array_equal(obs, np.arange(25))


def assert_consecutive(replay):
    """Asserts that each transition leads from one number to the next."""
    for batch in replay.dataset(64).take(4):
        np.testing.assert_array_equal(batch["next_obs"], batch["obs"] + 1)


@pytest.mark.parametrize("overlap", [False, True])
def test_environment_that_raises(counter, overlap):
    living = Living(counter)
    collect = living.collect(warmup=8, overlap=overlap)
    threads = threading.active_count()
    counter.fail = OSError("the simulator is gone")
    with pytest.raises(
        RuntimeError,
        match=r"failed after 28 steps: OSError: the simulator is gone \(.*"
        r"test_collect.py, line \d+, in step: `raise failure`\)\. "
        r"`gymnasium.utils.env_checker.check_env\(env\)` .* What was",
    ):
        living.fit(collect=collect, epochs=10)
    # Each of the two had taken 14 steps; no step is lost.
    assert living.env_steps == living.replay.size == 28
    assert threading.active_count() <= threads + (threads == 1)
    counter.fail = None
    living.fit(collect=collect, epochs=3)
    # Four were owed to the updates that it failed before.
    assert living.env_steps == living.replay.size == 28 + 4 + 24
    assert_consecutive(living.replay)
    # The episode that was cut short is no termination.
    assert not living.replay.stream.fields["terminated"].numpy().any()
    assert living.replay.stream.fields["truncated"].numpy().sum() == 2


def test_environment_that_raises_in_reset():
    class Broken(Counter):
        def reset(self, seed=None, options=None):
            raise KeyError("a")

    living = Living(Broken)
    with pytest.raises(
        RuntimeError,
        match=r"could not be reset: KeyError: 'a' \(.*test_collect.py, "
        r"line \d+, in reset: `raise KeyError\(.a.\)`\)\. .*check_env",
    ):
        living.fit(collect=living.collect())


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_reward_that_is_not_finite(counter, reward, overlap):
    living = Living(counter)
    counter.fail = reward
    with pytest.raises(RuntimeError, match="reward that is not finite"):
        living.fit(collect=living.collect(warmup=8, overlap=overlap), epochs=10)
    assert living.replay.size == 28
    assert np.isfinite(living.replay.stream.fields["reward"].numpy()).all()


def test_interrupted_in_the_middle_of_a_step(counter):
    living = Living(counter)
    collect = living.collect(warmup=8)
    counter.fail = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        living.fit(collect=collect, epochs=10)
    counter.fail = None
    living.fit(collect=collect, epochs=3)
    assert_consecutive(living.replay)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["write", "begin"])
@pytest.mark.parametrize("overlap", [False, True])
def test_interrupted_where_steps_are_stored(
    counter, monkeypatch, method, when, overlap
):
    living = Living(counter)
    collect = living.collect(warmup=8, overlap=overlap)
    store, calls = getattr(living.replay, method), []

    def interrupted(*args):
        calls.append(args)
        cut = len(calls) == (3 if method == "write" else 1)
        if cut and when == "before":
            raise KeyboardInterrupt
        store(*args)
        if cut:
            raise KeyboardInterrupt

    monkeypatch.setattr(living.replay, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        living.fit(collect=collect, epochs=10)
    living.fit(collect=collect, epochs=3)
    assert_consecutive(living.replay)


def nan_agent():
    living = Living()
    for weight in living.agent.q_network.weights:
        weight.assign(np.full(weight.shape, np.nan))
    return living


def test_nan_loss():
    living = nan_agent()
    with pytest.raises(
        ValueError, match="loss became nan.*lower learning rate"
    ):
        living.fit(epochs=3)
    assert living.agent.optimizer.iterations.numpy() == 4
    # What the user is told to do first, to be told where it comes from.
    history = living.fit(keras.callbacks.TerminateOnNaN(), epochs=3)
    assert len(history["loss"]) == 1 and np.isnan(history["loss"][0])
    assert living.agent.optimizer.iterations.numpy() == 8


def test_steps_that_do_not_fit(living):
    with pytest.raises(ValueError, match="chunk=6, steps_per_execution=4"):
        living.fit(collect=living.collect(chunk=6))
    with pytest.raises(
        ValueError, match="(?s)multiple of `Collect`'s chunk of 4 .*epoch=10"
    ):
        living.fit(steps_per_epoch=10)
    with pytest.raises(ValueError, match="(?s)chunk of 16 .*epoch=8"):
        living.fit(collect=living.collect(chunk=16))
    with pytest.raises(ValueError, match="`steps_per_epoch` must be given"):
        living.fit(steps_per_epoch=None)
    with pytest.raises(ValueError, match="(?s)warmup=999, capacity=200"):
        living.fit(collect=living.collect(warmup=999))
    with pytest.raises(ValueError, match="env_steps_per_update=0"):
        living.collect(env_steps_per_update=0)
    with pytest.raises(ValueError, match="chunk=0"):
        living.collect(chunk=0)
    with pytest.raises(ValueError, match="warmup=-1"):
        living.collect(warmup=-1)


def test_wrong_spaces(living):
    def fit_in(env):
        envs = rl.envs.make(env)
        replay = rl.data.Replay(envs, 100, gamma=0.9)
        living.agent.fit(
            replay.dataset(8),
            steps_per_epoch=8,
            callbacks=[rl.callbacks.Collect(envs, replay), living.targets],
        )

    with pytest.raises(
        ValueError, match=r"other actions .*Discrete\(4\).*Discrete\(5\)"
    ):
        fit_in(lambda: toy.Identity(categories=5))
    with pytest.raises(
        ValueError, match=r"(?s)'action_values' takes .*shape \(\).*\(1,\)"
    ):
        fit_in(toy.Bandit)


def test_wrong_environments(living):
    same_step = vector.SyncVectorEnv(
        [endless], autoreset_mode=vector.AutoresetMode.SAME_STEP
    )
    with pytest.raises(ValueError, match="autoreset_mode=.*NEXT_STEP"):
        rl.callbacks.Collect(same_step, living.replay)
    with pytest.raises(ValueError, match="One environment cannot be copied"):
        rl.callbacks.Collect(endless(), living.replay)
    with pytest.raises(ValueError, match="`Evaluate` steps the environments"):
        living.fit(rl.callbacks.Evaluate(living.envs))
    with rl.envs.make(endless, 3) as envs:
        collect = rl.callbacks.Collect(envs, living.replay)
        with pytest.raises(
            ValueError, match="Replay was made for 2 env.*Received: 3 env"
        ):
            living.fit(collect=collect)
    with pytest.raises(ValueError, match="were closed: make new ones"):
        living.fit(collect=collect)


def test_dataset_in_the_place_of_the_replay(living):
    with pytest.raises(TypeError, match="fills the replay.*itself"):
        rl.callbacks.Collect(living.envs, living.replay.dataset(8))


def test_dataset_of_another_replay(living):
    other = rl.data.Replay(living.envs, 200, gamma=0.9)
    collect = rl.callbacks.Collect(living.envs, other, warmup=20)
    with pytest.raises(ValueError, match="works on another Replay.*same one"):
        living.fit(collect=collect)


def test_nothing_fills_what_is_empty(on_policy):
    living = Living()
    with pytest.raises(ValueError, match=r"empty: add .*Collect\(envs, repl"):
        living.agent.fit(living.replay.dataset(8), callbacks=[living.targets])
    rollout = rl.data.Rollout(living.envs, 4, gamma=0.9)
    with pytest.raises(ValueError, match="the Rollout, which is empty"):
        on_policy.agent.fit(rollout.dataset())
    # What was filled before is learned from.
    collect = living.collect()
    living.fit(collect=collect, epochs=1)
    living.agent.fit(
        living.replay.dataset(8),
        steps_per_epoch=8,
        callbacks=[living.targets],
        verbose=0,
    )
    assert living.agent.optimizer.iterations.numpy() == 16


def test_what_is_drawn_from_a_replay_may_be_changed(living):
    seen = []

    def halve(batch):
        seen.append(batch["reward"])
        return {**batch, "reward": batch["reward"] / 2}

    living.agent.fit(
        living.replay.dataset(4).map(halve),
        callbacks=[living.collect(), living.targets],
        steps_per_epoch=4,
        verbose=0,
    )
    assert seen


@pytest.mark.parametrize(
    "given",
    [
        {"seed": -1},
        {"env_steps_per_update": np.nan},
        {"env_steps_per_update": 0},
        {"chunk": 2.5},
        {"warmup": -1},
    ],
)
def test_wrong_numbers(living, given):
    ((name, value),) = given.items()
    with pytest.raises(ValueError, match=f"`{name}` must.*Received: .*{value}"):
        rl.callbacks.Collect(living.envs, living.replay, **given)


def test_a_reward_that_is_no_number(counter):
    living = Living(counter)
    counter.fail = np.ones(1)
    with pytest.raises(RuntimeError, match="A reward must be one number"):
        living.fit(collect=living.collect(), epochs=10)


def test_an_agent_that_diverged():
    envs = rl.envs.make(toy.Reach, 2, seed=0)
    space, actions = envs.single_observation_space, envs.single_action_space
    agent = rl.agents.DDPG(
        rl.networks.mlp(space, (4,)),
        actions,
        rl.networks.mlp(space, (4,), action_space=actions),
        seed=0,
    )
    agent.compile("adam")
    replay = rl.data.Replay(envs, 100, gamma=0.9)
    for weight in agent.actor.weights:
        weight.assign(weight * np.nan)
    with pytest.raises(
        RuntimeError,
        match=r"cannot act after 20 steps.*diverged.*\[nan.*in the replay\.$",
    ):
        agent.fit(
            replay.dataset(4),
            callbacks=[
                rl.callbacks.Collect(envs, replay, warmup=20),
                rl.callbacks.TargetUpdate(),
            ],
            steps_per_epoch=2,
            verbose=0,
        )
    with pytest.raises(ValueError, match="has diverged"):
        rl.evaluate(agent, toy.Reach, episodes=1)


def test_plain_vector_environment(living):
    envs = vector.SyncVectorEnv([endless] * 2)
    collect = rl.callbacks.Collect(envs, living.replay, warmup=20)
    living.fit(collect=collect)
    assert living.replay.size >= 20
    assert living.agent.env_steps.numpy() >= 20


# Rollouts.


class OnPolicy:
    """An agent that lives in `env`, and learns from a rollout.

    Six updates for each filling: two passes over three minibatches.
    """

    def __init__(self, env=endless, num_envs=3, steps=4, dataset=True):
        self.envs = rl.envs.make(env, num_envs, seed=0)
        network = rl.networks.mlp(
            self.envs.single_observation_space, (8,), seed=0
        )
        self.agent = rl.agents.PPO(
            network, self.envs.single_action_space, seed=0
        )
        self.agent.compile("adam", steps_per_execution=2)
        self.rollout = rl.data.Rollout(self.envs, steps, gamma=0.9)
        if dataset:
            self.dataset = self.rollout.dataset(4, passes=2)
        self.written, write = [], self.rollout.write

        def spy(rows, *rest):
            updates = int(self.agent.optimizer.iterations.numpy())
            self.written.append((updates, rows))
            write(rows, *rest)

        self.rollout.write = spy

    def collect(self, **kwargs):
        return rl.callbacks.Collect(self.envs, self.rollout, **kwargs)

    def fit(self, collect=None, steps_per_epoch=12, **kwargs):
        return self.agent.fit(
            self.dataset,
            steps_per_epoch=steps_per_epoch,
            callbacks=[collect or self.collect()],
            **{"verbose": 0, **kwargs},
        ).history

    @property
    def env_steps(self):
        return int(self.agent.env_steps.numpy())


@pytest.fixture(scope="module")
def on_policy():
    return OnPolicy()


def test_a_rollout_is_filled_whole_when_its_passes_are_over():
    living = OnPolicy()
    assert living.rollout.updates == 6
    logs = living.fit(epochs=3)
    assert [updates for updates, _ in living.written] == list(range(0, 36, 6))
    assert all(len(rows["reward"]) == 4 for _, rows in living.written)
    assert logs["env_steps"] == [24, 48, 72]
    assert all(rate > 0 for rate in logs["env_steps_per_second"])


def test_rollouts_follow_each_other(counter):
    living = OnPolicy(counter)
    collect = living.collect()
    living.fit(collect)
    living.fit(collect)
    # Four fillings of four steps, in the same episodes.
    obs = np.concatenate([rows["obs"][..., 0] for _, rows in living.written])
    np.testing.assert_array_equal(obs, np.arange(16)[:, None].repeat(3, 1))


def test_env_steps_of_rollouts_do_not_count_resets(recorded):
    living = OnPolicy(lambda: recorded(toy.Identity(limit=3)))
    logs = living.fit(epochs=3)
    assert living.env_steps == recorded.steps == logs["env_steps"][-1]
    # Of each four rows in a row, one is the reset.
    assert living.env_steps == 3 * 2 * 3 * 3
    assert logs["return"][-1] == np.mean(recorded.returns)
    assert logs["length"][-1] == 3


def test_what_was_drawn_was_lived_since(on_policy):
    seen = []

    class Read(rl.callbacks.GraphCallback):
        def on_update(self, agent, batch, values):
            seen.append(tf.identity(batch["weight"]))

    # Eagerly, so that every batch is seen as it is.
    living = OnPolicy(lambda: toy.Identity(limit=3))
    living.agent.compile("adam", run_eagerly=True)
    living.agent.fit(
        living.dataset,
        steps_per_epoch=12,
        callbacks=[living.collect(), Read()],
        verbose=0,
    )
    weights = np.reshape(seen, (2, 2, -1))  # Fillings, passes, cells.
    for passes, (_, rows) in zip(weights, living.written):
        alive = (~rows["dead"]).sum()
        np.testing.assert_array_equal(passes.sum(-1), [alive, alive])


@pytest.mark.parametrize(
    "given", [{"warmup": 10}, {"chunk": 2}, {"overlap": True}]
)
def test_what_makes_no_sense_for_rollouts(on_policy, given):
    with pytest.raises(
        ValueError, match=f"filled whole.*leave.*out.*{next(iter(given))}"
    ):
        on_policy.collect(**given)


@pytest.mark.parametrize("steps_per_epoch", [8, 3, None])
def test_epochs_of_whole_rollouts(on_policy, steps_per_epoch):
    with pytest.raises(
        ValueError, match=f"(?s)multiple of .* 6 .*={steps_per_epoch}"
    ):
        on_policy.fit(steps_per_epoch=steps_per_epoch)


def test_executions_that_do_not_divide_the_passes(on_policy):
    on_policy.agent.steps_per_execution = 4
    with pytest.raises(
        ValueError,
        match="passes x minibatches must .*chunk=6, .*execution=4",
    ):
        on_policy.fit()
    on_policy.agent.steps_per_execution = 2


def test_nothing_learns_from_the_rollout(on_policy):
    other = OnPolicy(dataset=False)
    other.dataset = on_policy.dataset
    with pytest.raises(ValueError, match="works on another Rollout"):
        other.fit()
    # What was done to a dataset hides where it was drawn from.
    other.dataset = on_policy.dataset.map(lambda batch: batch)
    with pytest.raises(ValueError, match="as it is.*Received: _MapDataset"):
        other.fit()


def test_a_dataset_that_is_not_the_last(on_policy):
    updates = on_policy.rollout.updates
    on_policy.rollout.dataset(passes=1)  # To have a look at it, say.
    with pytest.raises(ValueError, match=f"called again.*{updates} updates"):
        on_policy.fit()
    on_policy.rollout.updates = updates


def test_ctrl_c_while_the_thread_collects_loses_nothing(monkeypatch):
    living = Living()
    collect = living.collect(overlap=True)

    class Waiting:
        """A future that is done, but for the one who waits for it first."""

        def __init__(self, future):
            self.future = future
            self.interrupts = 1

        def result(self):
            self.interrupts -= 1
            if self.interrupts == 0:
                raise KeyboardInterrupt
            return self.future.result()

    submit = concurrent.futures.ThreadPoolExecutor.submit
    monkeypatch.setattr(
        concurrent.futures.ThreadPoolExecutor,
        "submit",
        lambda self, *args: Waiting(submit(self, *args)),
    )
    with pytest.raises(KeyboardInterrupt):
        living.fit(collect=collect)
    # What was lived was stored: the stream goes on where the driver stands.
    stream = living.replay.stream
    head = stream.read("obs", [stream.head])[0]
    np.testing.assert_array_equal(head, collect.driver._obs)


def test_environment_that_raises_in_a_rollout(counter):
    living = OnPolicy(counter)
    collect = living.collect()
    counter.fail = OSError("the simulator is gone")
    # Each of the three had taken 14 steps: two of the fourth filling.
    with pytest.raises(
        RuntimeError,
        match="failed after 42 steps: OSError: the simulator is gone",
    ):
        living.fit(collect, epochs=10)
    assert len(living.written) == 3
    iterations = int(living.agent.optimizer.iterations.numpy())
    assert iterations == 18
    counter.fail = None
    living.fit(collect)
    assert living.env_steps == 42 + 24
    # New episodes, and nothing of the half of a filling.
    assert len(living.written) == 5
    obs = np.concatenate([r["obs"][..., 0] for _, r in living.written[3:]])
    np.testing.assert_array_equal(obs, np.arange(8)[:, None].repeat(3, 1))
    assert living.written[3][0] == iterations


def test_the_message_does_not_speak_of_a_replay(counter):
    living = OnPolicy(counter)
    counter.fail = OSError("the simulator is gone")
    with pytest.raises(
        RuntimeError, match="`fit` may be called again"
    ) as error:
        living.fit(epochs=10)
    assert "replay" not in str(error.value)


def test_failure_in_a_process_of_its_own(counter):
    counter.fail = OSError("the simulator is gone")
    with rl.envs.make(counter, 2, vectorization="async") as envs:
        rollout = rl.data.Rollout(envs, 4, gamma=0.9)
        network = rl.networks.mlp(envs.single_observation_space, (4,))
        agent = rl.agents.A2C(network, envs.single_action_space)
        agent.compile()
        with pytest.raises(RuntimeError, match="Make new environments, and a"):
            agent.fit(
                rollout.dataset(),
                steps_per_epoch=9,
                callbacks=[rl.callbacks.Collect(envs, rollout)],
                verbose=0,
            )


class Slow(toy.Identity):
    def step(self, action):
        time.sleep(0.02)
        return super().step(action)


def test_interrupted_in_the_middle_of_a_step_of_processes():
    living = Living(functools.partial(Slow))
    with rl.envs.make(Slow, 2, vectorization="async", seed=0) as envs:
        collect = rl.callbacks.Collect(envs, living.replay)
        step_wait = envs.unwrapped.step_wait

        def interrupted(**kwargs):
            envs.unwrapped.step_wait = step_wait
            raise KeyboardInterrupt

        envs.unwrapped.step_wait = interrupted
        with pytest.raises(KeyboardInterrupt):
            living.fit(collect=collect)
        assert living.env_steps == 0
        living.fit(collect=collect)
        assert living.env_steps == 2 + 8  # The first that can be drawn, too.


def test_interrupted_in_the_middle_of_a_rollout(counter):
    living = OnPolicy(counter)
    collect = living.collect()
    counter.fail = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        living.fit(collect, epochs=10)
    counter.fail = None
    living.written.clear()
    living.fit(collect)
    obs = np.concatenate([rows["obs"][..., 0] for _, rows in living.written])
    np.testing.assert_array_equal(obs, np.arange(8)[:, None].repeat(3, 1))


def test_rollout_of_other_environments(on_policy):
    with rl.envs.make(lambda: toy.Identity(categories=5), 3) as envs:
        rollout = rl.data.Rollout(envs, 4, gamma=0.9)
        with pytest.raises(ValueError, match="other actions"):
            on_policy.agent.fit(
                rollout.dataset(6),
                steps_per_epoch=2,
                callbacks=[rl.callbacks.Collect(envs, rollout)],
            )


def test_the_seed_of_exploration():
    def actions(seed):
        living = Living(endless, epsilon=1.0)
        living.fit(collect=living.collect(seed=seed, warmup=1))
        return living.replay.stream.fields["action"].numpy()[2:10]

    np.testing.assert_array_equal(actions(1), actions(1))
    assert not np.array_equal(actions(1), actions(2))


def test_every_restart_begins_other_episodes():
    living = Living("CartPole-v1")
    collect = living.collect()
    living.fit(collect=collect)
    firsts = []
    for _ in range(2):
        collect.restart()
        firsts.append(np.copy(collect.driver._obs))
    assert not np.array_equal(*firsts)


def test_what_is_drawn_together_is_one_chunk(monkeypatch):
    living = Living()
    blocks, set_block = [], living.replay.set_block

    def seen(block):
        blocks.append(block)
        set_block(block)

    monkeypatch.setattr(living.replay, "set_block", seen)
    living.fit(collect=living.collect(chunk=8), steps_per_epoch=16)
    assert blocks == [8]
