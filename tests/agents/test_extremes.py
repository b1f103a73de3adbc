"""Agents with an actor and a replay keep finite numbers, whatever they see."""

import types

import gymnasium.spaces as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import test_continuous
from tests.agents import test_discrete_sac
from tests.agents.test_continuous import make

HUGE = 1e6


ALL = pytest.mark.parametrize(
    "kind", [agents.DiscreteSAC, *test_continuous.KINDS]
)


def extreme_batches(discrete, batches=20, size=32):
    """What is huge, of either sign, beside what is 0, and actions at bounds."""
    rng = np.random.default_rng(0)

    def pick(values, *shape):
        return rng.choice(values, (batches * size, *shape)).astype("f4")

    rows = {
        "obs": pick([-HUGE, 0, HUGE], 2),
        "action": pick([0, 2]).astype("i4") if discrete else pick([-1, 1], 2),
        "reward": pick([-HUGE, 0, HUGE]),
        "discount": pick([0, 0.99]),
        "next_obs": pick([-HUGE, 0, HUGE], 2),
        "weight": np.ones(batches * size, "f4"),
    }
    return tf.data.Dataset.from_tensor_slices(rows).batch(size).repeat()


def fit_extremes(kind, updates, **arguments):
    discrete = kind is agents.DiscreteSAC
    if discrete:
        envs = types.SimpleNamespace(
            single_observation_space=gym.Box(-HUGE, HUGE, (2,)),
            single_action_space=gym.Discrete(3),
        )
        agent = test_discrete_sac.make_agent(envs, (32, 32), **arguments)
    else:
        agent = make(kind, (32, 32), **arguments)(rl.envs.make(toy.Reach))
    agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=100)
    history = agent.fit(
        extreme_batches(discrete),
        steps_per_epoch=updates // 4,
        epochs=4,
        callbacks=[rl.callbacks.TargetUpdate(1, 0.005)],
        verbose=0,
    ).history
    for name, values in history.items():
        assert np.isfinite(values).all(), (name, values)
    for name, value in agent.get_state().items():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), name
    obs = np.array([[HUGE, -HUGE], [0, HUGE], [0, 0]], "f4")
    for action in (agent(obs), agent.act(obs)):
        assert np.isfinite(action).all()
    return agent


@ALL
def test_finite_after_some_updates(kind):
    fit_extremes(kind, 2_000)


def test_finite_where_no_temperature_is_enough():
    # The entropy stays far below its target, so this would rise to e^1,000.
    rises = keras.optimizers.Adam(1.0)
    agent = fit_extremes(agents.SAC, 1_000, temperature_optimizer=rises)
    np.testing.assert_allclose(agent.log_temperature, np.log(1e6))


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e7, float("nan")])
def test_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="must be from 1e-06 to 1e"):
        make(agents.SAC, temperature=temperature)(rl.envs.make(toy.Reach))


@ALL
@pytest.mark.slow
def test_finite_after_a_million_updates(kind):
    fit_extremes(kind, 1_000_000)
