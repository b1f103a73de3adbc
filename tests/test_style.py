"""The rules of pyproject.toml hold in every file."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize("rule", [["check"], ["format", "--check"]], ids=str)
def test_style(rule):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *rule, "--no-cache", str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stdout + done.stderr
