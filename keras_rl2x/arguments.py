"""Checks of the numbers and flags that users give, each by its name.

`positive(max_kl=max_kl)` gives the number back, or raises a `ValueError` that
says what it must be.
"""

import numbers


def nonnegative(**argument):
    """A number >= 0."""
    return _number(argument, lambda value: value >= 0, "a number >= 0")


def positive(**argument):
    """A number > 0."""
    return _number(argument, lambda value: value > 0, "a number > 0")


def fraction(**argument):
    """A number from 0 to 1."""
    return _number(
        argument, lambda value: 0 <= value <= 1, "a number from 0 to 1"
    )


def integer(least=1, **argument):
    """An integer >= `least`, as Python's: `1e6` is one, too."""
    return int(
        _number(
            argument,
            lambda value: float(value).is_integer() and value >= least,
            f"an integer >= {least}",
        )
    )


def integers(least=1, **argument):
    """A list of integers >= `least`, as Python's, from any sequence."""
    ((name, values),) = argument.items()
    try:
        return [integer(least, **{name: value}) for value in values]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be a sequence of integers >= {least}, such as "
            f"(64, 64). Received: {name}={values!r}"
        ) from error


def boolean(**argument):
    """`True` or `False`."""
    ((name, value),) = argument.items()
    if not isinstance(value, bool):
        raise ValueError(
            f"`{name}` must be `True` or `False`. Received: {name}={value!r}"
        )
    return value


def _number(argument, fits, must):
    ((name, value),) = argument.items()
    if not isinstance(value, numbers.Real) or not fits(value):
        raise ValueError(f"`{name}` must be {must}. Received: {name}={value!r}")
    return value
