"""How well agents learn: many seeds, each a whole run from a preset.

    python benchmarks/learning.py dqn CartPole-v1 --seeds 10 --json

Every seed is one `rl.train` in a process of its own. README.md says what is
reported, and what is left in `--out`.
"""

import argparse
import concurrent.futures
import csv
import json
import os
import shutil
import subprocess
import sys
import time

import machine
import numpy as np
import robust

import keras_rl2x as rl
from keras_rl2x import cli
from keras_rl2x import extras

CURVE = ("seed", "epoch", "env_steps", "return", "val_return")


def main():
    """Runs the program; returns the exit status, or what went wrong."""
    arguments = _parse()
    if arguments.only_seed is not None:
        return _train(arguments, arguments.only_seed)
    # Before the training: what is missing is not to be found out hours later.
    try:
        pyplot = extras.require(
            "matplotlib.pyplot", "keras-rl2x[benchmarks]", "Drawing the curves"
        )
        settings = _settings(arguments)
    except (ImportError, ValueError) as error:
        return str(error)
    start = time.time()
    errors = _train_all(arguments, settings)
    if errors:
        return "\n".join(errors)
    results, curves = _results(arguments), _curves(arguments)
    report = _report(arguments, settings, results, time.time() - start)
    os.makedirs(arguments.out, exist_ok=True)
    path = os.path.join(arguments.out, _name(arguments))
    with open(f"{path}.json", "w") as file:
        file.write(json.dumps(report, indent=1) + "\n")
    with open(f"{path}_curves.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, CURVE)
        writer.writeheader()
        writer.writerows(curves)
    _draw(pyplot, report, curves, f"{path}.png")
    print(json.dumps(report, indent=1) if arguments.json else _table(report))
    return 0


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("agent", help="such as dqn")
    parser.add_argument("env", help="a Gymnasium id, such as CartPole-v1")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument(
        "--jobs", type=int, default=2, help="how many train at the same time"
    )
    parser.add_argument("--env-steps", type=int)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=cli.parse_setting,
        metavar="NAME=VALUE",
        help="override a setting, such as agent.double=false",
    )
    parser.add_argument(
        "--out",
        default=os.path.join("benchmarks", "results"),
        metavar="DIR",
        help="where the results go",
    )
    parser.add_argument(
        "--runs",
        default=os.path.join("runs", "learning"),
        metavar="DIR",
        help="where the seeds train",
    )
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="keep the seeds in --runs, and go on where they ended",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only-seed", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _settings(arguments):
    """What the preset says, with what the command line changes."""
    settings = rl.presets.get(arguments.agent, arguments.env)
    changes = dict(arguments.set)
    if arguments.env_steps is not None:
        changes["env_steps"] = arguments.env_steps
    rl.presets.override(settings, changes)
    return json.loads(json.dumps(settings))  # As it is read from a file.


def _name(arguments):
    return f"{arguments.agent}_{arguments.env}".replace("/", "-")


def _folder(arguments, seed):
    return os.path.join(arguments.runs, _name(arguments), f"seed{seed}")


def _train(arguments, seed):
    """Trains one seed in this process; leaves `result.json` in its folder."""
    folder = _folder(arguments, seed)
    start = time.time()
    run = rl.train(
        arguments.agent,
        arguments.env,
        env_steps=arguments.env_steps,
        seed=seed,
        log_dir=folder,
        resume=os.path.exists(os.path.join(folder, "settings.json")),
        overrides=dict(arguments.set),
        verbose=0,
    )
    if run.interrupted:
        return 130
    seconds = time.time() - start
    result = {"seed": seed, **run.evaluation, "wall_s": round(seconds, 1)}
    for name in ("returns", "lengths"):  # The folder has those.
        del result[name]
    path = os.path.join(folder, "result.json")
    with open(f"{path}.writing", "w") as file:
        json.dump(result, file)
    os.replace(f"{path}.writing", path)  # Whole, or not at all.
    return 0


def _train_all(arguments, settings):
    """Trains all seeds; returns what went wrong."""
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        errors = pool.map(
            lambda seed: _train_apart(arguments, settings, seed),
            range(arguments.seeds),
        )
        return [error for error in errors if error]


