import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.callbacks import whole_run
from tests.callbacks.living import Living
from tests.callbacks.test_stock import Scores


def start(*arguments):
    command = [sys.executable, "-m", "tests.callbacks.whole_run"]
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    return subprocess.Popen([*command, *map(str, arguments)], cwd=root)


def test_killed_at_any_moment_and_resumed(tmp_path):
    directory, out = tmp_path / "killed", tmp_path / "out.npz"
    process = start(directory, 10**6, out)
    deadline = time.monotonic() + 300
    while not (directory / "epoch_000004").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(random.uniform(0, 1))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    # Go on for as long again as was saved.
    epochs = 2 * rl.callbacks.Checkpoint(directory).latest()["epoch"]
    assert start(directory, epochs, out).wait() == 0
    resumed = np.load(out)
    uninterrupted = whole_run.run(tmp_path / "uninterrupted", epochs)
    assert len(uninterrupted) > 20
    assert set(resumed) == set(uninterrupted)
    for name, value in uninterrupted.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


class Epochs(keras.callbacks.Callback):
    """Writes down which epochs were trained."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(epoch + 1)


@pytest.fixture(scope="module")
def living():
    return Living()


@pytest.fixture(scope="module")
def three_epochs(tmp_path_factory, living):
    """A folder with the checkpoints of epochs 2 and 3; do not change it."""
    directory = tmp_path_factory.mktemp("three_epochs")
    living.fit(rl.callbacks.Checkpoint(directory), epochs=3)
    return directory


@pytest.fixture
def checkpoints(three_epochs, tmp_path):
    """A copy of it."""
    return shutil.copytree(three_epochs, tmp_path / "checkpoints")


def names(directory):
    return sorted(os.listdir(directory))


def test_keeps_the_last_two_as_plain_arrays(three_epochs):
    assert names(three_epochs) == ["epoch_000002", "epoch_000003"]
    for name in names(three_epochs / "epoch_000003"):
        path = three_epochs / "epoch_000003" / name
        if name == "state.json":
            json.loads(path.read_text())
        else:
            np.load(path, allow_pickle=False)


@pytest.mark.parametrize("first", [True, False])
def test_resumes_where_it_was(tmp_path, first):
    def fit(epochs):
        living = Living()
        collect, trained = living.collect(), Epochs()
        callbacks = [collect, rl.callbacks.Checkpoint(tmp_path)]
        living.agent.fit(
            living.replay.dataset(8),
            steps_per_epoch=8,
            epochs=epochs,
            callbacks=[*callbacks[:: 1 if first else -1], living.targets]
            + [trained],
            verbose=0,
        )
        return living, collect, trained.seen

    fit(2)
    resumed, collect, trained = fit(4)
    assert trained == [3, 4]
    shutil.rmtree(tmp_path)
    whole, collect_whole, trained = fit(4)
    assert trained == [1, 2, 3, 4]
    assert resumed.env_steps == whole.env_steps
    for one, other in (
        (resumed.agent, whole.agent),
        (collect, collect_whole),
    ):
        np.testing.assert_equal(one.get_state(), other.get_state())


def test_finished_run_is_restored_and_nothing_more(checkpoints):
    other, trained = Living(), Epochs()
    history = other.fit(rl.callbacks.Checkpoint(checkpoints), trained, epochs=3)
    assert trained.seen == [] and history == {}
    saved = rl.callbacks.Checkpoint(checkpoints).latest()["agent"]
    np.testing.assert_equal(other.agent.get_state(), saved)


def test_finished_run_is_restored_by_a_checkpoint_that_stands_first(tmp_path):
    seen = []
    for _ in range(2):
        living = Living()
        collect = living.collect()
        living.agent.fit(
            living.replay.dataset(8),
            steps_per_epoch=8,
            epochs=2,
            callbacks=[
                rl.callbacks.Checkpoint(tmp_path),
                collect,
                living.targets,
            ],
            verbose=0,
        )
        seen.append((living.agent.get_state(), collect.get_state()))
    np.testing.assert_equal(*seen)


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path):
    os.truncate(path, 0)


def corrupt(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)


def corrupt_header(path):
    data = bytearray(path.read_bytes())
    data[5:60] = b"?" * 55
    path.write_bytes(data)


def largest(folder):
    return max(folder.glob("*.npy"), key=os.path.getsize)


@pytest.mark.parametrize("damage", [truncate, empty, corrupt, os.remove])
@pytest.mark.parametrize("which", ["state.json", "array"])
def test_damaged_newest_falls_back(checkpoints, damage, which):
    folder = checkpoints / "epoch_000003"
    damage(largest(folder) if which == "array" else folder / which)
    with pytest.warns(UserWarning, match="epoch_000003 cannot be read"):
        state = rl.callbacks.Checkpoint(checkpoints).latest()
    assert state["epoch"] == 2


def test_fit_goes_on_from_the_one_before(living, checkpoints):
    corrupt_header(largest(checkpoints / "epoch_000003"))
    trained = Epochs()
    with pytest.warns(UserWarning, match="epoch_000003 cannot be read"):
        living.fit(rl.callbacks.Checkpoint(checkpoints), trained, epochs=4)
    assert trained.seen == [3, 4]
    assert names(checkpoints) == ["epoch_000003", "epoch_000004"]
    assert rl.callbacks.Checkpoint(checkpoints).latest()["epoch"] == 4


def test_all_damaged_is_refused(living, checkpoints):
    assert rl.callbacks.Checkpoint(checkpoints / "none").latest() is None
    for folder in checkpoints.iterdir():
        (folder / "state.json").unlink()
    before = files(checkpoints)
    checkpoint = rl.callbacks.Checkpoint(checkpoints)
    with (
        pytest.warns(UserWarning, match="cannot be read") as warned,
        pytest.raises(ValueError, match="none was touched.*epoch_000002"),
    ):
        living.fit(checkpoint, epochs=4)
    assert len(warned) == 2
    assert files(checkpoints) == before


def test_one_that_was_brought_back_goes_on(living, three_epochs, tmp_path):
    """Damaged ones of later epochs do not take its place, nor the next's."""
    for number in (5, 6):
        folder = tmp_path / f"epoch_{number:06d}"
        shutil.copytree(three_epochs / "epoch_000003", folder)
        truncate(folder / "state.json")
    shutil.copytree(three_epochs / "epoch_000002", tmp_path / "epoch_000002")
    with pytest.warns(UserWarning, match="epoch_000006 cannot be read"):
        living.fit(rl.callbacks.Checkpoint(tmp_path), epochs=4)
    assert [name[-1] for name in names(tmp_path)] == ["3", "4", "5", "6"]
    with pytest.warns(UserWarning, match="epoch_000005 cannot be read"):
        assert rl.callbacks.Checkpoint(tmp_path).latest()["epoch"] == 4


