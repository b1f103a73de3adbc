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
        signature = self._run.get_signature_runner()
        details = signature.get_input_details()
        inputs = {name: detail["index"] for name, detail in details.items()}
        outputs = signature.get_output_details()
        self._obs = _indices(inputs, "x")
        self._weights = _indices(inputs, "w")
        self._dtypes = [
            details[f"x{i}"]["dtype"] for i in range(len(self._obs))
        ]
        self._outputs = [outputs[f"y{i}"]["index"] for i in range(len(outputs))]

    def set_weights(self, weights):
        """Takes a copy of the weights.

        Args:
            weights: List of arrays, in the order of the export; those that are
                `None` stay as they are.
        """
        for index, value in zip(self._weights, weights):
            if value is not None:
                self._run.set_tensor(index, value)

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
        for index, leaf, dtype in zip(self._obs, leaves, self._dtypes):
            self._run.set_tensor(index, leaf.astype(dtype, copy=False))
        self._run.invoke()
        values = [self._run.get_tensor(index) for index in self._outputs]
        return values[0] if len(values) == 1 else values


def _indices(inputs, letter):
    count = sum(name.startswith(letter) for name in inputs)
    return [inputs[f"{letter}{i}"] for i in range(count)]
