import numpy as np
import pytest
import tensorflow as tf

from keras_rl2x import data
from keras_rl2x.data.stream import signature
from tests.data.lives import Life
from tests.data.lives import environments


def append(stream, rows, next_obs):
    return stream.append(*tf.nest.map_structure(tf.constant, (rows, next_obs)))


def lived(keep, steps=(), num_envs=2, end=0.0):
    stream = data.Stream(environments(num_envs), keep)
    life = Life(num_envs, seed=1, end=end)
    first = life.begin()
    append(stream, life.rows(0)[0], first)
    for count in steps:
        append(stream, *life.rows(count))
    return stream, life


def test_rows_and_their_successors():
    stream, _ = lived(keep=5, steps=(2, 1))
    # Two endless episodes: observations 1, 3, 5, 7 and 2, 4, 6, 8.
    obs = stream.read("obs", [0, 1, 2, 3])
    np.testing.assert_array_equal(obs, [[1, 2], [3, 4], [5, 6], [7, 8]])
    assert stream.head == 3


def test_append_returns_cells():
    stream, life = lived(keep=3, steps=(2,))
    written, head = append(stream, *life.rows(3))
    # Rows 2, 3 and 0 of four; the head is row 1.
    np.testing.assert_array_equal(written, [4, 5, 6, 7, 0, 1])
    np.testing.assert_array_equal(head, [2, 3])
    assert stream.head == 1


def test_the_oldest_rows_are_overwritten():
    stream, _ = lived(keep=3, steps=(2, 3, 1))
    # Seven rows with the head; four are kept, the newest in row 6 % 4.
    assert stream.head == 2
    np.testing.assert_array_equal(
        stream.read("obs", [3, 0, 1, 2]), [[7, 8], [9, 10], [11, 12], [13, 14]]
    )


def test_gather_follows_cells():
    stream, _ = lived(keep=5, steps=(3,))
    np.testing.assert_array_equal(
        stream.gather("obs", [[0, 2], [3, 5]]), [[1, 3], [4, 6]]
    )
    np.testing.assert_array_equal(stream.cells_of([2, 0]), [4, 5, 0, 1])


def test_there_is_nothing_to_truncate_at_first():
    stream, _ = lived(keep=5)
    rows = stream.truncate()
    assert len(rows["obs"]) == len(rows["dead"]) == 0


def test_truncate_ends_what_is_under_way():
    stream, _ = lived(keep=5, num_envs=4)
    shape = (2, 4)
    rows = {
        "obs": np.arange(8, dtype="f4").reshape(shape),
        "action": np.zeros(shape, "i4"),
        "reward": np.zeros(shape, "f4"),
        "terminated": np.zeros(shape, bool),
        "truncated": np.zeros(shape, bool),
        "dead": np.zeros(shape, bool),
    }
    rows["terminated"][1, 1] = True
    rows["truncated"][1, 2] = True
    rows["terminated"][0, 3] = rows["dead"][1, 3] = True
    append(stream, rows, np.array([8, 9, 10, 11], "f4"))
    dead = stream.truncate()
    # Environment 0 was under way; 1 and 2 had just ended, 3 begun anew.
    np.testing.assert_array_equal(
        stream.read("truncated", [0, 1]), [[0, 0, 0, 0], [1, 0, 1, 0]]
    )
    np.testing.assert_array_equal(
        stream.read("terminated", [0, 1]), rows["terminated"]
    )
    np.testing.assert_array_equal(dead["obs"], [[8, 9, 10, 11]])
    assert dead["dead"].all()
    assert not dead["terminated"].any()
    assert not dead["truncated"].any()


def test_too_many_rows_are_refused():
    stream, life = lived(keep=3)
    stream.check_rows(life.rows(3)[0])
    rows, _ = life.rows(3)
    del rows["dead"]
    with pytest.raises(ValueError, match="entries .*'dead'.*add_episode"):
        stream.check_rows(rows)
    with pytest.raises(ValueError, match="A chunk of 4 rows does not fit"):
        stream.check_rows(life.rows(4)[0])


def test_the_signature_fits_what_is_appended():
    stream, life = lived(keep=3)
    specs = signature(environments(2))
    appended = tf.function(stream.append, input_signature=specs)
    written, head = appended(*life.rows(2))
    np.testing.assert_array_equal(written, [0, 1, 2, 3])
    np.testing.assert_array_equal(head, [4, 5])
    obs = specs[1]
    assert (obs.shape.as_list(), obs.dtype) == ([2], tf.float32)


def test_variables_are_on_the_cpu():
    stream, _ = lived(keep=3)
    assert "CPU" in stream.fields["obs"].device