class Returns(Scores):
    """Other numbers in the place of what `Collect` has logged."""

    def on_epoch_end(self, epoch, logs=None):
        logs["return"] = self.scores[epoch]


def test_a_resumed_run_forgets_a_best_that_is_nan(tmp_path):
    def fit(epochs):
        stop = keras.callbacks.EarlyStopping("return", mode="max", patience=1)
        trained = Epochs()
        Living().fit(
            Returns(np.nan, 5, 6, 7),
            stop,
            trained,
            rl.callbacks.Checkpoint(tmp_path),
            epochs=epochs,
        )
        return trained.seen, stop.best

    assert fit(1) == ([1], pytest.approx(np.nan, nan_ok=True))
    assert fit(3) == ([2, 3], 6)


def test_states_of_other_callbacks(living, tmp_path):
    class Tensor(keras.callbacks.Callback):
        best = wait = None

        def on_epoch_end(self, epoch, logs=None):
            self.best = tf.constant(3.0)

    living.fit(Tensor(), rl.callbacks.Checkpoint(tmp_path), epochs=1)
    state = rl.callbacks.Checkpoint(tmp_path).latest()["callbacks"]["Tensor_0"]
    assert state == {"best": 3.0}

    class Stateful(keras.callbacks.Callback):
        state = 3

        def get_state(self):
            return self.state

    for Stateful.state, received in (
        (3, "a int"),
        ({"a": object()}, "a object"),
        ({(1, 2): 3}, "keys must be str"),
    ):
        with pytest.raises(
            TypeError,
            match=f"`Stateful_0` cannot be saved: .*Received: {received}",
        ):
            living.fit(Stateful(), rl.callbacks.Checkpoint(tmp_path), epochs=2)
    assert names(tmp_path) == ["epoch_000001"]


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_half_written_is_ignored(living, checkpoints):
    shutil.copytree(
        checkpoints / "epoch_000003", checkpoints / "epoch_000004.writing"
    )
    (checkpoints / "epoch_old").mkdir()
    (checkpoints / "notes.txt").write_text("mine")
    assert rl.callbacks.Checkpoint(checkpoints).latest()["epoch"] == 3
    living.fit(rl.callbacks.Checkpoint(checkpoints), epochs=4)
    assert names(checkpoints) == [
        "epoch_000003",
        "epoch_000004",
        "epoch_old",
        "notes.txt",
    ]


