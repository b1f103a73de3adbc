"""Who may import whom: the house of the design, checked file by file."""

import ast
import pathlib

import keras_rl2x

PACKAGE = "keras_rl2x"
ROOT = pathlib.Path(keras_rl2x.__file__).parent

# From the top to the bottom; an import points to a lower line, or stays in
# its own folder.
LEVELS = [
    {"training", "cli"},
    {"compose", "run_folder"},
    {"compose_networks"},
    {"presets", "distributed"},
    {"agents", "callbacks"},
    {"networks", "data", "acting"},
    {"ops", "envs"},
    {"arguments", "spaces", "extras", "compiled"},
]
# What else a folder may not import.
BANNED = {
    "ops": {"tensorflow", "gymnasium", "numpy"},
    "envs": {"keras", "tensorflow"},
    "spaces": {"keras", "tensorflow"},
    "arguments": {"keras", "tensorflow"},
    "extras": {"keras", "tensorflow"},
    "run_folder": {"keras", "tensorflow", "numpy", "gymnasium"},
}


def level(part):
    """How high a folder (or a file of the top level) stands."""
    for height, parts in enumerate(reversed(LEVELS)):
        if part in parts:
            return height
    raise ValueError(f"'{part}' has no place in the house: add it to LEVELS")


def imports(tree):
    """Pairs of a node and a full name, for everything that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                yield node, f"{base}.{alias.name}"


def inside_functions(tree):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }


def violations(source, module):
    """What is wrong in a file: a list of strings.

    Args:
        source: String, its text.
        module: String, its full name, such as `"keras_rl2x.data.replay"`.
    """
    found = []
    own = module.split(".")[1]
    tree = ast.parse(source)
    deep = inside_functions(tree)
    for node, name in imports(tree):
        where = f"{module}:{node.lineno}: {name}"
        root, *parts = name.split(".")
        if id(node) in deep:
            found.append(f"{where}: imported inside a function")
        if root == "":
            found.append(f"{where}: relative import")
        elif root in BANNED.get(own, ()):
            found.append(f"{where}: not for {own}")
        elif root == PACKAGE:
            other = parts[0] if parts else None
            if other is None:
                if own != "cli":  # It speaks as a user would.
                    found.append(f"{where}: the whole package")
            elif other != own and level(other) >= level(own):
                found.append(f"{where}: {own} may not import {other}")
    return found


def files():
    """Pairs of a module's full name and its path, `__init__.py` excepted."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join([PACKAGE, *parts]).removesuffix(".__init__"), path


def test_imports_point_to_a_lower_line():
    found = []
    for module, path in files():
        found += violations(path.read_text(), module)
    assert not found, "\n".join(found)


def test_the_package_itself_imports_nothing_of_its_own():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    names = {name.split(".")[0] for _, name in imports(tree)}
    assert names == {"importlib", "sys"}


def cycles(graph):
    """The modules that can be reached from themselves."""

    def reachable(start):
        seen, stack = set(), [start]
        while stack:
            for other in graph.get(stack.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return seen

    return {module for module in graph if module in reachable(module)}


def import_graph(sources):
    """Dict from each module's full name to those that it imports.

    Args:
        sources: Dict from full names to texts.
    """
    graph = {}
    for module, source in sources.items():
        graph[module] = set()
        for _, name in imports(ast.parse(source)):
            parent = name.rpartition(".")[0]
            target = name if name in sources else parent
            if target in sources:
                graph[module].add(target)
    return graph


def test_no_import_cycles():
    graph = import_graph({name: path.read_text() for name, path in files()})
    assert len(graph) > 30
    assert any(graph.values())
    assert cycles(graph) == set()


def test_everything_has_a_place_and_every_place_is_used_once():
    present = {module.split(".")[1] for module, _ in files()}
    for part in present:
        level(part)
    assert sum(map(len, LEVELS)) == len(set().union(*LEVELS))


# The checker itself, on planted violations.


def planted(source, module):
    return [line.rpartition(": ")[2] for line in violations(source, module)]


def test_an_upward_import_is_found():
    for source in (
        "from keras_rl2x import agents",
        "from keras_rl2x.agents import DQN",
        "from keras_rl2x.agents.dqn import DQN",
        "import keras_rl2x.agents.dqn",
    ):
        assert planted(source, "keras_rl2x.data.replay") == [
            "data may not import agents"
        ]


def test_a_sideways_import_is_found():
    assert planted(
        "from keras_rl2x import callbacks", "keras_rl2x.agents.dqn"
    ) == ["agents may not import callbacks"]
    assert planted(
        "from keras_rl2x.networks import mlp", "keras_rl2x.data.replay"
    ) == ["data may not import networks"]


def test_an_import_in_a_function_is_found():
    source = "class A:\n    def f(self):\n        if 1:\n            import os"
    assert planted(source, "keras_rl2x.ops.value") == [
        "imported inside a function"
    ]


def test_other_violations_are_found():
    assert planted("import tensorflow as tf", "keras_rl2x.ops.value") == [
        "not for ops"
    ]
    assert planted("from keras import ops", "keras_rl2x.envs.make") == [
        "not for envs"
    ]
    assert planted("from . import replay", "keras_rl2x.data.stream") == [
        "relative import"
    ]
    assert planted("import keras_rl2x", "keras_rl2x.agents.dqn") == [
        "the whole package"
    ]


def test_right_imports_pass():
    source = (
        "import numpy as np\n"
        "import tensorflow as tf\n"
        "from keras_rl2x import ops\n"
        "from keras_rl2x import spaces\n"
        "from keras_rl2x.data.stream import Stream\n"
    )
    assert violations(source, "keras_rl2x.data.replay") == []


def test_a_cycle_is_found():
    sources = {
        "keras_rl2x.a": "from keras_rl2x.b import f",
        "keras_rl2x.b": "from keras_rl2x import c",
        "keras_rl2x.c": "import keras_rl2x.a",
        "keras_rl2x.d": "from keras_rl2x.c import g",
    }
    assert cycles(import_graph(sources)) == {
        "keras_rl2x.a",
        "keras_rl2x.b",
        "keras_rl2x.c",
    }
