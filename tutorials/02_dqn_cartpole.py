"""Deep Q-learning on CartPole, with the library.

A pole stands on a cart; push the cart left or right so that the pole does not
fall. Every step survived pays 1, and after 500 steps the episode is over. The
task counts as solved at a mean return of 475.

The agent is a Keras model, and `fit` trains it. What is new is where the data
come from: the agent lives through them, while it is fitted.

    python tutorials/02_dqn_cartpole.py

Files go to a new temporary folder, or to the one that the environment variable
KERAS_RL2X_RUNS names.
"""

import os
import pathlib
import tempfile

import keras
import numpy as np

import keras_rl2x as rl

FAST = os.environ.get("KERAS_RL2X_FAST") == "1"  # For the tests.
folder = pathlib.Path(os.environ.get("KERAS_RL2X_RUNS") or tempfile.mkdtemp())
folder = folder / "dqn-cartpole"
epochs, updates = (1, 128) if FAST else (20, 2_432)  # Updates in an epoch.

# --- The parts --------------------------------------------------------------
# Four copies of the environment step together, so that one call of the network
# gives four actions. They belong in a `with` block: environments may hold
# windows and processes, and the block closes them, also after an error. All
# that uses them stands inside it, in one function.


def train(envs):
    # The network is any Keras model from observations to features. This one
    # knows that angles are small numbers and positions large ones; if yours
    # need no such care, `rl.networks.mlp(envs.single_observation_space)` will
    # do.
    network = keras.Sequential(
        [
            keras.Input(envs.single_observation_space.shape),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(256, "relu"),
        ]
    )

    # The agent adds the layer of action values and the copy of the network
    # that goals are computed with. While it collects it takes a random action
    # with probability epsilon: a Keras schedule, over environment steps. The
    # squared loss gives the rare ends of episodes, whose errors are large, the
    # weight that they need.
    agent = rl.agents.DQN(
        network,
        envs.single_action_space,
        epsilon=keras.optimizers.schedules.PolynomialDecay(1.0, 7_500, 0.05),
        loss="squared",
    )

    # Nothing here is special to agents. A learning rate that falls to 0 lets
    # the policy settle; and `steps_per_execution` matters more than elsewhere:
    # 64 updates run as one call into the graph.
    rate = keras.optimizers.schedules.PolynomialDecay(
        1e-3, epochs * updates, 0.0
    )
    agent.compile(
        keras.optimizers.Adam(rate, global_clipnorm=100.0),
        steps_per_execution=64,
    )

    # What was lived. `gamma` discounts the future, and is said here alone;
    # three steps at a time carry rewards back sooner than one.
    replay = rl.data.Replay(envs, capacity=100_000, gamma=0.99, n_step=3)

    # Callbacks make it live. Each one sees what those before it have written
    # into the logs, so their order is the order of the story: live, move the
    # target, measure; then stop, save and show by what was measured.
    callbacks = [
        # A step in an environment for each update, after a beginning of 1,000
        # random ones. Writes `return`, the mean over recent episodes.
        rl.callbacks.Collect(
            envs, replay, env_steps_per_update=1, warmup=1_000
        ),
        # Moves the target network a hundredth of the way to the weights. This
        # happens inside the graph, after every single update.
        rl.callbacks.TargetUpdate(tau=0.01),
        # Plays greedily, elsewhere. Writes `val_return`...
        rl.callbacks.Evaluate("CartPole-v1", episodes=2 if FAST else 20),
        # ... which Keras's own callbacks understand. Learning has its plateaus:
        # be patient.
        keras.callbacks.EarlyStopping("val_return", mode="max", patience=10),
        keras.callbacks.ModelCheckpoint(
            folder / "best.keras", "val_return", mode="max", save_best_only=True
        ),
        rl.callbacks.TensorBoard(folder),
        rl.callbacks.RecordVideo(
            "CartPole-v1", folder / "video", every=1 if FAST else 5
        ),
    ]

    # An epoch is an interval of reporting. All 20 together, and the beginning,
    # are about 50,000 environment steps.
    history = agent.fit(
        replay.dataset(batch_size=64),
        steps_per_epoch=updates,
        epochs=epochs,
        callbacks=callbacks,
        verbose=2,
    )
    return agent, history.history


keras.utils.set_random_seed(0)
with rl.envs.make("CartPole-v1", num_envs=4, seed=0) as envs:
    agent, history = train(envs)

# --- What it left -----------------------------------------------------------
# The history holds a number for every epoch, to plot against `env_steps`. The
# folder holds the same curves for TensorBoard, with the settings under
# "HParams" and the agent at play under "Images". The animations are files as
# well: open them in a browser.

best = max(history["val_return"])
steps = history["env_steps"][-1]
print(f"\nBest val_return {best:.0f}, {steps:,.0f} environment steps")
for path in sorted(folder.rglob("*.*")):
    print("  ", path)
print(f"Look at it: tensorboard --logdir {folder}")
assert list(folder.glob("video/*.gif")) and list(folder.glob("events.*"))

# --- Save, load, use --------------------------------------------------------
# `ModelCheckpoint` has saved the best agent; you save the present one
# yourself. A `.keras` file holds the whole agent: networks, target, optimizer
# and settings. Loading it never runs code from the file. `rl.load` is
# `keras.saving.load_model`, with safe mode insisted on.

agent.save(folder / "last.keras")
last = keras.saving.load_model(folder / "last.keras")
best = rl.load(folder / "best.keras")
assert last.optimizer.iterations == agent.optimizer.iterations

# Called on a batch of observations, an agent gives the actions that it thinks
# best. Here the pole leans to the left, and to the right, at some speed.

leaning = np.array([[0, 0, -0.1, -1], [0, 0, 0.1, 1]], "float32")
actions = best.predict(leaning, verbose=0)
print("Leaning left, leaning right: push", actions, "(0 is left, 1 right)")
assert np.array_equal(last.predict(leaning, verbose=0), agent(leaning))

# How good is it? The best of 20 evaluations was also a lucky one; so measure
# again, on episodes that nothing was chosen by.

result = rl.evaluate(best, "CartPole-v1", episodes=4 if FAST else 100)
print("The best agent, on fresh episodes:", result)
assert FAST or (result["mean"] >= 475 and actions.tolist() == [0, 1])

# `rl.train("dqn", "CartPole-v1")` puts together these same parts, from the
# settings in `rl.presets`; `keras-rl2x train dqn CartPole-v1` calls it.
