import gc

import numpy as np
import tensorflow as tf

from keras_rl2x.compiled import Compiled
from keras_rl2x.compiled import direct


def test_direct_computes_what_the_function_does():
    variable = tf.Variable([1.0, 2.0])

    @tf.function
    def function(x):
        variable.assign_add(x)
        return variable * 2.0, tf.reduce_sum(x)

    call = direct(function.get_concrete_function(tf.TensorSpec([2], "float32")))
    doubled, total = call(tf.constant([3.0, 5.0]))
    np.testing.assert_array_equal(doubled, [8.0, 14.0])
    assert total == 8.0
    np.testing.assert_array_equal(variable, [4.0, 7.0])


def test_direct_keeps_its_function():
    def make():
        function = tf.function(lambda x: x + 1.0)
        return direct(
            function.get_concrete_function(tf.TensorSpec([], "float32"))
        )

    call = make()
    gc.collect()
    assert call(tf.constant(1.0))[0] == 2.0


def test_compiled_takes_structures_of_arrays():
    spec = tf.TensorSpec([2], "float32")
    compiled = Compiled(
        lambda tree, offset: tree["a"] - tree["b"] + offset,
        ({"a": spec, "b": spec}, tf.TensorSpec([], "float32")),
    )
    # Given as other types than it computes with.
    tree = {"b": np.array([1, 2]), "a": [5.0, 7.0]}
    (result,) = compiled(tree, 10)
    np.testing.assert_array_equal(result, [14.0, 15.0])


def test_compiled_without_arguments():
    variable = tf.Variable(3)
    read = Compiled(lambda: [tf.convert_to_tensor(variable)])
    assert read()[0] == 3
    variable.assign(4)
    assert read()[0] == 4
