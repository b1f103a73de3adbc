import csv
import json
import os
import shutil
import subprocess
import sys

import learning
import pytest

from tests.benchmarks.conftest import BENCHMARKS

pytest.importorskip("matplotlib")

TINY = (
    *("--env-steps", "200", "--set", "epochs=2", "--set", "collect.chunk=16"),
    *("--set", "collect.warmup=64", "--set", "network.units=[8]"),
    *("--set", "evaluate.episodes=2"),
)


def run(folder, env, *arguments):
    return subprocess.run(
        [
            sys.executable,
            os.path.join(BENCHMARKS, "learning.py"),
            *("dqn", env, "--out", str(folder), "--runs", str(folder / "runs")),
            *arguments,
        ],
        capture_output=True,
        text=True,
    )


def test_trains_each_seed_and_reports_them(tmp_path):
    done = run(tmp_path, "CartPole-v1", *TINY, "--seeds", "2", "--json")
    assert not done.returncode, done.stderr
    report = json.loads(done.stdout)
    with open(tmp_path / "dqn_CartPole-v1.json") as file:
        text = file.read()
    assert json.loads(text) == report
    assert str(tmp_path) not in text
    assert [result["seed"] for result in report["results"]] == [0, 1]
    means = [result["mean"] for result in report["results"]]
    assert report["worst"] == min(means)
    assert report["iqm_low"] <= report["iqm"] <= report["iqm_high"]
    assert report["settings"]["network"]["units"] == [8]
    with open(tmp_path / "dqn_CartPole-v1_curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["epoch"]) for row in rows] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
        ("1", "1"),
    ]
    with open(tmp_path / "dqn_CartPole-v1.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"

    done = run(
        tmp_path, "CartPole-v1", *TINY, "--seeds", "2", "--json", "--reuse"
    )
    assert not done.returncode, done.stderr
    assert "seed" not in done.stderr  # Nothing was trained again.
    assert json.loads(done.stdout)["results"] == report["results"]

    # As if it had been interrupted in its second epoch.
    seed = tmp_path / "runs" / "dqn_CartPole-v1" / "seed1"
    (seed / "result.json").unlink()
    shutil.rmtree(seed / "checkpoints" / "epoch_000002")
    done = run(
        tmp_path, "CartPole-v1", *TINY, "--seeds", "2", "--json", "--reuse"
    )
    assert not done.returncode, done.stderr
    assert "seed 0" not in done.stderr and "seed 1" in done.stderr
    results = json.loads(done.stdout)["results"]
    assert [r["mean"] for r in results] == means
    assert len((seed / "history.csv").read_text().splitlines()) == 3


def test_only_runs_with_the_same_settings_are_reused(tmp_path):
    settings = {"epochs": 2}
    assert not learning._was_begun(tmp_path, settings)
    (tmp_path / "settings.json").write_text('{"epochs": 2, "seed": 0}')
    assert learning._was_begun(tmp_path, settings)
    assert not learning._was_begun(tmp_path, {"epochs": 3})


def test_seed_that_fails_is_reported(tmp_path):
    done = run(tmp_path, "NoSuchEnv-v0", *TINY, "--seeds", "1")
    assert done.returncode == 1
    assert "Seed 0 failed with status 1" in done.stderr
    assert "NoSuchEnv" in done.stderr
    assert not (tmp_path / "dqn_NoSuchEnv-v0.json").exists()


def test_unknown_setting_is_refused_before_anything_is_trained(tmp_path):
    done = run(tmp_path, "CartPole-v1", "--set", "agent.dobule=false")
    assert done.returncode == 1
    assert "did you mean 'agent.double'?" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("jobs", "threads", "between"), [(1, "3", None), (2, "1", "1")]
)
def test_threads_are_the_presets_unless_seeds_share_the_cores(
    monkeypatch, jobs, threads, between
):
    for name in ("INTEROP_THREADS", "INTRAOP_THREADS"):
        monkeypatch.delenv(f"TF_NUM_{name}", raising=False)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    variables = learning._environment({"threads": 3, "onednn": False}, jobs)
    assert variables["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert variables["TF_NUM_INTRAOP_THREADS"] == threads
    assert variables.get("TF_NUM_INTEROP_THREADS") == between
