import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest.mock

import keras
import pytest

import keras_rl2x as rl
from keras_rl2x import cli

SMALL = [
    "collect.warmup=100",
    "collect.chunk=4",
    "evaluate.episodes=2",
    "network.units=[8]",
    "replay.capacity=1000",
    "replay.prioritized=true",
]


@pytest.fixture(autouse=True, scope="module")
def environment():
    """The command line sets variables, which are for its own process."""
    with unittest.mock.patch.dict(os.environ):
        yield


def train(log_dir, *more, env="CartPole-v1", env_steps=600, epochs=2):
    settings = [f"epochs={epochs}", *SMALL]
    return [
        *["train", "dqn", env, "--log-dir", str(log_dir)],
        *["--env-steps", str(env_steps)],
        *(word for setting in settings for word in ("--set", setting)),
        *more,
    ]


def start(arguments, **kwargs):
    """A process of its own, as a shell would start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "keras_rl2x.cli", *map(str, arguments)],
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        **kwargs,
    )


def history(log_dir):
    """The rows of history.csv, but for how long things took."""
    with open(log_dir / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["env_steps_per_second"]
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a short run left and printed; do not change it."""
    log_dir = tmp_path_factory.mktemp("trained") / "a run"
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert cli.main(train(log_dir)) == 0
    return log_dir, output.getvalue()


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "copied")


def test_train_leaves_everything(trained):
    log_dir, output = trained
    rows = history(log_dir)
    assert [row["epoch"] for row in rows] == ["0", "1"]
    # One less if the last step but reset: the next collection makes up for it.
    env_steps = float(rows[-1]["env_steps"])
    assert env_steps in (599, 600)
    assert {"return", "loss", "val_return"} < set(rows[0])
    evaluation = json.loads((log_dir / "evaluation.json").read_text())
    assert evaluation["episodes"] == 100
    settings = json.loads((log_dir / "settings.json").read_text())
    assert settings["network"]["units"] == [8]
    assert settings["env_id"] == "CartPole-v1"
    assert list(log_dir.glob("events*"))
    assert os.listdir(log_dir / "checkpoints")
    agent = rl.load(log_dir / "agent.keras")
    assert agent.env_steps.numpy() == env_steps
    assert re.search(r"return: .* - loss: ", output)  # The progress bar.
    assert (
        f"Greedy return over 100 episodes: {evaluation['mean']:.1f}" in output
    )
    for name in ("agent.keras", "history.csv"):
        assert str(log_dir / name) in output


def test_train_says_what_to_type_next(trained, capsys):
    command = re.search("keras-rl2x (evaluate .*)", trained[1])[1]
    assert cli.main([*shlex.split(command), "--episodes", "3"]) == 0
    assert "Greedy return over 3 episodes" in capsys.readouterr().out


