"""Static rank checks: `[B]` against `[B, 1]` is an error, not a `[B, B]`."""


def assert_rank(rank, **tensors):
    """Raises `ValueError` if a tensor has another number of axes.

    Args:
        rank: Integer.
        **tensors: The tensors, by the names to use in the message.
    """
    for name, tensor in tensors.items():
        if len(tensor.shape) != rank:
            raise ValueError(
                f"`{name}` must have {rank} axes. "
                f"Received: {name} of shape {tuple(tensor.shape)}"
            )
