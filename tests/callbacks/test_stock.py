"""Keras's own callbacks beside ours."""

import csv
import os

import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.callbacks.living import Living


class Scores(keras.callbacks.Callback):
    """Stands for `Evaluate`, with results that are known before."""

    writes = ("val_return", "val_length")

    def __init__(self, *scores):
        super().__init__()
        self.scores = list(scores)

    def on_epoch_end(self, epoch, logs=None):
        logs["val_return"] = self.scores[epoch]


@pytest.fixture(scope="module")
def living():
    return Living(optimizer=keras.optimizers.SGD(1e-2))


@pytest.fixture(autouse=True)
def same_learning_rate(living):
    living.agent.optimizer.learning_rate = 0.01


def test_early_stopping(living):
    stop = keras.callbacks.EarlyStopping("val_return", mode="max", patience=2)
    logs = living.fit(Scores(1, 3, 2, 2, 9), stop, epochs=5)
    assert logs["val_return"] == [1, 3, 2, 2]


def test_early_stopping_restores_the_best(living):
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.get_weights())

    stop = keras.callbacks.EarlyStopping(
        "val_return", mode="max", patience=1, restore_best_weights=True
    )
    living.fit(Scores(1, 3, 2, 9), stop, Keep(), epochs=4)
    assert len(kept) == 3
    for i, variable in enumerate(living.agent.weights):
        # The steps that were taken since then count.
        taken = 2 if variable is living.agent.env_steps else 1
        np.testing.assert_array_equal(variable, kept[taken][i])


def test_the_first_return_is_not_the_best_for_being_none(living, tmp_path):
    # As long as no episode has ended it is NaN.
    path = str(tmp_path / "{epoch}.keras")
    stop = keras.callbacks.EarlyStopping("val_return", mode="max", patience=2)
    best = keras.callbacks.ModelCheckpoint(
        path, "val_return", mode="max", save_best_only=True
    )
    scores = Scores(np.nan, 1, 2, 3, 2, 2, 9)
    logs = living.fit(scores, stop, best, epochs=7)
    assert len(logs["val_return"]) == 6
    assert best.best == stop.best == 3
    assert {"2.keras", "3.keras", "4.keras"} < set(os.listdir(tmp_path))


def test_model_checkpoint_keeps_the_best_agent(living, tmp_path):
    path = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(
        path, "val_return", mode="max", save_best_only=True
    )
    living.fit(Scores(1, 3, 2), best, epochs=3)
    assert best.best == 3
    agent = rl.load(path)
    # It was saved at the end of the second epoch, of 8 updates each.
    final = living.agent.optimizer.iterations.numpy()
    assert agent.optimizer.iterations.numpy() == final - 8


def test_model_checkpoint_names_files_after_the_logs(living, tmp_path):
    path = str(tmp_path / "{epoch}_{val_return:.0f}.keras")
    living.fit(
        Scores(4, 7), keras.callbacks.ModelCheckpoint(path, verbose=1), epochs=2
    )
    assert sorted(os.listdir(tmp_path)) == ["1_4.keras", "2_7.keras"]


def test_reduce_on_plateau(living):
    reduce = keras.callbacks.ReduceLROnPlateau(
        "val_return", mode="max", factor=0.5, patience=1
    )
    living.fit(Scores(1, 3, 2, 9, 1), reduce, epochs=5)
    rate = living.agent.optimizer.learning_rate.numpy()
    np.testing.assert_allclose(rate, 0.01 * 0.5**2)


def test_csv_logger(living, tmp_path):
    path = tmp_path / "history.csv"
    logs = living.fit(
        Scores(1, 3), keras.callbacks.CSVLogger(str(path)), epochs=2
    )
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert {"epoch", "return", "env_steps", "val_return"} <= set(rows[0])
    assert [int(row["env_steps"]) for row in rows] == logs["env_steps"]
    assert [float(row["val_return"]) for row in rows] == [1, 3]


def test_learning_rate_scheduler(living):
    rates = []

    class Read(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate.numpy()))

    schedule = keras.callbacks.LearningRateScheduler(lambda e, r: r * 0.5)
    logs = living.fit(schedule, Read(), epochs=2)
    np.testing.assert_allclose(rates, [0.005] * 2 + [0.0025] * 2)
    np.testing.assert_allclose(logs["learning_rate"], [0.005, 0.0025])


