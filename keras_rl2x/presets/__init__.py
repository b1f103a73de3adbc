"""What each algorithm uses on each environment: data, and its lookup.

A preset is a nested dict; `names` lists what there is, `get` merges an
environment's entries over the algorithm's defaults, and `override` sets single
entries by their dotted names. A schedule is written as
`{"from": 1.0, "to": 0.05, "over": 0.2}`: linear, over that part of the run.
Two entries are for the command line alone, which owns its process: `threads`,
how many threads TensorFlow computes one operation with (0: one for each core);
and `onednn`, whether oneDNN multiplies matrices. Small networks learn a quarter
faster with one thread, and those of 64 units a tenth faster without oneDNN.
"""

import copy
import difflib

from keras_rl2x.presets import a2c
from keras_rl2x.presets import atari
from keras_rl2x.presets import c51
from keras_rl2x.presets import crossq
from keras_rl2x.presets import ddpg
from keras_rl2x.presets import discrete_sac
from keras_rl2x.presets import dqn
from keras_rl2x.presets import iqn
from keras_rl2x.presets import munchausen
from keras_rl2x.presets import ppo
from keras_rl2x.presets import pqn
from keras_rl2x.presets import qrdqn
from keras_rl2x.presets import rainbow
from keras_rl2x.presets import sac
from keras_rl2x.presets import td3
from keras_rl2x.presets import tqc
from keras_rl2x.presets import trpo

# Numbers that may also be schedules.
_SCHEDULED = ("learning_rate", "agent.clip", "agent.max_kl", "agent.noise")

_ALGORITHMS = {
    "a2c": a2c,
    "c51": c51,
    "crossq": crossq,
    "ddpg": ddpg,
    "discrete_sac": discrete_sac,
    "dqn": dqn,
    "iqn": iqn,
    "munchausen": munchausen,
    "ppo": ppo,
    "pqn": pqn,
    "qrdqn": qrdqn,
    "rainbow": rainbow,
    "sac": sac,
    "td3": td3,
    "tqc": tqc,
    "trpo": trpo,
}


def names():
    """Dict from each algorithm to the environments that it has presets of."""
    return {name: sorted(m.ENVS) for name, m in _ALGORITHMS.items()}


def agent_name(algorithm):
    """The name of an algorithm's class in `agents`."""
    return _ALGORITHMS[algorithm].AGENT


def get(algorithm, env_id):
    """The settings of an algorithm for an environment.

    Args:
        algorithm: String, such as `"dqn"`.
        env_id: String, or `None`. An environment without a preset gets the
            algorithm's defaults, an Atari game what other games have.

    Returns:
        Nested dict, a copy.

    Raises:
        ValueError: If there is no such algorithm.
    """
    module = _ALGORITHMS.get(algorithm)
    if module is None:
        raise ValueError(
            f"There is no algorithm of this name{_hint(algorithm, names())} "
            f"Received: {algorithm!r}; there are {sorted(_ALGORITHMS)}"
        )
    settings = {}
    merge(settings, module.DEFAULT)
    merge(settings, _of_env(module.ENVS, env_id))
    return settings


def _of_env(known, env_id):
    """What a module's presets say of an environment."""
    if env_id not in known and str(env_id).startswith("ALE/"):
        return {**known.get(atari.OTHERS, {}), "score": None}
    return known.get(env_id, {})


def override(settings, values):
    """Sets entries in place.

    Args:
        settings: Nested dict, from `get`.
        values: Dict from dotted names (`"agent.double"`) to values. What
            follows `"env."` may also be an argument of the environment.

    Raises:
        ValueError: If an entry does not exist, or is of another type; says
            what the nearest is.
    """
    for dotted, value in values.items():
        *path, last = dotted.split(".")
        if path == ["env"] and _is_argument(last, settings["env"]):
            settings["env"][last] = value
            continue
        place = settings
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = list(_dotted(settings))
            raise ValueError(
                f"There is no setting of this name{_hint(dotted, known)} "
                f"Received: {dotted!r}; there are {known}"
            )
        place[last] = _like(dotted, place[last], value)


def merge(settings, values):
    """Sets entries in place, to copies, also where two values are one dict.

    Args:
        settings: Nested dict.
        values: Nested dict.
    """
    for key, value in values.items():
        if not isinstance(value, dict) or _is_initializer(value):
            settings[key] = copy.deepcopy(value)
            continue
        if not isinstance(settings.get(key), dict):
            settings[key] = {}
        merge(settings[key], value)


def env_arguments(settings):
    """Dict of what all environments of a run are made with, of these settings.

    Those to learn in have more.
    """
    alone = ("num_envs", "vectorization")
    return {k: v for k, v in settings["env"].items() if k not in alone}


def _is_argument(name, known):
    """Whether it is one of the environment: it is neither known nor misspelt.

    Gymnasium refuses what the environment does not take.
    """
    return not difflib.get_close_matches(name, known, 1, 0.8)


def _hint(name, known):
    """`", did you mean 'x'?"`, or a full stop."""
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f", did you mean {close[0]!r}?" if close else "."


def _like(name, old, new):
    """The new value of a setting; refused if it is of another type."""
    if _fits(name, old, new):
        return int(new) if type(old) is int else new
    raise ValueError(
        f"The setting '{name}' must be {_kind(name, old)}, like {old!r}. "
        f"Received: {new!r}"
    )


def _kind(name, old):
    """What a setting takes, in words."""
    if _is_initializer(old) or name.endswith("kernel_initializer"):
        return "the name of an initializer, or its configuration"
    if _is_schedule(old) or name.endswith(_SCHEDULED):
        return "a number, or a schedule of `from`, `to` and `over`"
    if isinstance(old, dict):
        return f"set one by one, as '{name}.{next(iter(old), 'name')}'"
    kinds = {bool: "`True` or `False`", int: "a whole number", str: "a name"}
    return kinds.get(type(old), "a number" if type(old) is float else "a list")


def _fits(name, old, new):
    number = isinstance(new, (int, float)) and not isinstance(new, bool)
    if old is None:
        return True
    if isinstance(old, bool):
        return isinstance(new, bool)
    if isinstance(old, int):
        return number and float(new).is_integer()
    if _is_initializer(old) or name.endswith("kernel_initializer"):
        return isinstance(new, str) or _is_initializer(new)
    if isinstance(old, str):
        return new is None or isinstance(new, str)
    if isinstance(old, (list, tuple)):
        return isinstance(new, (list, tuple))
    if _is_schedule(old) or name.endswith(_SCHEDULED):
        return number or _is_schedule(new)
    # What is left is a group of settings, which cannot be set as a whole.
    return isinstance(old, float) and (number or new is None)


def _is_schedule(value):
    return isinstance(value, dict) and set(value) == {"from", "to", "over"}


def _is_initializer(value):
    return isinstance(value, dict) and "class_name" in value


def _dotted(settings, prefix=""):
    for key, value in settings.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
