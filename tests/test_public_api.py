"""What users can name exists, and is documented."""

import importlib
import inspect
import subprocess
import sys

import pytest

import keras_rl2x

SUBPACKAGES = [
    "acting",
    "agents",
    "callbacks",
    "data",
    "envs",
    "networks",
    "ops",
    "presets",
    "spaces",
]


def public(name):
    """Pairs of a name and an object: what a subpackage offers."""
    module = importlib.import_module(f"keras_rl2x.{name}")
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            key
            for key, value in vars(module).items()
            if not key.startswith("_")
            and getattr(value, "__module__", None) == module.__name__
        ]
    return [(key, getattr(module, key)) for key in names]


def offered():
    """Triples: a subpackage, a name in it and the object of that name."""
    for name in SUBPACKAGES:
        for key, value in public(name):
            yield name, key, value
            if inspect.ismodule(value):
                for inner, thing in vars(value).items():
                    own = getattr(thing, "__module__", "") == value.__name__
                    if own and not inner.startswith("_"):
                        yield f"{name}.{key}", inner, thing
    for key in keras_rl2x._FUNCTIONS:
        yield "rl", key, getattr(keras_rl2x, key)


OFFERED = list(offered())
IDS = [f"{name}.{key}" for name, key, _ in OFFERED]


def arguments(thing):
    if inspect.isclass(thing):
        thing = thing.__init__
    names = inspect.signature(thing).parameters.values()
    return [p.name for p in names if p.name not in ("self", "args", "kwargs")]


def test_the_package_offers_what_it_says():
    assert set(SUBPACKAGES) <= set(keras_rl2x.__all__)
    for name in keras_rl2x.__all__:
        assert getattr(keras_rl2x, name) is not None
    assert set(keras_rl2x.__all__) <= set(dir(keras_rl2x))
    with pytest.raises(AttributeError, match="'nothing'"):
        keras_rl2x.nothing  # noqa: B018


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_all_is_sorted_out(name):
    module = importlib.import_module(f"keras_rl2x.{name}")
    names = [key for key, _ in public(name)]
    assert names
    assert len(names) == len(set(names))
    assert module.__doc__


def test_acting_says_so_when_a_name_is_wrong():
    with pytest.raises(AttributeError, match="'nothing'"):
        keras_rl2x.acting.nothing  # noqa: B018


@pytest.mark.parametrize(("_", "key", "thing"), OFFERED, ids=IDS)
def test_docstrings_mention_every_argument(_, key, thing):
    text = inspect.getdoc(thing)
    assert text, f"{key} has no docstring"
    if inspect.ismodule(thing):
        return
    if inspect.isclass(thing) and "__doc__" not in vars(thing):
        pytest.fail(f"{key} inherits its docstring")
    missing = [name for name in arguments(thing) if name not in text]
    assert not missing, f"{key} does not document {missing}"


METHODS = [
    (f"{key}.{name}", method)
    for _, key, thing in OFFERED
    if inspect.isclass(thing)
    for name, method in vars(thing).items()
    if inspect.isfunction(method) and not name.startswith("_")
]


@pytest.mark.parametrize(
    "method",
    [method for _, method in METHODS],
    ids=[name for name, _ in METHODS],
)
def test_methods_document_their_arguments_or_inherit_them(method):
    text = inspect.getdoc(method)
    if text is None:  # What it overrides says what it does.
        return
    if "Args:" in text:
        missing = [name for name in arguments(method) if name not in text]
        assert not missing, f"{method.__qualname__}: {missing}"


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_no_tensorflow():
    loaded = run_python(
        "import sys, keras_rl2x;"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    assert loaded == "[]"


def test_what_acts_on_the_host_imports_no_tensorflow():
    loaded = run_python(
        "import sys\n"
        "import keras_rl2x.acting.driver\n"
        "import keras_rl2x.acting.host\n"
        "import keras_rl2x.acting.samplers\n"
        "import keras_rl2x as rl\n"
        "rl.acting.Driver, rl.acting.HostNetwork, rl.acting.play_episodes\n"
        "rl.acting.samplers.epsilon_greedy, rl.envs.make, rl.spaces.spec\n"
        "rl.acting.host.available()\n"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    assert loaded == "[]"
