"""Tapes and train steps: what happens inside `fit`.

A learning agent in Keras rests on a few ideas: a tape that remembers what was
computed, a function that is traced once and then runs without Python, and a
`train_step` that Keras calls for every batch. This chapter shows them one at
a time, on examples small enough to check by hand, and ends with deep
Q-learning in forty lines that use nothing of this library.

    python tutorials/01_tapes_and_train_steps.py
"""

import os
import tempfile
import weakref

import gymnasium
import keras
import numpy as np
import tensorflow as tf

FAST = os.environ.get("KERAS_RL2X_FAST") == "1"  # For the tests.
keras.utils.set_random_seed(0)


def refusal(error, function, *args):
    """Calls the function, which must raise this error; returns its text."""
    try:
        function(*args)
    except error as raised:
        return str(raised)
    raise AssertionError("This should have been refused.")


# --- A tape remembers -------------------------------------------------------
# What is computed inside the block is recorded; `gradient` then walks the
# record backwards, by the chain rule. For y = x sin(x) you can do it by hand:
# the slope is sin(x) + x cos(x).

x = tf.Variable(3.0)
with tf.GradientTape() as tape:
    y = x * tf.sin(x)
slope = tape.gradient(y, x)
print(f"x sin(x) has the slope {slope:.4f} at 3")
assert np.isclose(slope, np.sin(3) + 3 * np.cos(3))

# A tape watches trainable variables by itself. Anything else has no gradient
# (`None`, not 0!) unless you ask for it with `watch`.

seen, unseen = tf.constant(2.0), tf.constant(3.0)
with tf.GradientTape() as tape:
    tape.watch(seen)
    y = seen * unseen
assert tape.gradient(y, [seen, unseen]) == [3, None]

# --- What `with` records, and when it is freed ------------------------------
# Leaving the block ends the recording: what comes after has no gradient. But
# it frees nothing: the chain rule needs the results in between, so the tape
# keeps them until it is asked, once. A weak reference lets us look.

with tf.GradientTape() as tape:
    between = tf.exp(x)
    y = tf.sin(between)
between = weakref.ref(between)
assert between() is not None  # Only the tape holds it now.
tape.gradient(y, x)
assert between() is None  # Asked once, the tape has let go.
print("Asked twice:", refusal(RuntimeError, tape.gradient, y, x))

with tf.GradientTape() as tape:
    pass
assert tape.gradient(tf.sin(x), x) is None  # Computed too late.

# Two losses that share a computation need two gradients. A persistent tape
# may be asked again and again, and for that keeps everything until it dies:
# delete it as soon as you are done.

with tf.GradientTape(persistent=True) as tape:
    shared = tf.exp(x)
    first, second = shared + x, shared * x
shared = weakref.ref(shared)
assert np.isclose(tape.gradient(first, x), np.exp(3) + 1)
assert np.isclose(tape.gradient(second, x), np.exp(3) * (1 + 3))
assert shared() is not None
del tape
assert shared() is None

# --- Gradients of gradients -------------------------------------------------
# `gradient` is a computation too: inside an outer tape it is recorded. For
# f(a, b) = a^2 b the second derivatives are [[2b, 2a], [2a, 0]]; at (3, 2)
# that is [[4, 6], [6, 0]], and times the direction (1, 2) it is (16, 6). The
# product costs two tapes; the matrix itself is never formed.

point, direction = tf.Variable([3.0, 2.0]), tf.constant([1.0, 2.0])
with tf.GradientTape() as outer:
    with tf.GradientTape() as inner:
        f = point[0] ** 2 * point[1]
    along = tf.reduce_sum(inner.gradient(f, point) * direction)
product = outer.gradient(along, point).numpy()
print("Second derivatives times (1, 2):", product)
assert product.tolist() == [16, 6]

# --- What not to learn from -------------------------------------------------
# Reinforcement learning regresses on a *target* that contains its own estimate:
# reward + 0.9 * value. With value = 0 and reward = 1 the error is 1. Through
# the estimate alone the slope of error^2 / 2 is -1; through the target as
# well it is -1 + 0.9, because raising the value raises the target with it. We
# want the first: the target is to be approached, not to be moved.

value = tf.Variable(0.0)
slopes = []
for treat in (tf.stop_gradient, tf.identity):
    with tf.GradientTape() as tape:
        target = treat(1.0 + 0.9 * value)
        loss = (target - value) ** 2 / 2
    slopes.append(float(tape.gradient(loss, value)))
print("Slope with the target held fixed, and without:", slopes)
assert np.allclose(slopes, [-1.0, -0.1])

# --- Traced once, run often -------------------------------------------------
# `tf.function` runs your Python once, to see which operations it asks for;
# afterwards it runs those, and no Python. So a side effect of Python counts
# the traces, not the calls.

traces = []


@tf.function
def double(x):
    traces.append("double")
    return 2 * x


for _ in range(10):
    double(tf.zeros(2))
assert traces == ["double"]
# A new shape is a new graph. So is every new Python number, which becomes a
# constant in it: a step counter passed as an `int` would trace at each step!
double(tf.zeros(3))
double(1)
double(2)
assert len(traces) == 4


# An input signature says once and for all what may come: any length here.
@tf.function(input_signature=[tf.TensorSpec([None])])
def halve(x):
    traces.append("halve")
    return x / 2


for length in (2, 3, 4):
    halve(tf.zeros(length))
print("Traced:", traces)
assert traces.count("halve") == 1

