"""Soft actor-critic: returns and entropy, for continuous actions.

Chapters 4 and 5 threw their experience away after every update, because a
policy gradient needs actions of the present policy. A critic of actions does
not: it learns from a replay, as in chapter 2. But with continuous actions one
cannot try them all to find the best. SAC asks for less: a policy that prefers
what is better, as strongly as a temperature says. Here is each of its parts,
first in plain TensorFlow where the answer is known, then ours beside it.

    python tutorials/06_sac_from_scratch.py
"""

import math
import os

import keras
import numpy as np
import tensorflow as tf

import keras_rl2x as rl

FAST = os.environ.get("KERAS_RL2X_FAST") == "1"  # For the tests.
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)

# --- What to maximise -------------------------------------------------------
# Three actions are worth 1, 2 and 4. To the mean value we add the entropy of
# the policy, -sum p log p, times a temperature:
#
#     J(p) = sum p q - temperature sum p log p.
#
# The best policy is no longer a single action but softmax(q / temperature), and
# what it reaches is a soft maximum, temperature log sum exp(q / temperature). A
# tape confirms that no change of its logits would be an improvement.

q = tf.constant([1.0, 2.0, 4.0])


def objective(logits, temperature):
    log_p = tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_p) * (q - temperature * log_p))


for temperature in (5.0, 1.0, 0.1):
    logits = tf.Variable(q / temperature)
    with tf.GradientTape() as tape:
        best = objective(logits, temperature)
    soft_max = temperature * tf.reduce_logsumexp(q / temperature)
    p = tf.nn.softmax(logits).numpy()
    print(f"Temperature {temperature}: p = {p.round(3)}, J = {best:.3f}")
    assert np.abs(tape.gradient(best, logits)).max() < 1e-6
    assert np.allclose(best, soft_max, atol=1e-5)

# --- The soft Bellman equation ----------------------------------------------
# Over time: the value of a state is the expectation of q - temperature log p,
# and an action's value is its reward and what follows, as ever,
#
#     V(s) = E[Q(s, a) - temperature log p(a | s)],
#     Q(s, a) = r + gamma V(s').
#
# Two states and two actions, each of which leads to one state. Evaluate a
# policy by that equation, take the softmax of its values for the next policy,
# and again: no state ever gets worse, and it ends where the soft maximum is the
# value (Haarnoja et al., 2018, lemmas 1 and 2, theorem 1).

reward = tf.constant([[0.0, 1.0], [2.0, -1.0]])
leads_to = tf.constant([[0, 1], [0, 1]])
gamma, temperature = 0.9, 0.5


def soft_value(q, log_p):
    return tf.reduce_sum(tf.exp(log_p) * (q - temperature * log_p), axis=1)


def evaluate(log_p, sweeps=300):
    q = tf.zeros([2, 2])
    for _ in range(sweeps):
        following = tf.gather(soft_value(q, log_p), leads_to)
        q = rl.ops.td_target(
            tf.reshape(reward, [-1]),
            tf.fill([4], gamma),
            tf.reshape(following, [-1]),
        )
        q = tf.reshape(q, [2, 2])
    return q


log_p = tf.math.log([[0.5, 0.5], [0.5, 0.5]])
before = evaluate(log_p)
for _ in range(10):
    log_p = tf.nn.log_softmax(before / temperature)
    after = evaluate(log_p)
    assert np.all(after >= before - 1e-4)
    before = after
soft_max = temperature * tf.reduce_logsumexp(before / temperature, axis=1)
assert np.allclose(soft_value(before, log_p), soft_max, atol=1e-3)
print("Soft values of the two states:", soft_max.numpy().round(2))

# --- A policy over continuous actions ---------------------------------------
# With continuous actions the softmax is a density that nobody can draw from. So
# the policy is a network that gives a mean and a standard deviation: u is
# normal, and the action a = tanh(u) is within bounds. The density of a is that
# of u, divided by how much tanh stretches there, its slope 1 - tanh(u)^2:
#
#     log p(a) = log N(u) - log(1 - tanh(u)^2).
#
# In float32 tanh(u) is 1 from about u = 9 on, and the logarithm is that of 0.
# But 1 - tanh(u)^2 = 4 / (e^u + e^-u)^2, whose logarithm is
# 2 (log 2 - u - softplus(-2 u)): exact everywhere.


def normal_log_prob(u, mean, log_std):
    z = (u - mean) / tf.exp(log_std)
    return -0.5 * z**2 - log_std - 0.5 * math.log(2 * math.pi)


def log_slope(u):
    return 2 * (math.log(2) - u - tf.nn.softplus(-2 * u))


