"""How fast we train, beside Stable-Baselines3 on the same job.

    python benchmarks/throughput.py dqn-cartpole --repeats 5 --json

Both sides run in turn, each time in a fresh process of its own
(`throughput_ours.py`, `throughput_sb3.py`), so that neither library sees the
other. README.md says what the numbers mean.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import machine
from throughput_jobs import JOBS

# Steady state is measured after about this many environment steps of training
# (and the warm-up), in which graphs are traced and caches filled.
WARM_ENV_STEPS = 2_048

MEASURES = (
    "env_steps_per_s",
    "updates_per_s",
    "startup_s",
    "compile_s",
    "peak_mb",
)


def main():
    arguments = _parse()
    job = dict(JOBS[arguments.job])
    # Our side measures whole epochs, each as long as the warm part, and these
    # whole rollouts.
    rollout = job.get("steps", 1) * job.get("num_envs", 1)
    warm = -(-WARM_ENV_STEPS // rollout) * rollout
    env_steps = arguments.env_steps or job["env_steps"]
    job["warm_env_steps"] = warm
    job["env_steps"] = max(1, env_steps // warm) * warm
    job["ours"] = {**job["ours"], "threads": arguments.tf_threads}
    job["sb3"] = {**job["sb3"], "threads": arguments.torch_threads}
    interpreters = {"ours": sys.executable, "sb3": arguments.peer_python}
    runs = {"ours": [], "sb3": []}
    for repeat in range(arguments.repeats):
        for side, interpreter in interpreters.items():
            run = _run(side, interpreter, {**job, "seed": repeat})
            runs[side].append(run)
            print(
                f"repeat {repeat + 1}/{arguments.repeats}: {side} "
                f"{run['env_steps_per_s']:,.0f} env steps/s",
                file=sys.stderr,
            )
    report = _report(arguments.job, job, runs)
    print(json.dumps(report, indent=1) if arguments.json else _table(report))


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("job", choices=sorted(JOBS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--env-steps", type=int, help="to measure over")
    parser.add_argument(
        "--peer-python",
        default=sys.executable,
        metavar="PATH",
        help="a Python that has Stable-Baselines3; by default this one",
    )
    parser.add_argument(
        "--tf-threads", type=int, help="by default as many as TensorFlow takes"
    )
    parser.add_argument(
        "--torch-threads", type=int, help="by default as many as torch takes"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _run(side, interpreter, job):
    """Runs a job on one side, in a fresh process; returns what it printed."""
    script = os.path.join(os.path.dirname(__file__), f"throughput_{side}.py")
    own = {**job, **job[side], "started": time.time()}
    done = subprocess.run(
        [interpreter, script, json.dumps(own)],
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_ENABLE_ONEDNN_OPTS": str(int(job["ours"].get("onednn", True))),
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"The side '{side}' failed:\n{done.stderr[-2_000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _report(name, job, runs):
    ours, sb3 = (
        {
            **{m: statistics.median(run[m] for run in side) for m in MEASURES},
            "threads": side[0]["threads"],
            "device": side[0]["device"],
            "raw": {m: [run[m] for run in side] for m in MEASURES},
        }
        for side in runs.values()
    )
    ratios = [
        mine / theirs
        for mine, theirs in zip(
            ours["raw"]["env_steps_per_s"], sb3["raw"]["env_steps_per_s"]
        )
    ]
    floor = _medians(run["floor"] for run in runs["ours"])
    updates_per_env_step = 1 / job["env_steps_per_update"]
    floor_us = (
        floor["env_us"] + floor["products_us_per_update"] * updates_per_env_step
    )
    ours_us = 1e6 / ours["env_steps_per_s"]
    parts = _medians(run["breakdown"] for run in runs["ours"])
    update_us = parts["draw_us_per_update"] + parts["update_us_per_update"]
    their_update_us = statistics.median(run["update_us"] for run in runs["sb3"])
    per_env_step = {
        "env": parts["env_us"],
        "act": parts["act_us"],
        "store": parts["store_us"],
        "draw": parts["draw_us_per_update"] * updates_per_env_step,
        "update": parts["update_us_per_update"] * updates_per_env_step,
    }
    per_env_step["rest"] = ours_us - sum(per_env_step.values())
    return {
        "job": name,
        "command": machine.command(),
        "machine": machine.machine(),
        "versions": {s: side[0]["versions"] for s, side in runs.items()},
        "settings": job,
        "ours": ours,
        "sb3": sb3,
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "update": {
            "ours_us": update_us,
            "sb3_us": their_update_us,
            "ratio": update_us / their_update_us,
        },
        "floor": {
            **floor,
            "env_steps_per_s": 1e6 / floor_us,
            "times_ours": ours_us / floor_us,
        },
        "breakdown": {
            **parts,
            "share": {k: us / ours_us for k, us in per_env_step.items()},
        },
    }


def _medians(dicts):
    """The median of every entry of dicts with the same keys."""
    dicts = list(dicts)
    return {k: statistics.median(d[k] for d in dicts) for k in dicts[0]}


def _table(report):
    lines = [
        f"{report['job']} on {report['machine']['cpu']}, "
        f"{report['machine']['cores']} cores",
        f"{'':<20}{'ours':>12}{'sb3':>12}",
    ]
    lines += [
        f"{measure:<20}{report['ours'][measure]:>12,.1f}"
        f"{report['sb3'][measure]:>12,.1f}"
        for measure in MEASURES
    ]
    floor = report["floor"]
    lines += [
        f"ratio of env steps/s: {report['ratio']:.2f} "
        f"(from {report['ratio_min']:.2f} to {report['ratio_max']:.2f})",
        f"an update: {report['update']['ours_us']:,.0f} us, "
        f"{report['update']['ratio']:.2f} times theirs",
        f"floor: {floor['env_steps_per_s']:,.0f} env steps/s, "
        f"{floor['times_ours']:.2f} times ours",
        "where our time goes: "
        + ", ".join(
            f"{part} {share:.0%}"
            for part, share in report["breakdown"]["share"].items()
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
