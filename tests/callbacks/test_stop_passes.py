import keras
import pytest
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x.envs import toy


class Count(rl.callbacks.GraphCallback):
    """Counts the updates that were made."""

    def __init__(self):
        super().__init__()
        self.count = tf.Variable(0)

    def on_update(self, agent, batch, values):
        self.count.assign_add(1)


def fit(kl, make_agent=None, epochs=3, **compiled):
    """How many of twelve updates an epoch, of three fillings, were made."""
    with rl.envs.make(toy.Identity, 2, seed=0) as envs:
        network = rl.networks.mlp(envs.single_observation_space, (8,), seed=0)
        kind = make_agent or rl.agents.PPO
        agent = kind(network, envs.single_action_space, seed=0)
        agent.compile(keras.optimizers.Adam(1e-2), **compiled)
        rollout = rl.data.Rollout(envs, 8, gamma=0.9)
        count = Count()
        agent.fit(
            rollout.dataset(8, passes=2),
            steps_per_epoch=12,
            epochs=epochs,
            callbacks=[
                rl.callbacks.Collect(envs, rollout),
                rl.callbacks.StopPasses(rollout, kl),
                count,
            ],
            verbose=0,
        )
    return int(count.count), int(agent.optimizer.iterations)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_skips_what_is_left_of_a_rollout(steps_per_execution):
    compiled = {"steps_per_execution": steps_per_execution}
    assert fit(1e9, **compiled) == (36, 36)
    # The first update's estimate is 0, or what rounding makes of it; the
    # second's is above any such limit. Nine fillings of two updates each.
    assert fit(1e-5, **compiled) == (18, 18)


def test_agents_without_kl_are_refused():
    with pytest.raises(ValueError, match="A2C does not give `kl`"):
        fit(0.1, rl.agents.A2C)


def test_eager_updates_are_refused():
    with pytest.raises(ValueError, match="without `run_eagerly`"):
        fit(0.1, run_eagerly=True)


def test_limit_must_be_positive():
    with pytest.raises(ValueError, match="`kl` must be positive.*kl=0"):
        rl.callbacks.StopPasses(None, 0)


def test_another_fit_may_have_other_passes():
    with rl.envs.make(toy.Identity, 2, seed=0) as envs:
        network = rl.networks.mlp(envs.single_observation_space, (8,), seed=0)
        agent = rl.agents.PPO(network, envs.single_action_space, seed=0)
        agent.compile(keras.optimizers.Adam(1e-2))
        rollout = rl.data.Rollout(envs, 8, gamma=0.9)
        count = Count()
        callbacks = [
            rl.callbacks.Collect(envs, rollout),
            rl.callbacks.StopPasses(rollout, 1e-5),
            count,
        ]
        counted = []
        for passes in (8, 2):
            agent.fit(
                rollout.dataset(passes=passes),
                steps_per_epoch=16,
                callbacks=callbacks,
                verbose=0,
            )
            counted.append(int(count.count))
    # Two fillings of eight passes, then eight of two: the first two of each.
    assert counted == [4, 4 + 16]
