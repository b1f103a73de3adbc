"""Every tutorial runs from top to bottom, and what it asserts holds."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


def _run(tutorial, folder, **environment):
    done = subprocess.run(
        [sys.executable, str(tutorial)],
        cwd=folder,
        # What it writes into temporary folders is deleted with this one.
        env={**os.environ, "TMPDIR": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_there_are_tutorials():
    numbers = [path.name[:2] for path in TUTORIALS]
    assert numbers == ["01", "02", "03", "04", "05", "06", "07"]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_fast(tutorial, tmp_path):
    assert _run(tutorial, tmp_path, KERAS_RL2X_FAST="1")


def test_files_go_where_the_reader_says(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    _run(TUTORIALS[1], tmp_path, KERAS_RL2X_FAST="1", KERAS_RL2X_RUNS=str(runs))
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert list(runs.rglob("best.keras"))


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_in_full(tutorial, tmp_path):
    assert _run(tutorial, tmp_path, KERAS_RL2X_FAST="0")
