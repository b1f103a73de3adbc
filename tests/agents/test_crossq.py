"""CrossQ: what is its own; see `test_continuous` for the rest."""

import keras
import numpy as np
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents.test_continuous import draw
from tests.agents.test_continuous import judge
from tests.agents.test_continuous import lesser
from tests.agents.test_continuous import networks
from tests.agents.test_continuous import some


def test_an_update_normalizes_both_halves_together():
    agent, batch = some(agents.CrossQ, temperature=0.5)
    # Such that neither critic is always the lesser.
    agent.critic_networks[1].get_layer("value_head").bias.assign([-0.5])
    ((action, log_prob),) = draw(agent, batch["next_obs"])
    inputs = {
        "action": tf.concat([batch["action"], action], 0),
        "observation": tf.concat([batch["obs"], batch["next_obs"]], 0),
    }
    both = [critic(inputs, training=True) for critic in agent.critic_networks]
    soft = lesser([values[4:] for values in both]) - 0.5 * log_prob
    target = batch["reward"] + batch["discount"] * soft
    errors = [np.square(target - values[:4]) for values in both]
    losses = [np.mean(batch["weight"] * 0.5 * error) for error in errors]
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], sum(losses), rtol=1e-5)
    np.testing.assert_allclose(
        values["q_value"], np.mean(both[0][:4]), rtol=1e-5
    )


def test_no_gradient_goes_through_the_target():
    # The halves meet in the statistics of the batch alone; critics without
    # such layers move as if the target were a constant.
    envs = rl.envs.make(toy.Reach)
    plain = networks(agents.SAC, envs)
    agent, batch = some(agents.CrossQ, keras.optimizers.SGD(1.0), **plain)
    ((action, log_prob),) = draw(agent, batch["next_obs"])
    following = judge(agent.critic_networks, batch["next_obs"], action)
    target = batch["reward"] + batch["discount"] * (
        np.minimum(*following) - log_prob
    )
    critic = agent.critic_networks[0]
    inputs = {"action": batch["action"], "observation": batch["obs"]}
    with tf.GradientTape() as tape:
        error = target - critic(inputs)
        loss = tf.reduce_mean(batch["weight"] * 0.5 * tf.square(error))
    gradients = tape.gradient(loss, critic.trainable_variables)
    wanted = [
        variable - gradient
        for variable, gradient in zip(critic.trainable_variables, gradients)
    ]
    agent.train_step(batch)
    for variable, value in zip(critic.trainable_variables, wanted):
        np.testing.assert_allclose(variable, value, atol=1e-6)


def test_the_actor_moves_in_every_third_update_with_the_temperature():
    agent, batch = some(agents.CrossQ, keras.optimizers.Adam(1e-2))
    step = tf.function(agent.train_step, autograph=False)
    moved = []
    for _ in range(6):
        before = agent.actor.get_weights()[0], float(agent.log_temperature)
        step(batch)
        after = agent.actor.get_weights()[0], float(agent.log_temperature)
        moved.append(tuple(not np.array_equal(*x) for x in zip(before, after)))
    no, yes = (False, False), (True, True)
    assert moved == [no, no, yes, no, no, yes]


def test_statistics_follow_what_is_fitted_alone():
    agent, batch = some(agents.CrossQ, keras.optimizers.Adam(1e-2))
    for _ in range(3):
        agent.train_step(batch)
    counts = [
        [int(x.batches) for x in network.layers if hasattr(x, "batches")]
        for network in (agent.network, *agent.critics)
    ]
    # Before and behind the one hidden layer of each. Neither does judging
    # the actor's actions count, nor drawing the next ones for the critics.
    assert counts == [[1, 1], [3, 3], [3, 3]]


def test_it_needs_no_targets():
    agent, _ = some(agents.CrossQ)
    assert agent.targets == ()
