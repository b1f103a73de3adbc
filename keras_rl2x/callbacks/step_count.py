"""An agent's count of environment steps, without the time of Keras's methods.

These take four times as long.
"""

import tensorflow as tf


def read(agent):
    """Integer, the environment steps that an agent has taken."""
    handle = agent.env_steps.value.handle
    return int(tf.raw_ops.ReadVariableOp(resource=handle, dtype="int64"))


def add(agent, env_steps):
    """Counts some more, an integer."""
    tf.raw_ops.AssignAddVariableOp(
        resource=agent.env_steps.value.handle,
        value=tf.constant(env_steps, "int64"),
    )
