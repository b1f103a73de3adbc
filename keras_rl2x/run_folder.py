"""The folder of a run: which one it is, its settings and its history."""

import contextlib
import csv
import itertools
import json
import os

from keras_rl2x import presets

SETTINGS = "settings.json"
HISTORY = "history.csv"
CHECKPOINTS = "checkpoints"


def make_settings(
    algorithm, env_id, seed=None, changes=None, log_dir=None, resume=False
):
    """The settings of a run: a preset's, or those of the run to resume.

    Args:
        algorithm: String, such as `"dqn"`.
        env_id: String, or `None`.
        seed: Integer, or `None` for 0, or for the run's.
        changes: Dict from dotted names to values. Defaults to `None`.
        log_dir: String, the folder of the run to resume. Defaults to `None`.
        resume: Boolean. Defaults to `False`.

    Returns:
        Nested dict.

    Raises:
        ValueError: If there is no such algorithm or setting.
    """
    settings = {**presets.get(algorithm, env_id), "seed": 0}
    if resume and log_dir is not None:
        presets.merge(settings, read_settings(log_dir) or {})
    presets.override(settings, changes or {})
    if seed is not None:
        settings["seed"] = seed
    return {**settings, "algorithm": algorithm, "env_id": env_id}


def check(log_dir, settings, resume):
    """Refuses the folder of a run that cannot begin, or go on, there.

    Args:
        log_dir: String, or `None` for a new folder, which `claim` makes.
        settings: Dict, what the run is to have.
        resume: Boolean, whether a run was begun there.

    Raises:
        ValueError: If the folder holds a run already, or none to resume, or
            one of other settings.
    """
    begun = None if log_dir is None else read_settings(log_dir)
    if not resume:
        if begun is not None:
            raise ValueError(
                f"{log_dir} holds a run already: go on with it by `resume` "
                "(--resume), or give another `log_dir` (--log-dir)."
            )
        if log_dir is not None and _has_checkpoints(log_dir):
            # The run would go on from them, whatever it was.
            raise ValueError(
                f"{log_dir} holds the checkpoints of a run, without its "
                f"{SETTINGS}: bring that back from a copy, or give another "
                "`log_dir` (--log-dir)."
            )
        return
    if begun is None:
        raise ValueError(
            "There is no run to resume: give the `log_dir` (--log-dir) of "
            f"one that was begun. Received: log_dir={log_dir!r}"
        )
    differing = _differences(begun, json.loads(json.dumps(settings)))
    if differing:
        raise ValueError(
            f"The run in {log_dir} was begun with other settings: resume "
            "it with the arguments that it had. (To learn for longer, begin "
            "a new run with more `env_steps`: schedules follow from them.) "
            f"Received: {differing}"
        )


def claim(settings):
    """Makes a folder in `runs/` that no run has; returns its path.

    Another process may be claiming one for the same settings.
    """
    name = (settings["env_id"] or "env").replace("/", "-")
    name = "{algorithm}-{name}-seed{seed}".format(name=name, **settings)
    path = numbered = f"runs/{name}"
    for i in itertools.count(1):
        try:
            os.makedirs(numbered)
        except FileExistsError:
            numbered = f"{path}-{i}"
        else:
            break
    return numbered


def begin(log_dir, settings, epoch):
    """Makes the folder, or prepares it for epochs that are trained again.

    Args:
        log_dir: String.
        settings: Dict, kept there; a run that is resumed keeps those it has.
        epoch: Integer, how many epochs of the run are done.
    """
    os.makedirs(log_dir, exist_ok=True)
    _cut_history(os.path.join(log_dir, HISTORY), epoch)
    path = os.path.join(log_dir, SETTINGS)
    if not os.path.exists(path):
        _write(path, lambda file: json.dump(settings, file, indent=1))


def give_up(log_dir, claimed):
    """Frees the folder of a new run that failed before its first epoch ended.

    Args:
        log_dir: String.
        claimed: Boolean, whether `claim` had made the folder, which then goes,
            too, if nothing is in it.
    """
    history = os.path.join(log_dir, HISTORY)
    if os.path.exists(history) and os.path.getsize(history):
        return
    with contextlib.suppress(OSError):
        os.remove(os.path.join(log_dir, SETTINGS))
    if claimed:
        with contextlib.suppress(OSError):
            os.rmdir(log_dir)


def read_settings(log_dir):
    """The settings of the run in a folder, a dict, or `None` without a run.

    Raises:
        ValueError: If the file of settings is damaged.
    """
    path = os.path.join(log_dir, SETTINGS)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        try:
            settings = json.load(file)
        except ValueError as error:
            settings = error
    if not isinstance(settings, dict):
        raise ValueError(
            f"{path} is damaged; it must hold the settings of the run, in "
            f"JSON. Bring it back from a copy. Received: {settings}"
        )
    return settings


def _has_checkpoints(log_dir):
    folder = os.path.join(log_dir, CHECKPOINTS)
    return os.path.isdir(folder) and bool(os.listdir(folder))


def _write(path, write):
    """Writes a text file whole, or not at all."""
    aside = f"{path}.writing"
    with open(aside, "w", newline="") as file:
        write(file)
    os.replace(aside, path)


def _differences(begun, now, prefix=""):
    """The settings that differ: a list of "name: 1 before, 2 now"."""
    found = []
    for key in sorted(set(begun) | set(now)):
        old, new = begun.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}: {old} before, {new} now")
    return found


def _cut_history(path, epoch):
    """Drops the lines of epochs that are going to be trained again."""
    if not os.path.exists(path):
        return
    with open(path, newline="") as file:
        lines = list(csv.reader(file))
    try:
        kept = lines[:1] + [line for line in lines[1:] if int(line[0]) < epoch]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{path} is damaged; every line must begin with its epoch. Move "
            f"it away: the run goes on without it. Received: {error}"
        ) from error
    _write(path, lambda file: csv.writer(file).writerows(kept))
