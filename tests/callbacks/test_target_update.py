import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from tests.callbacks.living import Living

UPDATES = 12


class Watch(rl.callbacks.GraphCallback):
    """Writes down one weight of the network and of its target."""

    def __init__(self):
        super().__init__()
        self.seen = tf.Variable(tf.zeros([UPDATES, 2]))

    def on_update(self, agent, batch, values):
        target, source = agent.targets[0]
        weights = [source.variables[-1][0], target.copies[-1][0]]
        self.seen[agent.optimizer.iterations - 1].assign(tf.stack(weights))


def watch(steps_per_execution, **kwargs):
    living = Living(steps_per_execution=steps_per_execution)
    living.targets = rl.callbacks.TargetUpdate(**kwargs)
    watching = Watch()
    living.fit(watching, steps_per_epoch=UPDATES)
    online, target = watching.seen.numpy().T
    assert len(set(online)) == UPDATES  # Each update moved the network.
    return online, target


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_hard_update_at_exactly_every_third(steps_per_execution):
    online, target = watch(steps_per_execution, every=3)
    expected = [0, 0, *np.repeat(online[2::3], 3)][
        :UPDATES
    ]  # Bias: 0 at first.
    np.testing.assert_array_equal(target, np.float32(expected))


@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.parametrize("every", [1, 3])
def test_polyak_update(steps_per_execution, every):
    online, target = watch(steps_per_execution, every=every, tau=0.25)
    expected, value = [], 0.0
    for update, weight in enumerate(online, 1):
        if update % every == 0:
            value += 0.25 * (weight - value)
        expected.append(value)
    np.testing.assert_allclose(target, expected, rtol=1e-5, atol=1e-8)


def test_missing():
    living = Living()
    with pytest.raises(
        ValueError, match=r"(?s)target network.*TargetUpdate\(every=...\)"
    ):
        living.agent.fit(
            living.replay.dataset(8),
            steps_per_epoch=8,
            callbacks=[living.collect()],
        )


@pytest.mark.parametrize("every", [0, -1, 2.5])
def test_wrong_every(every):
    with pytest.raises(ValueError, match=f"every={every}"):
        rl.callbacks.TargetUpdate(every)


@pytest.mark.parametrize("tau", [0, -0.1, 1.5])
def test_wrong_tau(tau):
    with pytest.raises(ValueError, match=f"tau={tau}"):
        rl.callbacks.TargetUpdate(tau=tau)
