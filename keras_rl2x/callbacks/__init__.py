"""Callbacks: what happens around, and inside, the updates of `fit`."""

from keras_rl2x.callbacks.checkpoint import Checkpoint
from keras_rl2x.callbacks.collect import Collect
from keras_rl2x.callbacks.evaluate import Evaluate
from keras_rl2x.callbacks.graph_callback import GraphCallback
from keras_rl2x.callbacks.record_video import RecordVideo
from keras_rl2x.callbacks.stop_passes import StopPasses
from keras_rl2x.callbacks.target_update import TargetUpdate
from keras_rl2x.callbacks.tensorboard import TensorBoard
from keras_rl2x.callbacks.update_priorities import UpdatePriorities

__all__ = [
    "Checkpoint",
    "Collect",
    "Evaluate",
    "GraphCallback",
    "RecordVideo",
    "StopPasses",
    "TargetUpdate",
    "TensorBoard",
    "UpdatePriorities",
]
