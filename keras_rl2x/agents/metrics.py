"""What an agent logs."""

import keras


class Means(keras.metrics.Metric):
    """Running means of several numbers at once.

    One `keras.metrics.Mean` for each would take ten operations for each number
    in every update: a tenth of a small network's update.

    Args:
        names: Sequence of strings.
    """

    def __init__(self, names):
        super().__init__(name="means", dtype="float32")
        self.names = tuple(names)
        zeros = keras.initializers.Zeros()
        self.total = self.add_variable((len(self.names),), zeros, name="total")
        self.count = self.add_variable((), zeros, name="count")

    def update_state(self, values):
        """Takes in a dict of tensors of any shape; others than `names` too."""
        means = [
            keras.ops.cast(keras.ops.mean(values[name]), self.dtype)
            for name in self.names
        ]
        self.total.assign_add(keras.ops.stack(means))
        self.count.assign_add(1.0)

    def result(self):
        """Dict from the names to scalars, 0 before the first update."""
        means = self.total / keras.ops.maximum(self.count, 1.0)
        return dict(zip(self.names, keras.ops.unstack(means)))
