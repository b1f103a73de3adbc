"""How a rollout is cut into minibatches, each pass in another order."""

import tensorflow as tf


def check(rollout, minibatch_size, passes, sequences):
    """Refuses sizes that do not divide a rollout.

    Args:
        rollout: A `Rollout`.
        minibatch_size: Integer, in cells.
        passes: Integer, how often to go through one filling.
        sequences: Boolean, whether the environments are not cut in time.

    Raises:
        ValueError: If the arguments do not fit; says which would.
    """
    size, steps = rollout.size, rollout.steps
    wrong = (
        int(passes) != passes
        or passes < 1
        or minibatch_size < 1
        or size % minibatch_size
    )
    if wrong:
        divisors = [n for n in range(1, size + 1) if not size % n]
        nearest = min(divisors, key=lambda n: abs(n - minibatch_size))
        raise ValueError(
            f"`minibatch_size` must divide the {size} cells of the rollout "
            f"({steps} steps of {rollout.num_envs} environments), {nearest} "
            "for instance, and `passes` be an integer >= 1. Received: "
            f"{minibatch_size=}, {passes=}"
        )
    if sequences and rollout.num_envs % (size // minibatch_size):
        raise ValueError(
            "With sequences, `minibatch_size` must be a multiple of the "
            f"{steps} steps that divides the rollout of {size}: the "
            "environments are not cut in time. Received: "
            f"{minibatch_size=}"
        )


def orders(seed, draws, passes, units, shuffled):
    """Integers below `units`, in an order of their own for each pass.

    Args:
        seed: Integer.
        draws: A `tf.Variable`, how many orders were drawn; counted on.
        passes: Integer.
        units: Integer.
        shuffled: Boolean. Else the order does not matter, and is as counted.

    Returns:
        Integer tensor `[passes * units]`.
    """
    if not shuffled:
        return tf.tile(tf.range(units), [passes])
    first = draws.assign_add(passes) - passes
    shuffles = [
        tf.random.experimental.stateless_shuffle(
            tf.range(units), [seed, first + i]
        )
        for i in range(passes)
    ]
    return tf.concat(shuffles, 0)
