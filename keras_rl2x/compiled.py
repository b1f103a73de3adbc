"""Calls of graph functions at the least cost.

Between other work, where caches are cold, a call through `tf.function` costs
280 to 350 us before anything is computed, one through its concrete function
200; here 30 are left. A small network's update takes as long.
"""

import numpy as np
import optree
import tensorflow as tf


def direct(concrete, threads=True):
    """A concrete function without its checks, and without gradients.

    Args:
        concrete: What `tf.function(...).get_concrete_function(...)` returns.
        threads: Boolean, whether operations may run side by side. Of many that
            are small, each costs less without; but then there must be no loops
            and branches. Defaults to `True`.

    Returns:
        Function from its inputs, flat tensors or arrays of the right types, to
        the list of its outputs, flat too.
    """
    captured = concrete.captured_inputs
    dtypes = [output.dtype for output in concrete.outputs]
    executor = "" if threads else "SINGLE_THREADED_EXECUTOR"

    def call(*leaves):
        # By its name: the runtime forgets what is not held, as it is here.
        return tf.raw_ops.StatefulPartitionedCall(
            args=[*leaves, *captured],
            Tout=dtypes,
            f=concrete.name,
            executor_type=executor,
        )

    return call


class Compiled:
    """A function in the graph, called on arrays.

    Args:
        function: Function of tensors, or of structures of such.
        signature: Tuple of `tf.TensorSpec`s (or structures), its arguments.
    """

    def __init__(self, function, signature=()):
        specs, self._tree = optree.tree_flatten(signature)
        self._dtypes = [spec.dtype.as_numpy_dtype for spec in specs]
        self._function = tf.function(
            lambda *flat: function(*optree.tree_unflatten(self._tree, flat)),
            input_signature=specs,
            autograph=False,
        )
        self._call = None

    def __call__(self, *arguments):
        """List of what the function returned, as flat tensors."""
        if self._call is None:
            concrete = self._function.get_concrete_function()
            kinds = [
                operation.type for operation in concrete.graph.get_operations()
            ]
            self._call = direct(
                concrete,
                threads=any(k.endswith(("While", "If")) for k in kinds),
            )
        leaves = self._tree.flatten_up_to(arguments)
        # Copies, as the runtime would else take the caller's memory for its
        # own. `tf.constant`, which copies too, takes five times as long.
        return self._call(*map(np.array, leaves, self._dtypes))
