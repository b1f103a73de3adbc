import json
import os
import random
import shutil

import numpy as np
import pytest

from keras_rl2x.data import state_files

STATE = {
    "epoch": 3,
    "agent": {
        "0000": np.arange(6, dtype="f4").reshape(2, 3),
        "0001": np.array(5, "i8"),
    },
    "callbacks": {
        "Collect_0": {
            "owed": 0.1,
            "best": float("inf"),
            "episodes": [[1.5, 10], [2.5, 20]],
            "rng": {"state": 2**127 + 1, "name": "PCG64"},
            "none": None,
        }
    },
    "flags": np.array([[True], [False]]),
    "empty": np.zeros((0, 3), "u1"),
    "number": np.float32(0.1),
}


def same(one, other):
    if isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, (np.ndarray, np.generic)):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state")


def test_round_trip(path):
    state_files.write(STATE, path)
    same(STATE, state_files.read(path))


def test_a_large_array_goes_and_comes_in_parts(path, monkeypatch):
    monkeypatch.setattr(state_files, "PART_BYTES", 100)
    array = np.arange(50, dtype="i8").reshape(25, 2)
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return array[start:stop]

    lazy = state_files.Parts(array.shape, array.dtype, read)
    np.testing.assert_array_equal(lazy, array)
    asked.clear()
    state_files.write({"lazy": lazy, "array": array}, path)
    assert asked == [(0, 6), (6, 12), (12, 18), (18, 24), (24, 25)]
    state = state_files.read(path)
    for name in ("lazy", "array"):
        assert isinstance(state[name], np.memmap)
        np.testing.assert_array_equal(state[name], array)
    name = next(name for name in os.listdir(path) if "lazy" in name)
    with open(os.path.join(path, name), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        state_files.read(path)


def test_only_arrays_and_json_are_written(path):
    state_files.write(STATE, path)
    names = sorted(os.listdir(path))
    assert names.pop() == "state.json"
    assert all(name.endswith(".npy") for name in names)
    assert any("agent.0001" in name for name in names)
    with open(os.path.join(path, "state.json")) as file:
        assert json.load(file)["values"]["epoch"] == 3


def test_names_do_not_collide(path):
    state = {
        "a": {"b": np.zeros(2), "/b": np.full(2, 3.0)},
        "a.b": np.ones(2),
        "a/.b": np.full(2, 2.0),
    }
    state_files.write(state, path)
    same(state, state_files.read(path))


def test_an_older_one_is_replaced(path):
    state_files.write({"a": np.zeros(2), "b": np.zeros(3)}, path)
    state_files.write({"a": np.ones(2)}, path)
    same({"a": np.ones(2)}, state_files.read(path))
    assert len(os.listdir(path)) == 2


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", range(6))
def test_a_failure_leaves_what_was_there(path, monkeypatch, error, after):
    state_files.write({"old": np.ones(2)}, path)
    flushes = []

    def flush(file):
        flushes.append(file)
        if len(flushes) > after:
            raise error

    monkeypatch.setattr(state_files, "_flush", flush)
    with pytest.raises(type(error)):
        state_files.write(STATE, path)
    same({"old": np.ones(2)}, state_files.read(path))
    assert os.listdir(os.path.dirname(path)) == ["state"]


def test_what_a_killed_process_left_is_no_hindrance(path):
    os.makedirs(f"{path}.writing")
    with open(os.path.join(f"{path}.writing", "junk.npy"), "w") as file:
        file.write("junk")
    with pytest.raises(OSError, match="state.json"):
        state_files.read(path)
    state_files.write(STATE, path)
    same(STATE, state_files.read(path))
    assert os.listdir(os.path.dirname(path)) == ["state"]
    assert "junk.npy" not in os.listdir(path)


def test_missing_files(path):
    with pytest.raises(OSError, match="state"):
        state_files.read(path)
    state_files.write(STATE, path)
    for name in os.listdir(path):
        shutil.copytree(path, f"{path}2")
        os.remove(os.path.join(f"{path}2", name))
        with pytest.raises(OSError, match=name):
            state_files.read(f"{path}2")
        shutil.rmtree(f"{path}2")


def damaged(content, rng):
    """Cut short, a bit flipped, or the first bytes scrambled."""
    content = bytearray(content)
    kind = rng.randrange(3)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        for _ in range(5):
            place = rng.randrange(min(len(content), 128))
            content[place] = rng.randrange(256)
    return content


def test_no_damage_is_overlooked(path):
    state_files.write(STATE, path)
    names = sorted(os.listdir(path))
    rng = random.Random(0)
    for _ in range(600):
        file = os.path.join(path, rng.choice(names))
        with open(file, "rb") as old:
            content = old.read()
        with open(file, "wb") as new:
            new.write(damaged(content, rng))
        try:
            state = state_files.read(path)
        except (ValueError, OSError):
            pass
        else:  # Some bytes of a file's header mean nothing.
            same(STATE, state)
        with open(file, "wb") as new:
            new.write(content)
    same(STATE, state_files.read(path))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"3", b'{"files": {}}'])
def test_an_index_of_something_else(path, content):
    state_files.write(STATE, path)
    with open(os.path.join(path, "state.json"), "wb") as file:
        file.write(content)
    with pytest.raises(ValueError):
        state_files.read(path)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("wrapped", [True, False])
def test_no_code_runs_from_a_file(path, tmp_path, wrapped):
    state_files.write({"a": np.zeros(2)}, path)
    (name,) = [n for n in os.listdir(path) if n.endswith("npy")]
    bomb = Bomb(str(tmp_path / "exploded"))
    array = np.empty(1, object)
    array[0] = bomb
    with open(os.path.join(path, name), "wb") as file:
        if wrapped:
            np.save(file, array, allow_pickle=True)
        else:
            array.dump(file)
    with pytest.raises(ValueError, match="is damaged"):
        state_files.read(path)
    assert not (tmp_path / "exploded").exists()


def test_what_would_need_pickle_is_not_written(path):
    with pytest.raises((TypeError, ValueError)):
        state_files.write({"a": np.array([object()])}, path)
    with pytest.raises(TypeError):
        state_files.write({"a": object()}, path)
    assert not os.path.exists(path)
