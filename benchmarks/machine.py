"""What a benchmark says of where it ran; standard library only.

Results are committed: nothing here names a host, a user or a folder.
"""

import importlib.metadata
import os
import platform
import re
import resource
import shlex
import sys

# What our results depend on.
OURS = (
    "keras_rl2x",
    "tensorflow",
    "keras",
    "ai_edge_litert",
    "gymnasium",
    "ale_py",
    "numpy",
)


def machine():
    """Dict: processor, cores that may be used, memory, operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 2**30, 1),
        "os": f"{platform.system()} {platform.machine()}",
    }


def versions(*modules):
    """Dict from `"python"` and each installed module to its version."""
    distributions = importlib.metadata.packages_distributions()
    return {
        "python": platform.python_version(),
        **{
            module: importlib.metadata.version(distributions[module][0])
            for module in modules
            if module in distributions
        },
    }


def command():
    """The command line of this process; of absolute paths, the last part."""
    script = os.path.basename(sys.argv[0])
    # Also of the path in --out=/some/where.
    words = [re.sub(r"(^|=)/.*/", r"\1", word) for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{script}", *words])


def peak_mb():
    """The most memory that this process has held, in MB (2**20 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _cpu_model():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
