"""What `Agent.minimize` refuses, and what to do about it."""


def check_moved(optimizer, variables):
    """Refuses variables that an optimizer was not built for.

    Args:
        optimizer: A Keras optimizer.
        variables: List of the `keras.Variable`s that it is to move.

    Raises:
        ValueError: Names them.
    """
    known = set(map(id, optimizer._trainable_variables))
    unknown = [v.path for v in variables if id(v) not in known]
    if optimizer.built and unknown:
        raise ValueError(
            "Weights became trainable after the optimizer that moves them was "
            "built: make a new agent of the same networks, which keep what "
            "they have learned, and compile it with a new optimizer. "
            f"Received: {unknown}"
        )


def check_losses(agent):
    """Refuses losses that layers added while a loss was computed.

    They are sums over whatever a network was called with, targets included.

    Args:
        agent: An `Agent`.

    Raises:
        ValueError: Names the layers.
    """
    layers = agent._flatten_layers(include_self=False)
    added = sorted({layer.name for layer in layers if layer._get_own_losses()})
    if added:
        raise ValueError(
            f"{type(agent).__name__} does not learn from losses that layers "
            "add in `call`, as `add_loss` and `activity_regularizer` do: leave "
            "them out. (Regularizers of weights, such as `kernel_regularizer`, "
            f"it does apply.) Received: the layers {added}"
        )
