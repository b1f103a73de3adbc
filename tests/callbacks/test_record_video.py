import glob
import io

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from PIL import Image

import keras_rl2x as rl
from keras_rl2x.acting import Policy
from keras_rl2x.envs import toy
from tests.callbacks.living import Living


@pytest.fixture(scope="module")
def living():
    return Living("CartPole-v1")


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def images(directory):
    """Pairs (step, image) in the event files."""
    found = []
    for path in glob.glob(f"{directory}/events*"):
        for record in tf.data.TFRecordDataset(path):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "images"
                width, height, data = tf.make_ndarray(value.tensor)
                image = Image.open(io.BytesIO(data))
                assert image.size == (int(width), int(height))
                found.append((event.step, image))
    return sorted(found, key=lambda pair: pair[0])


def milliseconds(image):
    """How long each of the frames is shown; equal ones are one frame."""
    durations = []
    for i in range(image.n_frames):
        image.seek(i)
        durations.append(image.info["duration"])
    return durations


def test_records_every_second_epoch(living, tmp_path):
    record = rl.callbacks.RecordVideo(
        "CartPole-v1", tmp_path, every=2, width=120
    )
    logs = living.fit(record, epochs=4)
    steps = [logs["env_steps"][1], logs["env_steps"][3]]
    files = sorted(glob.glob(f"{tmp_path}/*.gif"))
    names = [f"{tmp_path}/episode_{step:09d}.gif" for step in steps]
    assert files == names
    assert len(glob.glob(f"{tmp_path}/events*")) == 1
    in_events = images(tmp_path)
    assert [step for step, _ in in_events] == steps
    for image in [*map(Image.open, files), *(i for _, i in in_events)]:
        assert image.format == "GIF"
        assert image.n_frames >= 5
        assert image.size == (120, 80)
        # 50 a second; a pole takes at least 8 steps to fall.
        assert sum(milliseconds(image)) >= 8 * 20
        assert {duration % 20 for duration in milliseconds(image)} == {0}
    # It moves: the last frame is another than the first.
    with Image.open(files[0]) as image:
        first = image.convert("RGB").tobytes()
        image.seek(image.n_frames - 1)
        assert image.convert("RGB").tobytes() != first


def test_records_now_and_again(living, tmp_path):
    record = rl.callbacks.RecordVideo(
        "CartPole-v1", tmp_path, episodes=50, max_images=12
    )
    with Image.open(record.record(living.agent)) as image:
        assert sum(milliseconds(image)) == 12 * 20
    living.fit(record)
    with Image.open(record.record(living.agent)) as image:
        assert sum(milliseconds(image)) == 12 * 20


@pytest.mark.parametrize(
    ("fps", "each", "duration"), [(30, 1, 30), (60, 2, 30), (125, 3, 20)]
)
def test_a_second_lasts_a_second(
    living, tmp_path, monkeypatch, fps, each, duration
):
    # Browsers slow down what has more than 50 frames a second.
    metadata = {**CartPoleEnv.metadata, "render_fps": fps}
    monkeypatch.setattr(CartPoleEnv, "metadata", metadata)
    record = rl.callbacks.RecordVideo("CartPole-v1", tmp_path, episodes=50)
    steps = 12 * each
    with monkeypatch.context() as patch:
        patch.setattr(record, "max_images", 12)
        with Image.open(record.record(living.agent)) as image:
            shown = milliseconds(image)
    assert {time % duration for time in shown} == {0}
    assert sum(shown) == 12 * duration
    assert abs(sum(shown) / 1_000 - steps / fps) < 0.2 * steps / fps


def test_plays_greedily_or_not(living, tmp_path, monkeypatch):
    played = []
    play = Policy.play

    def look(self, envs, episodes, seed, greedy=True, on_step=None):
        played.append(greedy)
        return play(self, envs, episodes, seed, greedy, on_step)

    monkeypatch.setattr(Policy, "play", look)
    for arguments in ({}, {"greedy": False}):
        record = rl.callbacks.RecordVideo("CartPole-v1", tmp_path, **arguments)
        record.record(living.agent)
    assert played == [True, False]
    with pytest.raises(ValueError, match="`greedy` must be `True`"):
        rl.callbacks.RecordVideo("CartPole-v1", tmp_path, greedy=1)


def test_records_alike(living, tmp_path):
    images = []
    for _ in range(2):
        record = rl.callbacks.RecordVideo("CartPole-v1", tmp_path)
        with open(record.record(living.agent), "rb") as file:
            images.append(file.read())
    assert images[0] == images[1]


def test_leaves_other_renderers_alone(living, tmp_path):
    with rl.envs.make("CartPole-v1", render_mode="rgb_array") as envs:
        envs.reset(seed=0)
        rl.callbacks.RecordVideo("CartPole-v1", tmp_path).record(living.agent)
        envs.step(envs.action_space.sample())
        assert envs.render()[0].shape == (400, 600, 3)


def test_another_environment(living, tmp_path):
    record = rl.callbacks.RecordVideo("Acrobot-v1", tmp_path)
    with pytest.raises(ValueError, match="made for other actions"):
        record.record(living.agent)


def test_environment_without_pictures(tmp_path):
    with pytest.raises(TypeError, match="which the function.*must take"):
        rl.callbacks.RecordVideo(toy.Bandit, tmp_path)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (None, "None"),
        (np.zeros((8, 8, 3)), r"shape \(8, 8, 3\) and dtype float64"),
        (np.zeros((3, 8, 8), "u1"), r"shape \(3, 8, 8\) and dtype uint8"),
        (NotImplementedError(), "None"),
    ],
)
def test_what_is_no_picture(frame, told, tmp_path):
    class Odd(toy.Bandit):
        metadata = {"render_modes": ["rgb_array"]}

        def __init__(self, render_mode):
            super().__init__()
            self.render_mode = render_mode

        def render(self):
            if isinstance(frame, Exception):
                raise frame
            return frame

    with pytest.raises(ValueError, match=f"of uint8 .*Received: .*{told}"):
        rl.callbacks.RecordVideo(Odd, tmp_path)


def test_faults_of_the_environment_are_not_covered_up(tmp_path):
    class Broken(toy.Bandit):
        def __init__(self, render_mode, size=1):
            super().__init__()
            self.render_mode = render_mode

        def render(self):
            return self.screen

    with pytest.raises(AttributeError, match="no attribute 'screen'"):
        rl.callbacks.RecordVideo(Broken, tmp_path)
    with pytest.raises(TypeError, match="^[^`]*argument 'sise'"):
        rl.callbacks.RecordVideo(Broken, tmp_path, sise=2)


@pytest.mark.parametrize("name", ["every", "episodes", "max_images", "width"])
def test_wrong_numbers(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name}=0"):
        rl.callbacks.RecordVideo("CartPole-v1", tmp_path, **{name: 0})
