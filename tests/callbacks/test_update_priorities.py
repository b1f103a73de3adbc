import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from tests.callbacks.living import Living


class Watch(rl.callbacks.GraphCallback):
    def __init__(self):
        super().__init__()
        self.index = tf.Variable(tf.zeros([8], tf.int32))
        self.error = tf.Variable(tf.zeros([8]))

    def on_update(self, agent, batch, values):
        self.index.assign(batch["index"])
        self.error.assign(values["td_error"])


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_priority_is_the_error_of_the_last_update(steps_per_execution):
    living = Living(
        steps_per_execution=steps_per_execution,
        make_replay=rl.data.PrioritizedReplay,
    )
    watch = Watch()
    living.fit(watch, rl.callbacks.UpdatePriorities(living.replay))
    index, error = watch.index.numpy(), watch.error.numpy()
    priority = living.replay.get_state()["priority"]
    expected = dict(zip(index, (error + 1e-6) ** 0.6))
    received = {cell: priority[cell] for cell in expected}
    assert len(expected) > 1
    for cell, value in expected.items():
        np.testing.assert_allclose(received[cell], value, rtol=1e-5)


def test_needs_priorities():
    living = Living()
    with pytest.raises(TypeError, match="PrioritizedReplay"):
        rl.callbacks.UpdatePriorities(living.replay)


def test_priorities_need_something_that_sets_them():
    living = Living(make_replay=rl.data.PrioritizedReplay)
    with pytest.raises(ValueError, match=r"add `rl.callbacks.UpdatePriorities"):
        living.fit()


def test_needs_errors():
    class Silent(rl.agents.DQN):
        def finish(self, batch, td_error, **values):
            return super().finish(batch, **values)

    living = Living(make_replay=rl.data.PrioritizedReplay)
    silent = Silent.from_config(living.agent.get_config())
    silent.compile("adam", steps_per_execution=4)
    living.agent = silent
    with pytest.raises(ValueError, match="Silent does not give `td_error`"):
        living.fit(rl.callbacks.UpdatePriorities(living.replay))