def test_terminate_on_nan(living):
    class Poison(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                agent.q_network.weights[-1].assign([np.nan] * 4)

    agent = living.agent
    weights = agent.get_weights()
    logs = living.fit(
        Scores(*range(5)),
        keras.callbacks.TerminateOnNaN(),
        Poison(),
        epochs=5,
        steps_per_epoch=16,
    )
    assert len(logs["loss"]) == 1 and np.isnan(logs["loss"][0])
    agent.set_weights(weights)


def test_tensorboard(living, tmp_path):
    board = keras.callbacks.TensorBoard(
        str(tmp_path), histogram_freq=1, update_freq=4
    )
    living.fit(Scores(1, 3), board, epochs=2)
    assert os.listdir(tmp_path / "train")


def test_backup_and_restore(living, tmp_path):
    # The agent is restored, and the epochs are counted on; the replay, which
    # it does not know of, begins anew: `Checkpoint` is for that.
    class Fail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("power cut")

    class Read(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            weights.append((epoch, self.model.get_weights()))

    weights = []
    backup = str(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="power cut"):
        living.fit(keras.callbacks.BackupAndRestore(backup), Fail(), epochs=3)
    saved = living.agent.get_weights()
    other = Living(optimizer=keras.optimizers.SGD(1e-2))
    other.fit(keras.callbacks.BackupAndRestore(backup), Read(), epochs=3)
    assert [epoch for epoch, _ in weights] == [1, 2]
    for restored, weight in zip(weights[0][1], saved):
        np.testing.assert_array_equal(restored, weight)
    assert other.replay.size > 20


class ReadWeight(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.q_network.weights[0].numpy())


def test_swap_ema_weights(tmp_path):
    living = Living(
        optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    )
    raw, averaged = ReadWeight(), ReadWeight()
    living.fit(
        rl.callbacks.Checkpoint(tmp_path),
        raw,
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        averaged,
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        epochs=2,
    )
    for trained, mean in zip(raw.seen, averaged.seen):
        assert np.abs(trained - mean).max() > 1e-4
    # For use: the average. To train on: what was trained.
    for epoch, mean in enumerate(averaged.seen, 1):
        saved = rl.load(tmp_path / f"{epoch}.keras").q_network.weights[0]
        np.testing.assert_array_equal(saved.numpy(), mean)
    state = rl.callbacks.Checkpoint(tmp_path).latest()["agent"]
    assert any(np.array_equal(raw.seen[-1], value) for value in state.values())
    # Keras leaves the average in the agent.
    final = living.agent.q_network.weights[0].numpy()
    np.testing.assert_allclose(final, averaged.seen[-1], rtol=1e-6)


def swap():
    return keras.callbacks.SwapEMAWeights(swap_on_epoch=True)


def stop():
    return keras.callbacks.EarlyStopping("val_return", mode="max")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (stop, lambda: Scores(1)),
        (stop, lambda: rl.callbacks.Evaluate(toy.Identity)),
        (
            lambda: keras.callbacks.ModelCheckpoint("x.keras", "val_return"),
            lambda: Scores(1),
        ),
        (
            lambda: keras.callbacks.ModelCheckpoint("{val_return:.1f}.keras"),
            lambda: Scores(1),
        ),
        (
            lambda: keras.callbacks.ReduceLROnPlateau("val_length"),
            lambda: Scores(1),
        ),
        (lambda: keras.callbacks.CSVLogger("x.csv"), lambda: Scores(1)),
        (
            lambda: keras.callbacks.CSVLogger("x.csv"),
            lambda: rl.callbacks.Evaluate(toy.Identity, name="hard"),
        ),
        (lambda: keras.callbacks.TensorBoard("x"), lambda: Scores(1)),
        (lambda: rl.callbacks.TensorBoard("x"), lambda: Scores(1)),
        (lambda: rl.callbacks.Checkpoint("x"), stop),
        (
            lambda: rl.callbacks.Checkpoint("x"),
            lambda: keras.callbacks.ReduceLROnPlateau("loss"),
        ),
        (swap, lambda: rl.callbacks.Checkpoint("x")),
    ],
)
def test_wrong_order(living, first, second):
    callbacks = [first(), second()]
    names = [type(callback).__name__ for callback in callbacks]
    fix = f"put `{names[1]}` before `{names[0]}`"
    with pytest.raises(ValueError, match=fix):
        living.fit(*callbacks)


@pytest.mark.parametrize("monitor", ["return", "env_steps", "length"])
def test_nothing_that_reads_the_return_stands_before_collect(living, monitor):
    for first in (
        keras.callbacks.EarlyStopping(monitor, mode="max"),
        keras.callbacks.CSVLogger("x.csv"),
    ):
        with pytest.raises(ValueError, match="put `Collect` before `"):
            living.agent.fit(
                living.replay.dataset(8),
                steps_per_epoch=8,
                callbacks=[first, living.collect(), living.targets],
            )


@pytest.mark.parametrize("monitor", ["val_return", "val_length"])
def test_what_is_monitored_is_written(living, monitor):
    stop = keras.callbacks.EarlyStopping(monitor, mode="max")
    with pytest.raises(ValueError, match=f"'{monitor}', which nothing would"):
        living.fit(stop)

    class Own(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs[monitor] = 1.0

    function = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update({monitor: 1.0})
    )
    for own in (Own(), function):
        living.fit(own, stop, epochs=1)
        assert stop.best == 1.0


def test_a_schedule_that_has_ended(living):
    # From 0 to 0.1 and back, in 8 updates.
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, 4, warmup_target=0.1, warmup_steps=4
    )
    living = Living(optimizer=keras.optimizers.SGD(schedule))
    living.fit()
    with pytest.raises(ValueError, match="come to its end.* after 8 updates"):
        living.fit()
    living.agent.compile(keras.optimizers.SGD(0.1), steps_per_execution=4)
    living.fit()


def test_order_of_a_callback_list(living):
    # As `fit` takes it: the same checks.
    callbacks = keras.callbacks.CallbackList(
        [living.targets, stop(), Scores(1)], model=living.agent
    )
    with pytest.raises(ValueError, match="put `Scores` before"):
        living.agent.fit(living.replay.dataset(8), callbacks=callbacks)
