"""Writes what was learned of each transition back into the replay."""

from keras_rl2x.callbacks.graph_callback import GraphCallback


class UpdatePriorities(GraphCallback):
    """Sets the priority of every transition of a batch to its error.

    Args:
        replay: The `data.PrioritizedReplay` that `fit` draws from.

    Raises:
        TypeError: If `replay` has no priorities.
        ValueError: From `fit`, if the agent gives no `td_error`.

    Reference:
     - [Schaul et al., 2016](https://arxiv.org/abs/1511.05952), algorithm 1
    """

    def __init__(self, replay):
        super().__init__()
        if not hasattr(replay, "update"):
            raise TypeError(
                "`replay` must be an `rl.data.PrioritizedReplay`. Received: "
                f"replay={replay!r}"
            )
        self.replay = self.works_on = replay

    def on_update(self, agent, batch, values):
        if "td_error" not in values:
            raise ValueError(
                f"{type(agent).__name__} does not give `td_error` to `finish`, "
                "which priorities are made of: draw from `rl.data.Replay`, "
                "without `UpdatePriorities`."
            )
        self.replay.update(batch["index"], values["td_error"])
