"""What each algorithm uses on each environment: data, and its lookup.

A preset is a nested dict; `names` lists what there is, `get` merges an
environment's entries over the algorithm's defaults, and `override` sets single
entries by their dotted names. A schedule is written as
`{"from": 1.0, "to": 0.05, "over": 0.2}`: linear, over that part of the run.
"""

import copy
import difflib

from keras_rl2x.presets import dqn

_ALGORITHMS = {"dqn": dqn}


def names():
    """Dict from each algorithm to the list of environments it has presets of."""
    return {name: sorted(m.ENVS) for name, m in _ALGORITHMS.items()}


def get(algorithm, env_id):
    """The settings of an algorithm for an environment.

    Args:
        algorithm: String, such as `"dqn"`.
        env_id: String, or `None`. An environment without a preset gets the
            algorithm's defaults.

    Returns:
        Nested dict, a copy.

    Raises:
        ValueError: If there is no such algorithm.
    """
    module = _ALGORITHMS.get(algorithm)
    if module is None:
        raise ValueError(
            f"There is no algorithm of this name{nearest(algorithm, names())}. "
            f"Received: {algorithm!r}; there are {sorted(_ALGORITHMS)}"
        )
    settings = copy.deepcopy(module.DEFAULT)
    _merge(settings, copy.deepcopy(module.ENVS.get(env_id, {})))
    return settings


def override(settings, values):
    """Sets entries in place.

    Args:
        settings: Nested dict, from `get`.
        values: Dict from dotted names (`"agent.double"`) to values.

    Raises:
        ValueError: If an entry does not exist, or is of another type; says
            what the nearest is.
    """
    for dotted, value in values.items():
        *path, last = dotted.split(".")
        place = settings
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = list(_dotted(settings))
            raise ValueError(
                f"There is no setting of this name{nearest(dotted, known)}. "
                f"Received: {dotted!r}; there are {known}"
            )
        _check_type(dotted, place[last], value)
        place[last] = value


def nearest(name, known):
    """`", did you mean 'x'?"`, or nothing."""
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def _check_type(name, old, new):
    number = (int, float)
    alike = (
        old is None
        or new is None
        or isinstance(new, type(old))
        or (
            isinstance(old, (*number, dict))
            and isinstance(new, (*number, dict))
        )
        or (isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)))
    )
    if not alike or isinstance(old, bool) != isinstance(new, bool):
        raise ValueError(
            f"The setting '{name}' must be like {old!r}. Received: {new!r}"
        )


def _dotted(settings, prefix=""):
    for key, value in settings.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")


def _merge(settings, values):
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(settings.get(key), dict):
            _merge(settings[key], value)
        else:
            settings[key] = value
