"""A policy network on the host: LiteRT, with the weights as inputs.

Imports neither TensorFlow nor Keras, so that an actor process stays small
(64-77 MB instead of 250-261).
"""

import numpy as np
import optree

from keras_rl2x import extras


def available():
    """Whether LiteRT is installed."""
    return extras.find("ai_edge_litert.interpreter") is not None


class HostNetwork:
    """Computes one network for one batch size, on one thread.

    Not thread-safe: one thread at a time may use it.

    Args:
        flatbuffer: Bytes, made by `keras_rl2x.acting.export.flatbuffer`: a
            model whose inputs are the observation's leaves `x0, x1, ...` and
            the weights `w0, w1, ...`.
    """

    def __init__(self, flatbuffer):
        litert = extras.require(
            "ai_edge_litert.interpreter", "ai-edge-litert", "Acting on the host"
        )
        self._run = litert.Interpreter(model_content=flatbuffer, num_threads=1)
        self._run.allocate_tensors()
        inputs = self._run.get_input_details()
        self._obs = _numbered(inputs, "x")
        self._weights = _numbered(inputs, "w")
        self._outputs = [one["index"] for one in self._run.get_output_details()]

    def set_weights(self, weights):
        """Takes a copy of the weights.

        Args:
            weights: List of arrays, in the order of the export; those that are
                `None` stay as they are.
        """
        for number, detail in self._weights:
            if weights[number] is not None:
                self._run.set_tensor(detail["index"], weights[number])

    def __call__(self, obs):
        """The network's outputs.

        Args:
            obs: Array `[N, ...]`, or a structure of such.

        Returns:
            Array, or a list of arrays if the network has several outputs.
        """
        leaves = (
            [obs] if isinstance(obs, np.ndarray) else optree.tree_leaves(obs)
        )
        for number, detail in self._obs:
            leaf = leaves[number].astype(detail["dtype"], copy=False)
            self._run.set_tensor(detail["index"], leaf)
        self._run.invoke()
        values = [self._run.get_tensor(index) for index in self._outputs]
        return values[0] if len(values) == 1 else values


def _numbered(inputs, letter):
    """Pairs of the number in an input's name, such as `x0`, and its details."""
    names = [(one["name"], one) for one in inputs]
    return [(int(name[1:]), one) for name, one in names if name[0] == letter]
