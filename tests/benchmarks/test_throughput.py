import json
import os
import subprocess
import sys
import time

import keras
import pytest
import throughput
import throughput_parts

import keras_rl2x as rl
from tests.benchmarks.conftest import BENCHMARKS


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, os.path.join(BENCHMARKS, script), *arguments],
        capture_output=True,
        text=True,
    )


def side(env_steps_per_s, **others):
    return {
        "env_steps_per_s": env_steps_per_s,
        "updates_per_s": env_steps_per_s / 2,
        "startup_s": 3.0,
        "compile_s": 2.0,
        "peak_mb": 100.0,
        "threads": 2,
        "device": "cpu",
        "versions": {"python": "3"},
        **others,
    }


# What tests leave of the jobs, beside the number of steps.
_OFF_POLICY = {"warmup": 64, "units": (8,), "ours": {"chunk": 16}}
TINY = {
    "dqn-cartpole": _OFF_POLICY,
    "sac-halfcheetah": _OFF_POLICY,
    "ppo-pong": {
        "num_envs": 2,
        "steps": 16,
        "batch_size": 16,
        "passes": 1,
        "env_steps_per_update": 16,
    },
    "pqn-pong": {
        "num_envs": 2,
        "steps": 16,
        "batch_size": 16,
        "passes": 1,
        "env_steps_per_update": 16,
    },
    "dqn-pong-bfloat16": {
        "warmup": 64,
        "batch_size": 4,
        "capacity": 512,
        "ours": {"num_envs": 2, "chunk": 4, "dtype": "mixed_bfloat16"},
    },
}


@pytest.mark.parametrize("job", throughput.JOBS.values(), ids=throughput.JOBS)
def test_jobs_split_into_whole_collections(job):
    ratio = job["env_steps_per_update"]
    if "steps" in job:
        for own in ({**job, **job[side]} for side in ("ours", "sb3")):
            size = own["steps"] * own["num_envs"]
            assert size % own["batch_size"] == 0
        assert ratio == job["batch_size"] / job["passes"]
    else:
        assert throughput.WARM_ENV_STEPS % (job["ours"]["chunk"] * ratio) == 0
        assert job["sb3"]["train_freq"] % ratio == 0


def test_report_on_hand_worked_numbers():
    parts = {
        "breakdown": {
            "env_us": 20.0,
            "act_us": 30.0,
            "store_us": 10.0,
            "draw_us_per_update": 80.0,
            "update_us_per_update": 200.0,
        },
        "floor": {"env_us": 10.0, "products_us_per_update": 80.0},
    }
    runs = {
        "ours": [side(v, **parts) for v in (4_000.0, 5_000.0, 6_000.0)],
        "sb3": [
            side(v, update_us=us)
            for v, us in ((2_000.0, 900.0), (1_000.0, 700.0), (1_000.0, 600.0))
        ],
    }
    job = throughput.JOBS["dqn-cartpole"]  # Two steps for each update.
    report = throughput._report("dqn-cartpole", job, runs)
    assert report["ours"]["env_steps_per_s"] == 5_000
    assert report["ours"]["raw"]["updates_per_s"] == [2_000, 2_500, 3_000]
    ratios = [report[key] for key in ("ratio_min", "ratio", "ratio_max")]
    assert ratios == [2, 5, 6]  # Pair by pair, in the order they ran.
    # 10 us + 80 us / 2 for each step, where ours took 200 us.
    assert report["floor"]["env_steps_per_s"] == 20_000
    assert report["floor"]["times_ours"] == 4
    # Ours draws for 80 us and learns for 200.
    assert report["update"] == {"ours_us": 280, "sb3_us": 700, "ratio": 0.4}
    assert report["breakdown"]["share"] == pytest.approx(
        {
            "env": 0.1,
            "act": 0.15,
            "store": 0.05,
            "draw": 0.2,
            "update": 0.5,
            "rest": 0.0,
        }
    )
    assert "ratio of env steps/s: 5.00 (from 2.00 to 6.00)" in (
        throughput._table(report)
    )


def test_products_of_a_convolution_have_a_row_for_each_position():
    envs = rl.envs.atari("Pong")
    network = rl.networks.nature_cnn(envs.single_observation_space)
    head = keras.layers.Dense(6)(network.output)
    policy = keras.Model(network.input, head)
    nested = keras.Model(network.input, policy(network.input))
    # 84 pixels by 8 in steps of 4 are 20 positions, these by 4 in steps of 2
    # are 9, these by 3 are 7; of a batch of two.
    for model in (policy, nested):
        assert throughput_parts.kernels(model, 2) == [
            (2 * 20 * 20, 8 * 8 * 4, 32),
            (2 * 9 * 9, 4 * 4 * 32, 64),
            (2 * 7 * 7, 3 * 3 * 64, 64),
            (2, 7 * 7 * 64, 512),
            (2, 512, 6),
        ]


def test_blocks_that_would_take_long_have_fewer_calls():
    calls = []

    def slow():
        calls.append(time.sleep(0.2))

    means = throughput_parts.blocks(slow, 8, blocks=2)
    assert len(calls) == 2 + 2 * 2  # Half a second by 0.2 s.
    assert means == pytest.approx([2e5, 2e5], rel=0.2)


# One job that draws from a replay and one that lives through rollouts; the
# others add a network or an environment.
@pytest.mark.parametrize(
    "name",
    [
        "dqn-cartpole",
        "ppo-pong",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in TINY
            if name not in ("dqn-cartpole", "ppo-pong")
        ),
    ],
)
def test_our_side_measures_a_tiny_job(name):
    if name.endswith("halfcheetah"):
        pytest.importorskip("mujoco")
    job = {
        **throughput.JOBS[name],
        **TINY[name],
        "warm_env_steps": 64,
        "env_steps": 128,
        "seed": 0,
        "started": time.time(),
    }
    job |= job["ours"]
    done = run("throughput_ours.py", json.dumps(job))
    assert not done.returncode, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    for measure in throughput.MEASURES:
        assert result[measure] > 0, measure
    for part in ("breakdown", "floor"):
        assert all(value > 0 for value in result[part].values()), result[part]
    assert result["env_steps_per_s"] == pytest.approx(
        job["env_steps_per_update"] * result["updates_per_s"], rel=0.1
    )


def test_peer_that_is_not_installed_is_named_with_its_extra():
    try:
        import stable_baselines3  # noqa: F401
    except ImportError:
        done = run("throughput_sb3.py", "{}")
        assert done.returncode == 1
        assert "keras-rl2x[benchmarks]" in done.stderr
    else:
        pytest.skip("Stable-Baselines3 is installed.")


@pytest.mark.slow
def test_both_sides_run_in_turn():
    pytest.importorskip("stable_baselines3")
    done = run(
        "throughput.py",
        *("dqn-cartpole", "--repeats", "1", "--env-steps", "2048", "--json"),
    )
    assert not done.returncode, done.stderr
    report = json.loads(done.stdout)
    assert report["ratio_min"] == report["ratio"] == report["ratio_max"] > 0
    assert "torch" not in report["versions"]["ours"]
    assert "tensorflow" not in report["versions"]["sb3"]
