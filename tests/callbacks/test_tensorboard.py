import glob
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

import keras_rl2x as rl
from tests.callbacks.living import Living


def read(directory):
    """The scalars, `{name: {step: value}}`, and the HParams of a run."""
    scalars, settings = {}, {}
    for path in glob.glob(f"{directory}/events*"):
        for record in tf.data.TFRecordDataset(path):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                plugin = value.metadata.plugin_data
                if plugin.plugin_name == "hparams":
                    data = plugin_data_pb2.HParamsPluginData.FromString(
                        plugin.content
                    )
                    for name, v in data.session_start_info.hparams.items():
                        settings[name] = getattr(v, v.WhichOneof("kind"))
                else:
                    number = tf.make_ndarray(value.tensor).item()
                    scalars.setdefault(value.tag, {})[event.step] = number
    return scalars, settings


@pytest.fixture(scope="module")
def living():
    return Living()


def test_curves_against_env_steps(living, tmp_path):
    board = rl.callbacks.TensorBoard(tmp_path)
    logs = living.fit(board, epochs=3)
    assert not living.agent.fit_callbacks
    scalars, _ = read(tmp_path)
    assert {"return", "length", "env_steps_per_second"} < set(scalars)
    for name in ("loss", "q_value", "td_error"):
        assert list(scalars[name]) == logs["env_steps"]
        np.testing.assert_allclose(
            list(scalars[name].values()), logs[name], rtol=1e-6
        )
    assert "env_steps" not in scalars  # It is the axis.
    assert set(scalars["epsilon"].values()) == {0.5}
    np.testing.assert_allclose(list(scalars["learning_rate"].values()), 0.01)


def test_settings(living, tmp_path):
    settings = {
        "agent": {"double": True, "head": None},
        "optimizer": {"learning_rate": np.float32(0.5)},
        "network": {"units": (64, 64)},
        "env_id": "CartPole-v1",
        "seed": 3,
    }
    living.fit(rl.callbacks.TensorBoard(tmp_path, settings))
    assert read(tmp_path)[1] == {
        "agent.double": True,
        "optimizer.learning_rate": 0.5,
        "network.units": "(64, 64)",
        "env_id": "CartPole-v1",
        "seed": 3,
    }


def test_settings_of_the_agent_by_default(living, tmp_path):
    living.fit(rl.callbacks.TensorBoard(tmp_path))
    settings = read(tmp_path)[1]
    assert settings["agent.double"] is True
    assert settings["agent.epsilon"] == 0.5
    np.testing.assert_allclose(settings["optimizer.learning_rate"], 0.01)


def test_what_other_callbacks_write(living, tmp_path):
    class Write(keras.callbacks.Callback):
        writes = ("val_return",)

        def on_epoch_end(self, epoch, logs=None):
            logs["val_return"] = 7.0

    living.fit(Write(), rl.callbacks.TensorBoard(tmp_path))
    assert list(read(tmp_path)[0]["val_return"].values()) == [7.0]


def test_a_full_disk_ends_no_training(living, tmp_path):
    class FullDisk(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))

        def on_fit_exit(self):
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    board = rl.callbacks.TensorBoard(tmp_path, {"text": "long" * 500})
    with pytest.warns(UserWarning, match="events could not be written: .*goes"):
        logs = living.fit(FullDisk(), board, epochs=2)
    assert len(logs["loss"]) == 2


def test_second_fit_goes_on_with_the_curves(living, tmp_path):
    board = rl.callbacks.TensorBoard(tmp_path)
    steps = living.fit(board)["env_steps"] + living.fit(board)["env_steps"]
    assert sorted(read(tmp_path)[0]["loss"]) == steps