u = tf.constant([0.0, 1.0, 5.0, 20.0])
naive = tf.math.log(1 - tf.tanh(u) ** 2)
print("log slope, naive:", naive.numpy().round(2), end=", ")
print("stable:", log_slope(u).numpy().round(2))
assert np.allclose(naive[:3], log_slope(u)[:3], atol=1e-2)
assert np.isinf(naive[3]) and np.allclose(log_slope(u)[3], 2 * np.log(2) - 40)

# It is a density: over all actions it integrates to 1.

a = tf.constant(np.linspace(-0.99999, 0.99999, 200_001), "float32")
u, mean, log_std = tf.atanh(a), 0.3, -0.5
density = tf.exp(normal_log_prob(u, mean, log_std) - log_slope(u))
integral = float(tf.reduce_mean(density)) * 2
print(f"The density integrates to {integral:.4f}")
assert abs(integral - 1) < 1e-3

# `rl.ops.SquashedGaussian` draws and gives the log-probability at once. (It
# never inverts tanh, which has forgotten u where it is 1.) From the same seed
# we draw the same noise, and find the same numbers.


def draw(params, seed):
    """Actions and their log-probabilities, in plain TensorFlow."""
    mean, log_std = tf.split(params, 2, axis=1)
    noise = keras.random.normal(tf.shape(mean), seed=seed)
    u = mean + tf.exp(log_std) * noise
    log_prob = normal_log_prob(u, mean, log_std) - log_slope(u)
    return tf.tanh(u), tf.reduce_sum(log_prob, axis=1)


def same_seeds():
    return keras.random.SeedGenerator(0), keras.random.SeedGenerator(0)


params = tf.constant(rng.normal(size=[1_000, 4]) * [3, 3, 1, 1], "float32")
one, other = same_seeds()
action, log_prob = draw(params, one)
ours = rl.ops.SquashedGaussian((2,)).sample_and_log_prob(params, other)
assert np.allclose(action, ours[0], atol=1e-6)
assert np.allclose(log_prob, ours[1], rtol=1e-4, atol=1e-3)

# --- A gradient through the draw --------------------------------------------
# The action is a smooth function of the parameters and of noise that does not
# depend on them. So a tape leads from Q(a) back to the parameters: SAC needs no
# grad log p. How good is that gradient? Let Q(a) = -(a - 0.5)^2. The gradient
# of E[Q(a)] by the mean is known by integration over the noise; both ways have
# it as their mean, and through the draw it varies far less.


def value(a):
    return -((a - 0.5) ** 2)


def gradients(mean, noise, std=0.6):
    """For each draw: the gradient through it, and by the score function."""
    mean = tf.fill(noise.shape, mean)
    with tf.GradientTape() as tape:
        tape.watch(mean)
        a = tf.tanh(mean + std * noise)
        total = tf.reduce_sum(value(a))
    return tape.gradient(total, mean).numpy(), (value(a) * noise / std).numpy()


grid = tf.constant(np.linspace(-6, 6, 20_001), "float32")
weight = np.exp(-0.5 * grid.numpy() ** 2)
exact = np.average(gradients(-0.2, grid)[0], weights=weight)
noise = tf.constant(rng.normal(size=100_000), "float32")
through, score = gradients(-0.2, noise)
for name, each in (("through the draw", through), ("score function", score)):
    print(f"Gradient {name}: {each.mean():.3f}, deviation {each.std():.2f}")
    assert abs(each.mean() - exact) < 4 * each.std() / len(each) ** 0.5
assert through.std() < score.std()

# --- The temperature --------------------------------------------------------
# Which temperature is right depends on the size of the rewards. So SAC asks
# for an entropy instead, by default minus one for each number of an action, and
# moves the temperature to where the policy has it: up while the entropy is too
# small, down while it is too great. For q above and an entropy of 0.5:

log_temperature, target = tf.Variable(0.0), 0.5
for _ in range(500):
    p = tf.nn.softmax(q / tf.exp(log_temperature))
    entropy = -tf.reduce_sum(p * tf.math.log(p))
    with tf.GradientTape() as tape:
        loss = log_temperature * tf.stop_gradient(entropy - target)
    log_temperature.assign_sub(0.1 * tape.gradient(loss, log_temperature))
temperature = float(tf.exp(log_temperature))
print(f"Temperature {temperature:.3f} gives an entropy of {entropy:.3f}")
assert abs(entropy - target) < 1e-3

# --- One update, by hand ----------------------------------------------------
# Now all of it, with networks. Two critics, because the actor exploits the
# overestimates of a single one. Both learn from the smaller of the two
# targets. `SGD(1.0)` moves each weight by minus its gradient, which makes it
# easy to compare.

envs = rl.envs.make("Pendulum-v1", seed=0)
space, actions = envs.single_observation_space, envs.single_action_space


