"""Checks of arguments that C++ would not survive."""

import numbers


def integer(name, value, least=1):
    """The value as Python's integer; those of NumPy are integers, too.

    Args:
        name: String, what the argument is called.
        value: What was given.
        least: Integer. Defaults to 1.

    Raises:
        ValueError: If it is no integer, or a smaller one.
    """
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(
            f"`{name}` must be an integer >= {least}. Received: {name}={value}"
        )
    return int(value)