def _train_apart(arguments, settings, seed):
    """Trains a seed in a process of its own; returns what went wrong."""
    folder = _folder(arguments, seed)
    if not (arguments.reuse and _was_begun(folder, settings)):
        shutil.rmtree(folder, ignore_errors=True)
    elif os.path.exists(os.path.join(folder, "result.json")):
        return None
    done = subprocess.run(
        [sys.executable, *sys.argv, "--only-seed", str(seed)],
        env=_environment(settings, arguments.jobs),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return (
            f"Seed {seed} failed with status {done.returncode}:\n"
            f"{done.stderr[-2_000:]}"
        )
    score = _read(folder, "result.json")["mean"]
    print(f"seed {seed}: {score:.1f}", file=sys.stderr)
    return None


def _was_begun(folder, settings):
    """Whether a run with these settings is there."""
    if not os.path.exists(os.path.join(folder, "settings.json")):
        return False
    had = _read(folder, "settings.json")
    return all(had.get(name) == value for name, value in settings.items())


def _environment(settings, jobs):
    """Environment variables of a seed's process, as the command line has them.

    But where several seeds train, each has one thread: more would only wait
    for each other.
    """
    preset = {
        "TF_NUM_INTRAOP_THREADS": str(settings["threads"]),
        "TF_ENABLE_ONEDNN_OPTS": str(int(settings["onednn"])),
    }
    variables = {**preset, **os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if jobs > 1:
        variables["TF_NUM_INTRAOP_THREADS"] = "1"
        variables["TF_NUM_INTEROP_THREADS"] = "1"
    return variables


def _results(arguments):
    return [
        _read(_folder(arguments, seed), "result.json")
        for seed in range(arguments.seeds)
    ]


def _curves(arguments):
    """The rows of the learning curves of all seeds."""
    rows = []
    for seed in range(arguments.seeds):
        history = os.path.join(_folder(arguments, seed), "history.csv")
        with open(history, newline="") as file:
            for row in csv.DictReader(file):
                row["seed"] = seed
                rows.append({name: row[name] for name in CURVE})
    return rows


def _read(folder, name):
    with open(os.path.join(folder, name)) as file:
        return json.load(file)


def _report(arguments, settings, results, seconds):
    means = [result["mean"] for result in results]
    low, high = robust.iqm_interval(means)
    return {
        "agent": arguments.agent,
        "env": arguments.env,
        "command": machine.command(),
        "machine": machine.machine(),
        "versions": machine.versions(*machine.OURS),
        "iqm": float(robust.iqm(means)),
        "iqm_low": low,
        "iqm_high": high,
        "worst": min(means),
        "mean": float(np.mean(means)),
        "wall_s": round(seconds, 1),
        "jobs": arguments.jobs,
        "results": results,
        "settings": settings,
    }


def _draw(pyplot, report, curves, path):
    """The learning curve: IQM over the seeds, and from worst to best."""
    steps, scores = (
        np.array([float(row[name]) for row in curves]).reshape(
            len(report["results"]), -1
        )
        for name in ("env_steps", "val_return")
    )
    at = steps.mean(axis=0)
    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    axes.fill_between(
        at, scores.min(axis=0), scores.max(axis=0), alpha=0.2, linewidth=0
    )
    axes.plot(at, robust.iqm(scores, axis=0), linewidth=2)
    if report["settings"]["score"] is not None:
        axes.axhline(
            report["settings"]["score"], color="0.5", linestyle=":", zorder=0
        )
    axes.set_title(f"{report['agent']} on {report['env']}")
    axes.set_xlabel("environment steps")
    seeds = len(scores)
    of = f"IQM and range of {seeds} seeds" if seeds > 1 else "one seed"
    kind = "greedy" if report["settings"]["evaluate"]["greedy"] else "evaluated"
    axes.set_ylabel(f"{kind} return\n({of})")
    axes.set_xlim(0, at[-1])
    axes.xaxis.set_major_locator(pyplot.MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def _table(report):
    lines = [f"{report['agent']} on {report['env']}"]
    lines += [
        f"  seed {result['seed']:>2}  {result['mean']:>9.1f} "
        f"+- {result['std']:<7.1f} {result['wall_s']:>7,.0f} s"
        for result in report["results"]
    ]
    lines += [
        f"IQM {report['iqm']:.1f} (95%: {report['iqm_low']:.1f} to "
        f"{report['iqm_high']:.1f}), worst {report['worst']:.1f}, "
        f"{report['wall_s']:,.0f} s in all"
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
