"""What stored experience takes, and whether the machine has as much."""

import math
import os

import numpy as np
import optree

# What a container may take at most, in control groups of version 2 and 1.
_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def cell_bytes(spec):
    """Integer, the memory that one cell takes; `spec` as `cell_spec` gives."""
    return sum(
        int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        for leaf in optree.tree_leaves(spec)
    )


def check_memory(nbytes, cells, fix):
    """Refuses what would not fit into this machine's memory.

    Args:
        nbytes: Integer, what it would take.
        cells: Integer, for how many cells.
        fix: String, what to lower, with a place for how many cells would fit.

    Raises:
        MemoryError: If it is more than the machine has, or this container may
            take.
    """
    machine = _memory()
    if nbytes > machine:
        fits = int(0.8 * machine / nbytes * cells)
        raise MemoryError(
            f"{cells:,} cells (time x environments) need {nbytes / 1e9:.1f} "
            f"GB, and this machine has {machine / 1e9:.1f} GB of memory: lower "
            f"{fix.format(fits)}."
        )


def _memory():
    """The bytes that this process may take."""
    if not hasattr(os, "sysconf"):  # Windows cannot tell.
        return math.inf
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, *map(_limit, _LIMITS))


def _limit(path):
    """The number of bytes in a file; infinite if there is none in it."""
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):  # There is no such file, or it says "max".
        return math.inf