class FullDisk(keras.callbacks.Callback):
    """No file may grow beyond a few bytes, while some epochs last."""

    def __init__(self, *epochs):
        super().__init__()
        self.epochs = epochs
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_epoch_begin(self, epoch, logs=None):
        soft = 500 if epoch + 1 in self.epochs else self.limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, self.limits[1]))

    def on_fit_exit(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


def test_full_disk(living, checkpoints):
    trained = Epochs()
    with (
        pytest.warns(UserWarning, match="No checkpoint could be saved"),
        pytest.raises(OSError, match="No checkpoint could be saved into"),
    ):
        living.fit(
            FullDisk(4, 5),
            trained,
            rl.callbacks.Checkpoint(checkpoints),
            epochs=5,
        )
    assert trained.seen == [4, 5]  # It went on.
    assert names(checkpoints) == ["epoch_000002", "epoch_000003"]
    assert rl.callbacks.Checkpoint(checkpoints).latest()["epoch"] == 3


def test_full_disk_for_a_while(living, checkpoints):
    with pytest.warns(UserWarning, match="make room before the next one"):
        living.fit(FullDisk(4), rl.callbacks.Checkpoint(checkpoints), epochs=5)
    assert names(checkpoints) == ["epoch_000003", "epoch_000005"]


def test_weights_that_are_not_finite_are_not_saved(checkpoints):
    class Poison(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.q_network.weights[-1].assign([np.nan] * 4)

    with pytest.warns(UserWarning, match="not finite: they are not saved"):
        Living().fit(Poison(), rl.callbacks.Checkpoint(checkpoints), epochs=4)
    assert names(checkpoints) == ["epoch_000002", "epoch_000003"]


def test_after_a_failure_of_the_environments(checkpoints):
    class Fragile(toy.Identity):
        broken = True

        def step(self, action):
            if Fragile.broken:
                raise OSError("the simulator is gone")
            return super().step(action)

    living = Living(Fragile)
    with pytest.raises(RuntimeError, match="the simulator is gone"):
        living.fit(rl.callbacks.Checkpoint(checkpoints), epochs=5)
    Fragile.broken, trained = False, Epochs()
    living.fit(rl.callbacks.Checkpoint(checkpoints), trained, epochs=5)
    assert trained.seen == [4, 5]


def test_another_agent(checkpoints):
    living = Living()
    network = rl.networks.mlp(living.envs.single_observation_space, (9,))
    living.agent = rl.agents.DQN(network, living.envs.single_action_space)
    living.agent.compile("adam", steps_per_execution=4)
    with pytest.raises(ValueError, match="The saved agent differs"):
        living.fit(rl.callbacks.Checkpoint(checkpoints), epochs=4)


def test_another_optimizer(checkpoints):
    living = Living(optimizer="sgd")
    with pytest.raises(ValueError, match="The saved agent differs"):
        living.fit(rl.callbacks.Checkpoint(checkpoints), epochs=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capacity": 100}, "another size"),
        ({"make_replay": rl.data.PrioritizedReplay}, "another kind"),
    ],
)
def test_another_replay(checkpoints, arguments, message):
    living = Living(**arguments)
    others = [rl.callbacks.Checkpoint(checkpoints)]
    if isinstance(living.replay, rl.data.PrioritizedReplay):
        others.append(rl.callbacks.UpdatePriorities(living.replay))
    with pytest.raises(ValueError, match=message):
        living.fit(*others, epochs=4)


def test_every(living, tmp_path):
    living.fit(rl.callbacks.Checkpoint(tmp_path, every=2), epochs=5)
    assert names(tmp_path) == ["epoch_000004", "epoch_000005"]  # And the last.
    with pytest.raises(ValueError, match="every=0"):
        rl.callbacks.Checkpoint(tmp_path, every=0)


class Interrupt(keras.callbacks.Callback):
    """Presses Ctrl-C."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def on_train_batch_begin(self, batch, logs=None):
        while self.times:
            self.times -= 1
            os.kill(os.getpid(), signal.SIGINT)


def test_interrupted_once(living, tmp_path, capsys):
    handler = signal.getsignal(signal.SIGINT)
    checkpoint, trained = rl.callbacks.Checkpoint(tmp_path, every=9), Epochs()
    living.fit(checkpoint, trained, Interrupt(1), epochs=5)
    assert trained.seen == [1] and checkpoint.interrupted
    assert names(tmp_path) == ["epoch_000001"]
    assert "again to stop at once" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler
    living.fit(checkpoint, trained, epochs=2)
    assert trained.seen == [1, 2] and not checkpoint.interrupted


def early_stopping(directory, epochs, scores):
    """The weights that a run ends with, and the epochs that it trained."""
    living, trained = Living(), Epochs()
    living.fit(
        Scores(*scores),
        keras.callbacks.EarlyStopping(
            "val_return", mode="max", patience=1, restore_best_weights=True
        ),
        rl.callbacks.Checkpoint(directory),
        trained,
        epochs=epochs,
    )
    return living.agent.get_weights(), trained.seen


@pytest.mark.parametrize("scores", [(3, 1), (1, 3, 1, 9, 9)])
def test_what_early_stopping_has_ended_ends_alike(scores, tmp_path):
    epochs = len(scores)
    weights, trained = early_stopping(tmp_path, epochs, scores)
    assert trained == list(range(1, 1 + min(epochs, 3)))
    again, trained = early_stopping(tmp_path, epochs, scores)
    assert trained == []
    for one, other in zip(weights, again):
        np.testing.assert_array_equal(one, other)


def test_without_early_stopping_a_stopped_run_goes_on(tmp_path):
    early_stopping(tmp_path, 4, (3, 1, 9, 9))
    living, trained = Living(), Epochs()
    living.fit(rl.callbacks.Checkpoint(tmp_path), trained, epochs=4)
    assert trained.seen == [3, 4]


class Cut(keras.callbacks.Callback):
    """Has no more time, in the middle of the second epoch."""

    def on_train_begin(self, logs=None):
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1:
            self.model.stop_training = True


def test_an_epoch_that_was_cut_is_trained_anew(tmp_path):
    whole = Living()
    whole.fit(rl.callbacks.Checkpoint(tmp_path / "whole"), epochs=3)
    cut = Living()
    cut.fit(rl.callbacks.Checkpoint(tmp_path / "cut"), Cut(), epochs=3)
    assert names(tmp_path / "cut") == ["epoch_000001"]
    resumed = Living()
    resumed.fit(rl.callbacks.Checkpoint(tmp_path / "cut"), epochs=3)
    harness.assert_same(resumed.agent.get_state(), whole.agent.get_state())


def test_interrupted_twice(living, tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        living.fit(rl.callbacks.Checkpoint(tmp_path), Interrupt(2), epochs=5)
    assert names(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is handler


def test_in_a_thread(living, tmp_path):
    # Where signals cannot be caught.
    thread = threading.Thread(
        target=living.fit, args=[rl.callbacks.Checkpoint(tmp_path)]
    )
    thread.start()
    thread.join()
    assert names(tmp_path) == ["epoch_000001"]


def fit_ppo(directory, epochs):
    """Trains with everything that changes while it does."""
    envs = rl.envs.make("CartPole-v1", num_envs=3, seed=0)
    network, critic = (
        rl.networks.mlp(
            envs.single_observation_space, (16,), normalize=True, seed=seed
        )
        for seed in (0, 1)
    )
    agent = rl.agents.PPO(
        network,
        envs.single_action_space,
        critic=critic,
        clip=keras.optimizers.schedules.PolynomialDecay(0.3, 500, 0.1),
        normalize_rewards=True,
        seed=0,
    )
    agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=3)
    rollout = rl.data.Rollout(envs, 16, gamma=0.9)
    collect = rl.callbacks.Collect(envs, rollout)
    trained = Epochs()
    agent.fit(
        rollout.dataset(minibatch_size=16, passes=2),
        steps_per_epoch=12,
        epochs=epochs,
        callbacks=[collect, trained, rl.callbacks.Checkpoint(directory, 2)],
        verbose=0,
    )
    return agent, collect, trained.seen


def test_rollouts_are_resumed_exactly(tmp_path):
    fit_ppo(tmp_path / "resumed", 4)
    agent, collect, trained = fit_ppo(tmp_path / "resumed", 8)
    assert trained == [5, 6, 7, 8]
    whole, collect_whole, trained = fit_ppo(tmp_path / "whole", 8)
    assert trained == list(range(1, 9))
    state = whole.get_state()
    assert state.keys() == agent.get_state().keys()
    # The statistics of both networks and of the rewards are part of it.
    lived = whole.reward_scale.count.numpy()
    assert 0 < lived < 8 * 2 * 16 * 3
    for count, least in ((8 * 2 * 16 * 3, 2), (lived, 1)):
        counts = [key for key, value in state.items() if np.all(value == count)]
        assert len(counts) >= least
    np.testing.assert_equal(agent.get_state(), state)
    np.testing.assert_equal(collect.get_state(), collect_whole.get_state())