def test_evaluate_prints_one_json_object(trained):
    agent = trained[0] / "agent.keras"
    arguments = ["evaluate", agent, "CartPole-v1", "--episodes", 4, "--json"]
    process = start(
        [*arguments, "--seed", 5],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    result = json.loads(output)
    summary = ["mean", "std", "min", "max", "episodes"]
    assert list(result) == [*summary, "returns", "lengths"]
    assert result == rl.evaluate(agent, "CartPole-v1", episodes=4, seed=5)
    assert result["min"] <= result["mean"] <= result["max"]
    assert result["episodes"] == 4


def test_play_records(trained, tmp_path, capsys):
    agent = str(trained[0] / "agent.keras")
    video = tmp_path / "video"
    arguments = ["play", agent, "CartPole-v1", "--video", str(video)]
    assert cli.main(arguments) == 0
    [recorded] = video.glob("*.gif")
    assert str(recorded) in capsys.readouterr().out


def test_play_shows(trained, monkeypatch, capsys):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    agent = str(trained[0] / "agent.keras")
    assert cli.main(["play", agent, "CartPole-v1", "--episodes", "2"]) == 0
    assert re.search(r"Returns: \d+\.0, \d+\.0\n", capsys.readouterr().out)


def test_play_without_a_display(trained, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    agent = trained[0] / "agent.keras"
    assert "no display" in refused(["play", agent, "CartPole-v1"], capsys)


def test_list(capsys):
    assert cli.main(["list"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"(?m)^dqn: any environment; presets for", output)
    assert re.search(r"CartPole-v1 +50,000 steps, aims at 475", output)


def refused(arguments, capsys):
    """The one line that a refused command prints."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("keras-rl2x: ")
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dqm", "CartPole-v1"], "did you mean 'dqn'?"),
        (["train", "dqn", "CartPol-v1"], "CartPole"),
        (["train", "dqn", "Nothing-v0"], "Nothing"),
        (["evaluate", "missing.keras", "CartPole-v1"], "no such file"),
        (["play", "missing.keras", "CartPole-v1"], "no such file"),
        (["train", "dqn", "CartPole-v1", "--resume"], "no run to resume"),
        (
            ["train", "dqn", "CartPole-v1", "--resume", "--log-dir", "none"],
            "no run to resume",
        ),
        (["train", "dqn", "CartPole-v1", "--num-envs", "0"], "num_envs=0"),
        (["train", "dqn", "CartPole-v1", "--env-steps", "500"], "too few"),
        (["train", "dqn", "Pendulum-v1"], "acts in a `Discrete` space only"),
    ],
)
def test_refused(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(arguments, capsys)
    assert os.listdir(tmp_path) == []  # Nothing was begun.


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("agent.doubel=false", "did you mean 'agent.double'?"),
        ("double=false", "did you mean 'agent.double'?"),
        ("agent.double.x=1", "no setting of this name"),
        ("agent.double", "written NAME=VALUE"),
        (
            "agent.double=False",
            "'agent.double' must be `True` or `False`, like True",
        ),
        (
            "agent.double=1",
            "'agent.double' must be `True` or `False`, like True",
        ),
        ("agent={}", "'agent' must be set one by one, as 'agent.double'"),
        ("agent.loss=hubris", "loss='hubris'"),
        ("agent.head=3", "'agent.head' must be a name, like 'dueling'"),
        ("epochs=2.5", "'epochs' must be a whole number, like"),
        ("epochs=true", "'epochs' must be a whole number, like"),
        ("epochs=Infinity", "'epochs' must be a whole number, like"),
        ("epochs=0", "must be positive"),
        ("collect.chunk=0", "must be positive"),
        ("collect.env_steps_per_update=0", "must be positive"),
        ("network.units=8", "'network.units' must be a list, like"),
        ("network.kind=cnn", "one of ['auto', 'mlp', 'nature_cnn'"),
        ("network.kind=nature_cnn", "needs images"),
        ("network.kind=impala_cnn", "needs images"),
        ("network.dtype=mixed_bfloat16", "for convolutional networks only"),
        ("replay.gamma=high", "'replay.gamma' must be a number, like"),
        ('replay.gamma={"from": 0, "to": 1, "over": 1}', "'replay.gamma'"),
        ("replay.gamma=1.5", "gamma=1.5"),
        ("replay.capacity=1e13", "lower `capacity`"),
        ('agent.epsilon={"from": 1}', "'agent.epsilon' must be a number, or"),
        ("env.vectorization=threads", "vectorization='threads'"),
    ],
)
def test_refused_settings(setting, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "dqn", "CartPole-v1", "--set", setting]
    assert message in refused(arguments, capsys)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=false", ("a.b", False)),
        ("a.b=0.5", ("a.b", 0.5)),
        ("a.b=3", ("a.b", 3)),
        ("a.b=null", ("a.b", None)),
        ("a.b=dueling", ("a.b", "dueling")),
        ("a.b=[8, 8]", ("a.b", [8, 8])),
        (
            'a.b={"from": 1, "to": 0, "over": 1}',
            ("a.b", {"from": 1, "to": 0, "over": 1}),
        ),
        ("a.b=x=y", ("a.b", "x=y")),
    ],
)
def test_settings_are_parsed(text, expected):
    assert cli.parse_setting(text) == expected


def test_run_that_was_begun(copied, capsys):
    assert "holds a run already" in refused(train(copied), capsys)
    other = train(copied, "--resume", "--set", "agent.double=false")
    message = refused(other, capsys)
    assert "agent.double: True before, False now" in message
    other = train(copied, "--resume", env="Acrobot-v1")
    assert "env_id: CartPole-v1 before, Acrobot-v1 now" in refused(
        other, capsys
    )
    other = train(copied, "--resume", "--seed", "1")
    assert "seed: 0 before, 1 now" in refused(other, capsys)


def test_a_resumed_run_needs_no_settings(copied, trained, capsys):
    folder = ["--log-dir", str(copied), "--resume"]
    shutil.rmtree(copied / "checkpoints" / "epoch_000002")
    assert cli.main(["train", "dqn", "CartPole-v1", *folder]) == 0
    assert history(copied) == history(trained[0])
    assert "epoch_000001: 1 of 2 epochs are done" in capsys.readouterr().out


def test_resume_of_a_finished_run(copied, trained):
    (copied / "agent.keras").unlink()
    assert cli.main(train(copied, "--resume")) == 0
    assert history(copied) == history(trained[0])
    agents = [rl.load(f / "agent.keras") for f in (copied, trained[0])]
    for one, other in zip(*(agent.get_weights() for agent in agents)):
        assert (one == other).all()


@pytest.mark.parametrize("checkpoints", [0, 1])
def test_killed_run_is_resumed_without_a_trace(copied, trained, checkpoints):
    # Killed in the second epoch, or in the first; its row was written.
    os.remove(copied / "agent.keras")
    numbers = [1, 2][checkpoints:]
    for number in numbers:
        shutil.rmtree(copied / "checkpoints" / f"epoch_{number:06d}")
    assert cli.main(train(copied, "--resume")) == 0
    assert history(copied) == history(trained[0])
    best = [rl.load(f / "best.keras") for f in (copied, trained[0])]
    assert best[0].env_steps.numpy() == best[1].env_steps.numpy()
    evaluations = [
        (folder / "evaluation.json").read_text()
        for folder in (copied, trained[0])
    ]
    assert evaluations[0] == evaluations[1]


@pytest.mark.parametrize("kept", [0, 100, 5000, -1000])
def test_damaged_agent(copied, kept, capsys):
    path = copied / "agent.keras"
    data = path.read_bytes()
    path.write_bytes(data[:kept])
    message = refused(["evaluate", path, "CartPole-v1"], capsys)
    assert f"{path} cannot be loaded" in message


def test_agent_with_damaged_bytes(copied, capsys):
    path = copied / "agent.keras"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = b"?" * 200
    path.write_bytes(data)
    message = refused(["evaluate", path, "CartPole-v1"], capsys)
    assert f"{path} cannot be loaded" in message


def test_file_that_holds_no_agent(tmp_path, capsys):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    message = refused(["play", path, "CartPole-v1"], capsys)
    assert "does not hold an agent. Received: Sequential" in message


def test_agent_of_another_environment(trained, capsys):
    agent = trained[0] / "agent.keras"
    for command in ("evaluate", "play"):
        message = refused([command, agent, "Acrobot-v1"], capsys)
        assert "made for other actions" in message


def wait_for(path, process):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_interrupted_run_says_how_to_go_on(tmp_path):
    log_dir = tmp_path / "a run"
    size = {"env_steps": 2_000, "epochs": 15}
    process = start(train(log_dir, **size), stdout=subprocess.PIPE)
    wait_for(log_dir / "checkpoints" / "epoch_000002", process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130
    assert "saving at the end of this epoch" in output
    assert not (log_dir / "agent.keras").exists()
    assert 2 <= len(history(log_dir)) < 15
    command = re.search(r"To go on: \S*keras-rl2x (.*)", output)[1]
    process = start(shlex.split(command), stdout=subprocess.PIPE)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert "Epoch 1/15" not in output and "Epoch 15/15" in output
    # As if nothing had happened. (Here there may be more threads, which some
    # processors round otherwise with.)
    whole = tmp_path / "whole"
    process = start(train(whole, **size), stdout=subprocess.PIPE)
    process.communicate()
    assert process.returncode == 0
    assert history(log_dir) == history(whole)
    assert (log_dir / "agent.keras").exists()


def test_interruption_spares_the_processes_of_environments(tmp_path):
    log_dir = tmp_path / "run"
    workers = ["--set", "env.vectorization=async", "--set", "env.num_envs=2"]
    process = start(
        train(log_dir, *workers, env_steps=2_000, epochs=15),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(log_dir / "checkpoints" / "epoch_000002", process)
    # As a terminal does: to all processes of the group.
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130
    assert "saving at the end of this epoch" in output
    assert re.search(r"To go on: \S*keras-rl2x train", output)


def test_second_interruption_stops(tmp_path):
    process = start(
        train(tmp_path / "run", env_steps=100_000, epochs=1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for text in ("/step", "Press Ctrl-C again"):
        while text not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors and "keras-rl2x: stopped" in errors
    assert "Saved" not in output


def test_evaluates_in_the_environment_of_the_run(copied, capsys):
    path = copied / "settings.json"
    settings = json.loads(path.read_text())
    settings["env"]["sutton_barto_reward"] = True  # -1 at the end, else 0.
    path.write_text(json.dumps(settings))
    arguments = ["--episodes", "2", "--json"]
    agent = str(copied / "agent.keras")
    assert cli.main(["evaluate", agent, "CartPole-v1", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["max"] in (-1, 0)
    for others in ({**settings, "env_id": "Another-v0"}, {"tab_size": 4}):
        path.write_text(json.dumps(others))
        assert cli.main(["evaluate", agent, "CartPole-v1", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["min"] > 1


def test_evaluates_as_the_run_did(copied, capsys):
    agent = str(copied / "agent.keras")
    evaluate = ["evaluate", agent, "CartPole-v1", "--episodes", "40"]
    assert cli.main(evaluate) == 0
    greedy = capsys.readouterr().out
    path = copied / "settings.json"
    settings = json.loads(path.read_text())
    settings["evaluate"]["greedy"] = False
    path.write_text(json.dumps(settings))
    assert cli.main(evaluate) == 0
    exploring = capsys.readouterr().out
    assert exploring.startswith("Return with exploration, over 40 episodes:")
    result = rl.evaluate(agent, "CartPole-v1", episodes=40, greedy=False)
    assert f" {result['mean']:.1f} +- " in exploring
    assert exploring.split(":")[1] != greedy.split(":")[1]


def test_videos_are_of_the_environment_of_the_run(copied, monkeypatch, capsys):
    path = copied / "settings.json"
    settings = json.loads(path.read_text())
    pong = rl.presets.get("dqn", "ALE/Pong-v5")
    settings |= {"env_id": "ALE/Pong-v5", "env": pong["env"]}
    path.write_text(json.dumps({**settings, "evaluate": pong["evaluate"]}))
    made = []

    class Recorder(rl.callbacks.RecordVideo):
        def record(self, agent):
            made.append(self)
            return "a video"

    monkeypatch.setattr(rl.callbacks, "RecordVideo", Recorder)
    agent, videos = str(copied / "agent.keras"), str(copied / "videos")
    assert cli.main(["play", agent, "ALE/Pong-v5", "--video", videos]) == 0
    [recorder] = made
    assert recorder.max_images == 3_000 and not recorder.greedy


def test_says_that_there_is_no_preset(tmp_path, capsys):
    # DQN refuses continuous actions: nothing is trained.
    arguments = ["train", "dqn", "Pendulum-v1", "--log-dir", str(tmp_path)]
    assert cli.main(arguments) == 2
    output = capsys.readouterr().out
    assert "no preset of dqn for Pendulum-v1: using its defaults" in output
    arguments = ["train", "dqn", "ALE/Asterix-v5", "--env-steps", "1"]
    assert cli.main([*arguments, "--log-dir", str(tmp_path)]) == 2
    output = capsys.readouterr().out
    assert "for ALE/Asterix-v5: using that of other Atari games" in output


def test_commands_are_shown_as_they_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "some").touch(mode=0o755)
    monkeypatch.setattr(cli.sysconfig, "get_path", lambda _: str(scripts))
    assert cli._typed("some") == os.path.join(".venv", "bin", "some")
    monkeypatch.setenv("PATH", str(scripts))
    assert cli._typed("some") == "some"
    # Started without its script, as by `python -m keras_rl2x.cli`.
    assert cli._typed("other") == "other"
