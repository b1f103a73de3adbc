"""Tests for keras_rl2x.run_folder."""

import os
import re

import pytest

from keras_rl2x import run_folder

SETTINGS = {"algorithm": "dqn", "env_id": "ALE/Pong-v5", "seed": 3}


def test_new_folders_have_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ("dqn-ALE-Pong-v5-seed3", "dqn-ALE-Pong-v5-seed3-1"):
        run_folder.check(None, SETTINGS, resume=False)
        folder = run_folder.claim(SETTINGS)
        assert folder == f"runs/{expected}"
        assert os.listdir(folder) == []  # No other run can take it now.
        run_folder.begin(folder, SETTINGS, epoch=0)
        assert run_folder.read_settings(folder) == SETTINGS


def test_a_run_that_failed_at_once_leaves_its_folder(tmp_path):
    folder = tmp_path / "run"
    run_folder.begin(folder, SETTINGS, epoch=0)
    (folder / run_folder.HISTORY).write_text("")
    run_folder.give_up(folder, claimed=False)
    run_folder.check(folder, {}, resume=False)
    run_folder.begin(folder, SETTINGS, epoch=0)
    (folder / run_folder.HISTORY).write_text("epoch,return\n0,1.0\n")
    run_folder.give_up(folder, claimed=True)
    assert run_folder.read_settings(folder) == SETTINGS
    for claimed in (False, True):
        empty = tmp_path / str(claimed)
        empty.mkdir()
        run_folder.give_up(empty, claimed)
        assert empty.exists() != claimed


def test_a_resumed_run_keeps_its_settings(tmp_path):
    assert run_folder.read_settings(tmp_path) is None
    run_folder.begin(tmp_path, {**SETTINGS, "units": (4, 4)}, epoch=0)
    settings = {**SETTINGS, "units": (4, 4)}  # A list, as JSON has it.
    run_folder.check(tmp_path, settings, resume=True)
    run_folder.begin(tmp_path, {}, epoch=1)
    assert run_folder.read_settings(tmp_path)["algorithm"] == "dqn"


def test_other_settings_are_named(tmp_path):
    begun = {"agent": {"double": True, "loss": "huber"}, "seed": 1}
    run_folder.begin(tmp_path, begun, epoch=0)
    now = {"agent": {"double": False, "loss": "huber"}, "seed": 1, "new": 2}
    differing = "['agent.double: True before, False now', 'new: None before"
    with pytest.raises(ValueError, match=re.escape(differing)):
        run_folder.check(tmp_path, now, resume=True)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff\xfe"])
def test_damaged_settings_are_named(tmp_path, text):
    path = tmp_path / run_folder.SETTINGS
    path.write_bytes(text.encode("latin-1"))
    named = f"{re.escape(str(path))} is damaged"
    for resume in (False, True):
        with pytest.raises(ValueError, match=named):
            run_folder.check(tmp_path, SETTINGS, resume)
    with pytest.raises(ValueError, match=named):
        run_folder.read_settings(tmp_path)


def test_checkpoints_without_settings_are_no_new_run(tmp_path):
    folder = tmp_path / run_folder.CHECKPOINTS
    folder.mkdir()
    run_folder.check(tmp_path, SETTINGS, resume=False)
    (folder / "epoch_000003").mkdir()
    with pytest.raises(ValueError, match="without its settings.json: bring"):
        run_folder.check(tmp_path, SETTINGS, resume=False)


def test_epochs_that_are_trained_again_leave_the_history(tmp_path):
    path = tmp_path / run_folder.HISTORY
    path.write_text("")
    run_folder.begin(tmp_path, SETTINGS, epoch=3)
    assert path.read_text() == ""
    path.write_text("epoch,return\n0,1.0\n2,2.0\n3,3.0\n")
    run_folder.begin(tmp_path, SETTINGS, epoch=3)
    assert path.read_text().split() == ["epoch,return", "0,1.0", "2,2.0"]


@pytest.mark.parametrize("line", ["", "x,1.0"])
def test_a_damaged_history_is_named(tmp_path, line):
    path = tmp_path / run_folder.HISTORY
    text = f"epoch,return\n{line}\n"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history\.csv is damaged.*Move it"):
        run_folder.begin(tmp_path, SETTINGS, epoch=3)
    assert path.read_text() == text
