"""CrossQ: what is its own; see `test_continuous` for the rest."""

import keras
import numpy as np
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import test_continuous


def make(optimizer, **arguments):
    envs = rl.envs.make(toy.Reach)
    agent = test_continuous.make(agents.CrossQ, **arguments)(envs)
    agent.compile(optimizer)
    return agent, test_continuous.batch_of(envs)


def draw(agent, obs):
    """What the agent will draw next; its generator stays as it is."""
    seed = agent.seed_generator.state.numpy()
    drawn = agent.distribution.sample_and_log_prob(
        agent.actor(obs), agent.seed_generator
    )
    agent.seed_generator.state.assign(seed)
    return drawn


def test_an_update_normalizes_both_halves_together():
    agent, batch = make(keras.optimizers.SGD(0.0), temperature=0.5)
    action, log_prob = draw(agent, batch["next_obs"])
    inputs = {
        "action": tf.concat([batch["action"], action], 0),
        "observation": tf.concat([batch["obs"], batch["next_obs"]], 0),
    }
    both = [critic(inputs, training=True) for critic in agent.critic_networks]
    following = np.minimum(*(values[4:] for values in both))
    soft = following - 0.5 * log_prob
    target = batch["reward"] + batch["discount"] * soft
    losses = [np.mean(0.5 * np.square(target - v[:4])) for v in both]
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], sum(losses), rtol=1e-5)
    np.testing.assert_allclose(
        values["q_value"], np.mean(both[0][:4]), rtol=1e-5
    )


def test_no_gradient_goes_through_the_target():
    # The halves meet in the statistics of the batch alone; critics without
    # such layers move as if the target were a constant.
    envs = rl.envs.make(toy.Reach)
    plain = test_continuous.networks(agents.SAC, envs)
    agent, batch = make(keras.optimizers.SGD(1.0), **plain)
    action, log_prob = draw(agent, batch["next_obs"])
    following = [
        critic({"action": action, "observation": batch["next_obs"]})
        for critic in agent.critic_networks
    ]
    target = batch["reward"] + batch["discount"] * (
        np.minimum(*following) - log_prob
    )
    critic = agent.critic_networks[0]
    inputs = {"action": batch["action"], "observation": batch["obs"]}
    with tf.GradientTape() as tape:
        error = target - critic(inputs)
        loss = tf.reduce_mean(0.5 * tf.square(error))
    gradients = tape.gradient(loss, critic.trainable_variables)
    wanted = [
        variable - gradient
        for variable, gradient in zip(critic.trainable_variables, gradients)
    ]
    agent.train_step(batch)
    for variable, value in zip(critic.trainable_variables, wanted):
        np.testing.assert_allclose(variable, value, atol=1e-6)


def test_the_actor_moves_in_every_third_update_with_the_temperature():
    agent, batch = make(keras.optimizers.Adam(1e-2))
    step = tf.function(agent.train_step, autograph=False)
    moved = []
    for _ in range(6):
        before = agent.actor.get_weights()[0], float(agent.log_temperature)
        step(batch)
        after = agent.actor.get_weights()[0], float(agent.log_temperature)
        moved.append(tuple(not np.array_equal(*x) for x in zip(before, after)))
    no, yes = (False, False), (True, True)
    assert moved == [no, no, yes, no, no, yes]


def test_statistics_follow_the_critics_batches_alone():
    agent, batch = make(keras.optimizers.Adam(1e-2), actor_every=1)
    agent.train_step(batch)
    counts = [
        int(layer.batches)
        for critic in agent.critics
        for layer in critic.layers
        if isinstance(layer, rl.networks.BatchRenormalization)
    ]
    # Before and behind the one hidden layer of two critics; judging the
    # actor's actions does not count.
    assert counts == [1, 1, 1, 1]


def test_it_needs_no_targets():
    agent, _ = make(keras.optimizers.Adam(1e-2))
    assert agent.targets == ()