def make_agent(units, optimizer):
    return rl.agents.SAC(
        rl.networks.mlp(space, units, seed=0),
        actions,
        critics=[
            rl.networks.mlp(space, units, action_space=actions, seed=seed)
            for seed in (1, 2)
        ],
        actor_optimizer=optimizer(),
        temperature_optimizer=optimizer(),
        seed=0,
    )


agent = make_agent((16,), lambda: keras.optimizers.SGD(1.0))
agent.compile(keras.optimizers.SGD(1.0))
obs, next_obs = tf.constant(rng.normal(size=[2, 32, 3]), "float32")
batch = {
    "obs": obs,
    "action": tf.constant(rng.uniform(-1, 1, [32, 1]), "float32"),
    "reward": tf.constant(rng.normal(size=32), "float32"),
    "discount": tf.constant(rng.choice([0, 0.99], 32), "float32"),
    "next_obs": next_obs,
    "weight": tf.ones(32),
}


def copy(network):
    twin = keras.models.clone_model(network)
    twin.set_weights(network.get_weights())
    return twin


def descend(loss, tape, weights):
    for weight, gradient in zip(weights, tape.gradient(loss, weights)):
        weight.assign_sub(gradient)


def least(critics, obs, action):
    inputs = {"observation": obs, "action": action}
    return tf.minimum(*(critic(inputs) for critic in critics))


actor, critics = copy(agent.actor), [*map(copy, agent.critic_networks)]
targets = [*map(copy, agent.critic_networks)]  # As they are in the beginning.
seed = keras.random.SeedGenerator(0)
seed.state.assign(agent.seed_generator.state)
temperature = 1.0

# The critics, towards the soft Bellman equation.
next_action, log_prob = draw(actor(next_obs), seed)
following = least(targets, next_obs, next_action) - temperature * log_prob
target = batch["reward"] + batch["discount"] * following
weights = [w.value for critic in critics for w in critic.trainable_variables]
with tf.GradientTape() as tape:
    inputs = {"observation": obs, "action": batch["action"]}
    errors = [target - critic(inputs) for critic in critics]
    critic_loss = sum(tf.reduce_mean(0.5 * error**2) for error in errors)
descend(critic_loss, tape, weights)

# The actor, towards what the critics (as they are now) say, and entropy.
weights = [weight.value for weight in actor.trainable_variables]
with tf.GradientTape() as tape:
    action, log_prob = draw(actor(obs), seed)
    soft = least(critics, obs, action) - temperature * log_prob
    actor_loss = -tf.reduce_mean(soft)
descend(actor_loss, tape, weights)

# The temperature, towards an entropy of -1.
entropy = -tf.reduce_mean(log_prob)
log_temperature = 0.0 - (entropy - (-1))

# That is the whole algorithm. The agent's `train_step` does the same.

logs = agent.train_step(batch)
assert np.allclose(logs["loss"], critic_loss, rtol=1e-4)
assert np.allclose(logs["actor_loss"], actor_loss, rtol=1e-4)
assert np.allclose(logs["entropy"], entropy, rtol=1e-4)
assert np.allclose(agent.log_temperature, log_temperature, atol=1e-4)
for ours, by_hand in zip(
    [agent.actor, *agent.critic_networks], [actor, *critics]
):
    for left, right in zip(ours.get_weights(), by_hand.get_weights()):
        assert np.allclose(left, right, atol=1e-4)
print("One update by hand and one of rl.agents.SAC: the same weights")

# --- SAC on Pendulum --------------------------------------------------------
# What is left is what every agent of this library has in common: a replay,
# `Collect`, and a `TargetUpdate`, which moves the targets a little each time.

epochs, updates = (1, 64) if FAST else (5, 1_920)
agent = make_agent((64, 64), lambda: keras.optimizers.Adam(1e-3))
agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=16)
replay = rl.data.Replay(envs, capacity=10_000, gamma=0.99)
history = agent.fit(
    replay.dataset(128),
    steps_per_epoch=updates,
    epochs=epochs,
    callbacks=[
        rl.callbacks.Collect(envs, replay, warmup=400),
        rl.callbacks.TargetUpdate(every=1, tau=0.005),
        rl.callbacks.Evaluate("Pendulum-v1", 2 if FAST else 10),
    ],
    verbose=0,
).history
envs.close()
print(f"SAC, {history['env_steps'][-1]:,} steps; val_return:")
print("  ", *map(round, history["val_return"]))
print("Temperature:", *(round(t, 3) for t in history["temperature"]))

# Random actions cost about 1,200; the best possible is near -150.

result = rl.evaluate(agent, "Pendulum-v1", episodes=4 if FAST else 100)
print("SAC, on fresh episodes:", result)
assert FAST or result["mean"] >= -200

# The same on any environment with a preset: `rl.train("sac", "Pendulum-v1")`.
# Where the reward is far away, as in MountainCarContinuous-v0, independent
# noise in every step leads nowhere: see its preset, whose noise is correlated.
