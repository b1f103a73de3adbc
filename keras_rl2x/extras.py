"""Optional dependencies: imported here, or refused with the fix."""

import importlib


def find(module):
    """The module of this name, or `None` if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def require(module, package, purpose):
    """The module of this name.

    Args:
        module: String, what to import.
        package: String, what `pip install` must be given to get it.
        purpose: String, what it is needed for; begins the error message.

    Raises:
        ImportError: If it is not installed; says how to install it.
    """
    found = find(module)
    if found is None:
        raise ImportError(
            f"{purpose} needs the module `{module}`, which is not installed. "
            f'Run: pip install "{package}"'
        )
    return found
