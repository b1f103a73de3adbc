"""What `Agent.fit` refuses of callbacks, and what to do about it."""

import itertools
import string

import keras

_OF_EVALUATE = ("val_return", "val_length")


def check(agent):
    """Refuses callbacks that cannot do what they are for.

    Args:
        agent: An `Agent`; its `fit_callbacks` are checked. Attributes that
            count: `moves_targets`; `writes`, a tuple of names in the logs;
            `reads_all_logs`; `stands_after` and `stands_before`, tuples of
            classes.

    Raises:
        ValueError: Says which to add, or to put before which.
    """
    callbacks = agent.fit_callbacks
    movers = [c for c in callbacks if getattr(c, "moves_targets", False)]
    if agent.targets and not movers:
        raise ValueError(
            f"{type(agent).__name__} has a target network that nothing would "
            "move: add `rl.callbacks.TargetUpdate(every=...)` to the callbacks "
            "of `fit`."
        )
    for first, second in itertools.combinations(callbacks, 2):
        twice = set(_writes(first)) & set(_writes(second))
        if twice:
            raise ValueError(
                f"Two callbacks write {sorted(twice)} into the logs: give one "
                'a name of its own, as in `rl.callbacks.Evaluate(env, name="'
                'hard")`, or leave it out. Received: '
                f"`{type(first).__name__}` and `{type(second).__name__}`"
            )
        reason = _misplaced(first, second)
        if reason:
            first, second = type(first).__name__, type(second).__name__
            raise ValueError(
                f"`{first}` stands before `{second}`, {reason}: in the list of "
                f"callbacks, put `{second}` before `{first}`."
            )
    _check_monitored(callbacks)


def _check_monitored(callbacks):
    """Refuses what waits for a number that only `Evaluate` would write."""
    own = (__name__.partition(".")[0], "keras")
    if any(
        type(c).__module__.partition(".")[0] not in own
        or isinstance(c, keras.callbacks.LambdaCallback)
        for c in callbacks
    ):
        return  # A user's callback may write what it likes.
    written = {name for c in callbacks for name in _writes(c)}
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor in _OF_EVALUATE and monitor not in written:
            raise ValueError(
                f"`{type(callback).__name__}` monitors '{monitor}', which "
                "nothing would write: put `rl.callbacks.Evaluate(env)` before "
                "it."
            )


def _misplaced(first, second):
    """Why two callbacks must not stand in this order, or `None`."""
    missing = [name for name in _writes(second) if _reads(first, name)]
    if missing:
        return f"which writes the {sorted(missing)} that it reads"
    if isinstance(second, getattr(first, "stands_after", ())):
        return "whose state it saves as it is after the epoch"
    if isinstance(first, getattr(second, "stands_before", ())):
        return "which would save the averaged weights in place of the trained"
    return None


def _writes(callback):
    return getattr(callback, "writes", ())


def _reads(callback, name):
    """Whether a callback reads a number of the logs at an epoch's end."""
    loggers = (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)
    if isinstance(callback, loggers) or hasattr(callback, "reads_all_logs"):
        return True
    path = str(getattr(callback, "filepath", ""))  # "{val_return:.1f}.keras"
    named = [named for _, named, _, _ in string.Formatter().parse(path)]
    return name in (getattr(callback, "monitor", None), *named)