# --- A train step of your own -----------------------------------------------
# `fit` calls `train_step` for every batch, inside a `tf.function`. Override
# it, and batching, metrics, callbacks and saving stay Keras's work. Here a
# model learns what it is worth to wait, when each step of waiting pays 1 and
# the future counts 0.9: 1 + 0.9 + 0.81 + ... = 10. With a learning rate of 1
# a step replaces the value by the target: after n steps it is 10 (1 - 0.9^n).


class Waiting(keras.Model):
    def __init__(self):
        super().__init__()
        self.value = self.add_weight(initializer="zeros")
        self.built = True

    def train_step(self, batch):
        target = tf.stop_gradient(batch["reward"] + 0.9 * self.value)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((target - self.value) ** 2 / 2)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


waiting = Waiting()
waiting.compile(keras.optimizers.SGD(1.0))
rewards = tf.data.Dataset.from_tensors({"reward": tf.ones(8)}).repeat()
waiting.fit(rewards, steps_per_epoch=30, shuffle=False, verbose=0)
print(f"Waiting is worth {float(waiting.value):.3f} after 30 updates")
assert np.isclose(waiting.value, 10 * (1 - 0.9**30))

# --- Lambda layers, and files from strangers --------------------------------
# A Lambda layer puts a formula of yours into a network. A Python `lambda` can
# only be saved as code, and a file that holds code could hold any code: Keras
# refuses to load it. A registered function is saved by its name; the code
# stays in your program. Write the second.


@keras.saving.register_keras_serializable("tutorial")
def scale(obs):
    return obs / 4.8


def small_network(function):
    layers = [keras.Input([4]), keras.layers.Lambda(function)]
    return keras.Sequential([*layers, keras.layers.Dense(2)])


with tempfile.TemporaryDirectory() as folder:  # `with` deletes it again.
    path = os.path.join(folder, "network.keras")
    small_network(lambda obs: obs / 4.8).save(path)
    text = refusal(ValueError, keras.saving.load_model, path)
    print("A lambda in a file:", text.split(". ")[0])
    network = small_network(scale)
    network.save(path)
    loaded = keras.saving.load_model(path)
assert np.allclose(loaded(np.ones([1, 4])), network(np.ones([1, 4])))

# --- Deep Q-learning in forty lines -----------------------------------------
# In state s an agent takes an action a, gets a reward and sees the next state
# s'. Q(s, a) is the sum of discounted rewards to expect from there. Its target,
# reward + 0.99 max Q(s', .), is held fixed twice over: no gradient flows
# through it, and it is computed by a copy of the network that follows slowly.
# Past steps are kept, and learned from in random order.


class TinyDQN(keras.Model):
    def __init__(self, network):
        super().__init__()
        self.online, self.target = network, keras.models.clone_model(network)
        self.target.set_weights(network.get_weights())
        self.built = True

    def call(self, obs):
        return keras.ops.argmax(self.online(obs), axis=-1)

    def train_step(self, data):
        obs, action, reward, discount, next_obs = data[0]
        future = keras.ops.max(self.target(next_obs), axis=-1)
        target = tf.stop_gradient(reward + discount * future)
        weights = self.online.trainable_variables
        with tf.GradientTape() as tape:
            taken = self.online(obs) * keras.ops.one_hot(action, 2)
            error = target - keras.ops.sum(taken, axis=-1)
            loss = keras.ops.mean(error**2 / 2)
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for copy, weight in zip(self.target.trainable_variables, weights):
            copy.assign_add(0.01 * (weight - copy))
        return {"loss": loss}


def learn(agent, steps):
    env, rng = gymnasium.make("CartPole-v1"), np.random.default_rng(0)
    past, (obs, _) = [], env.reset(seed=0)
    for t in range(steps):
        action = agent.predict_on_batch(obs[None])[0]
        if rng.random() < max(0.05, 1 - 4 * t / steps):
            action = rng.integers(2)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        # A time limit is no end: only what terminated has no future.
        numbers = np.float32([reward, 0 if terminated else 0.99])
        past.append((obs, action, *numbers, next_obs))
        obs = env.reset()[0] if terminated or truncated else next_obs
        if t >= 1_000:
            rows = [past[row] for row in rng.integers(t + 1, size=128)]
            agent.train_on_batch([np.array(column) for column in zip(*rows)])


layers = [keras.layers.Dense(128, "relu") for _ in range(2)]
network = keras.Sequential([keras.Input([4]), *layers, keras.layers.Dense(2)])
agent = TinyDQN(network)
agent.compile(keras.optimizers.Adam(1e-3, global_clipnorm=100.0))
learn(agent, steps=1_200 if FAST else 20_000)

# Has it learned? Ten poles at once, no exploration, until each has fallen.

envs = gymnasium.make_vec("CartPole-v1", 10, vectorization_mode="sync")
obs, _ = envs.reset(seed=1)
standing, returns = np.ones(10, "bool"), np.zeros(10)
while standing.any():
    obs, reward, fallen, timeout, _ = envs.step(agent.predict_on_batch(obs))
    returns += reward * standing
    standing &= ~(fallen | timeout)
print(f"Mean return of 10 greedy episodes: {returns.mean():.0f} (500 at most)")
assert FAST or returns.mean() >= 150

# The forty lines do one thing at a time: one environment, one step, one
# update, and more time spent on calling than on computing. The next chapter
# is the same program with the library's parts, in `fit`, where callbacks
# stop, save, record and draw.
