"""A nested dict of arrays and plain values as a folder: no pickle, no code."""

import json
import os
import shutil
import zlib

import numpy as np

_INDEX = "state.json"

# Of a replay as large as half of the memory there is no room for a copy: arrays
# above this size are written, and read, a part at a time.
PART_BYTES = 2**26


class Parts:
    """An array that is made a part at a time.

    Args:
        shape: Tuple of integers.
        dtype: As in NumPy.
        read: Function of two integers, from which row to which, that returns
            these as an array.
    """

    def __init__(self, shape, dtype, read):
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.read = read

    def __array__(self, dtype=None, copy=None):
        whole = np.concatenate([part for _, part in parts(self)])
        return whole.astype(dtype or self.dtype)


def size(array):
    """The bytes of an array, or of `Parts`."""
    return int(np.prod(array.shape)) * array.dtype.itemsize


def parts(array):
    """Pairs of a row and the part that begins there, of an array or `Parts`."""
    rows = array.shape[0]
    step = max(1, PART_BYTES * rows // max(1, size(array)))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        lazy = isinstance(array, Parts)
        yield start, array.read(start, stop) if lazy else array[start:stop]


def write(state, path):
    """Writes a state, so that `path` is either complete or not there.

    Args:
        state: Nested dict with string keys: NumPy arrays, and `Parts`, become
            `.npy` files, the rest goes into `state.json`.
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
        The state: a nested dict. Large arrays stay in their files, and cannot
        be written to.

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
    path = os.path.join(folder, name)
    mode = "r" if os.path.getsize(path) > PART_BYTES else None
    try:
        array = np.load(path, mode, allow_pickle=False)
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
    if not isinstance(tree, (np.ndarray, np.generic, Parts)):
        return tree
    # The number keeps apart what has the same name: {"a.b": ...} and
    # {"a": {"b": ...}}.
    name = f"{len(files):04d}.{prefix}npy".replace("/", "_")
    with open(os.path.join(folder, name), "wb") as file:
        files[name] = _write_array(tree, file)
        _flush(file)
    return {"__file__": name}


def _write_array(array, file):
    """Writes one array, as `np.save` does; returns its checksum."""
    if not isinstance(array, Parts):
        array = _portable(np.asarray(array))
        np.save(file, array, allow_pickle=False)
        return _checksum(array)
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    checksum = _checksum_of_kind(array)
    for _, part in parts(array):
        values = _bytes(part)
        file.write(values)
        checksum = zlib.crc32(values, checksum)
    return checksum


def _portable(array):
    """NumPy's files know no bfloat16: float32 holds the same numbers."""
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _put_arrays(tree, arrays):
    if not isinstance(tree, dict):
        return tree
    if set(tree) == {"__file__"}:
        return arrays[tree["__file__"]]
    return {key: _put_arrays(value, arrays) for key, value in tree.items()}


def _checksum(array):
    return zlib.crc32(_bytes(array), _checksum_of_kind(array))


def _checksum_of_kind(array):
    return zlib.crc32(f"{array.dtype.str} {array.shape}".encode())


def _bytes(array):
    return np.ascontiguousarray(array).reshape(-1).view("u1")


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
