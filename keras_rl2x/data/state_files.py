"""A nested dict of arrays and plain values as a folder: no pickle, no code."""

import json
import os
import shutil
import zlib

import numpy as np

_INDEX = "state.json"


def write(state, path):
    """Writes a state, so that `path` is either complete or not there.

    Args:
        state: Nested dict with string keys: NumPy arrays become `.npy` files,
            the rest goes into `state.json`.
        path: String, the folder to make; an older one is replaced.

    Raises:
        OSError: If it could not be written; nothing of it is left then.
    """
    aside = f"{path}.writing"
    shutil.rmtree(aside, ignore_errors=True)
    os.makedirs(aside)
    try:
        files = {}
        values = _write_arrays(state, aside, "", files)
        index = {"files": files, "values": values}
        index["checksum"] = _index_checksum(index)
        text = json.dumps(index)
        with open(os.path.join(aside, _INDEX), "w") as file:
            file.write(text)
            _flush(file)
        shutil.rmtree(path, ignore_errors=True)
        os.rename(aside, path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _flush_folder(os.path.dirname(os.path.abspath(path)))


def read(path):
    """Reads what `write` has written.

    Args:
        path: String, the folder.

    Returns:
        The state: a nested dict.

    Raises:
        OSError: If files are missing.
        ValueError: If they are not what was written.
    """
    with open(os.path.join(path, _INDEX)) as file:
        index = json.load(file)
    if not isinstance(index, dict) or (
        index.pop("checksum", None) != _index_checksum(index)
    ):
        raise ValueError(f"the file {_INDEX} is damaged")
    arrays = {
        name: _read_array(path, name, checksum)
        for name, checksum in index["files"].items()
    }
    return _put_arrays(index["values"], arrays)


def _read_array(folder, name, checksum):
    try:
        array = np.load(os.path.join(folder, name), allow_pickle=False)
        intact = _checksum(array) == checksum
    except OSError:
        raise
    except Exception as error:  # NumPy raises many kinds for a damaged file.
        raise ValueError(f"the file {name} is damaged: {error}") from error
    if not intact:
        raise ValueError(f"the file {name} is damaged")
    return array


def _write_arrays(tree, folder, prefix, files):
    """Writes a tree's arrays; returns it with file names in their place."""
    if isinstance(tree, dict):
        return {
            key: _write_arrays(value, folder, f"{prefix}{key}.", files)
            for key, value in tree.items()
        }
    if not isinstance(tree, (np.ndarray, np.generic)):
        return tree
    # The number keeps apart what has the same name: {"a.b": ...} and
    # {"a": {"b": ...}}.
    name = f"{len(files):04d}.{prefix}npy".replace("/", "_")
    array = np.asarray(tree)
    with open(os.path.join(folder, name), "wb") as file:
        np.save(file, array, allow_pickle=False)
        _flush(file)
    files[name] = _checksum(array)
    return {"__file__": name}


def _put_arrays(tree, arrays):
    if not isinstance(tree, dict):
        return tree
    if set(tree) == {"__file__"}:
        return arrays[tree["__file__"]]
    return {key: _put_arrays(value, arrays) for key, value in tree.items()}


def _checksum(array):
    values = np.ascontiguousarray(array).reshape(-1).view("u1")
    kind = f"{array.dtype.str} {array.shape}"
    return zlib.crc32(values, zlib.crc32(kind.encode()))


def _index_checksum(index):
    return zlib.crc32(json.dumps(index).encode())


def _flush(file):
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(path):
    """Makes the rename itself durable, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_DIRECTORY)
        os.fsync(handle)
        os.close(handle)
