"""What goes wrong between an agent and its environments, and how it is told."""

import traceback

import numpy as np
import optree


class Diverged(ValueError):
    """An agent whose actions are no numbers any more.

    Args:
        action: Array, the action.
    """

    def __init__(self, action):
        super().__init__(
            "The agent has diverged, as its actions are not finite: lower its "
            "learning rate, or clip its gradients (the optimizer's "
            f"`global_clipnorm`). Received: {action}"
        )


def find_fault(obs_spec, obs_rows, next_obs, actions, reward):
    """The row to stop before, and why.

    Args:
        obs_spec: The spec of an observation.
        obs_rows: Arrays `[T, N, ...]`, of this structure.
        next_obs: Arrays `[N, ...]`, what follows them.
        actions: List of arrays `[T, N, ...]`, or of one row more: that in
            which an environment raised.
        reward: Array `[T, N]`.

    Returns:
        Tuple of an integer and a `ValueError` (of actions, a `Diverged`), which
        tells of the first number that is not finite, or not of its space:
        `(T, None)` if all are well.
    """
    faults = []
    for rows in actions:
        for t, env in _where(_not_finite(rows)):
            faults.append((t, Diverged(rows[t, env])))
    for t, env in _where(_not_finite(reward)):
        text = (
            f"Environment {env} returned a reward that is not finite. "
            f"Received: {reward[t, env]}"
        )
        faults.append((t, ValueError(text)))
    trees = (obs_spec, obs_rows, next_obs)
    for leaf, rows, last in zip(*map(optree.tree_leaves, trees)):
        bad = _bad(leaf, rows[: len(reward)]), _bad(leaf, last[None])
        for t, env in _where(*bad):
            what = (
                "with NaN or an infinity in it"
                if rows.dtype.kind == "f"
                else f"outside of its space, {leaf}"
            )
            text = (
                f"Environment {env} returned an observation {what}. "
                f"Received: {rows[t, env] if t < len(reward) else last[env]}"
            )
            # The step that led there goes too: it has no successor.
            faults.append((t - 1, ValueError(text)))
    if not faults:
        return len(reward), None
    # Of those in one row the action comes first: it may have led to others.
    row, error = min(faults, key=lambda fault: fault[0])
    return max(int(row), 0), error


def finite(actions):
    """The actions (an array, or a tuple of such), or raises `Diverged`."""
    for array in optree.tree_leaves(actions):
        bad = _not_finite(array)
        if bad is not None and bad.any():
            raise Diverged(array[np.argwhere(bad)[0][0]])
    return actions


def told(error):
    """What an environment raised, and where, as Keras hides the traceback."""
    text = f"{type(error).__name__}: {error}".rstrip(".")
    if error.__traceback__ is None:
        return f"{text}."
    place = traceback.extract_tb(error.__traceback__)[-1]
    code = place.line or "(no source)"
    # Where Gymnasium writes what the step of an environment has returned.
    given = code.startswith("self._rewards[") and "gymnasium" in place.filename
    hint = "A reward must be one number. " if given else ""
    return (
        f"{text} ({place.filename}, line {place.lineno}, in {place.name}: "
        f"`{code}`). {hint}`gymnasium.utils.env_checker.check_env(env)` tells "
        "what is wrong with an environment's code."
    )


def _where(*parts):
    """Where the first bad entry is: a list of one `(t, env)`, or of none."""
    parts = [bad for bad in parts if bad is not None]
    if not any(bad.any() for bad in parts):  # Nearly always.
        return []
    bad = np.concatenate(parts)
    return np.argwhere(bad.reshape(*bad.shape[:2], -1).any(-1))[:1]


def _bad(leaf, array):
    """Which numbers are no observations, or `None` where all are."""
    if leaf.num_classes:
        index = array - np.reshape(leaf.start, leaf.shape)
        return (index < 0) | (index >= np.reshape(leaf.num_classes, leaf.shape))
    if leaf.kind == "multi_binary":
        return array > 1
    return _not_finite(array)


def _not_finite(array):
    return ~np.isfinite(array) if array.dtype.kind == "f" else None
