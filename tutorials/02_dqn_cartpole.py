"""Deep Q-learning on CartPole, with the library.

A pole stands on a cart; push the cart left or right so that the pole does not
fall. Every step survived pays 1, and after 500 steps the episode is over. The
task counts as solved at a mean return of 475.

The agent is a Keras model, and `fit` trains it. What is new is where the data
come from: the agent collects them, while it is fitted.

    python tutorials/02_dqn_cartpole.py

Files go to a new folder: inside the one that the environment variable
KERAS_RL2X_RUNS names, or else where temporary files go.
"""

import os
import pathlib
import tempfile

import keras
import numpy as np

import keras_rl2x as rl

FAST = os.environ.get("KERAS_RL2X_FAST") == "1"  # For the tests.
runs = os.environ.get("KERAS_RL2X_RUNS")
folder = pathlib.Path(tempfile.mkdtemp(prefix="dqn-cartpole-", dir=runs))
# Updates in an epoch, and random steps before the first: 50,000 steps in all.
epochs, updates, warmup = (1, 128, 200) if FAST else (20, 2_432, 1_360)

# --- The parts --------------------------------------------------------------
# An environment belongs in a `with` block: it may hold windows and processes,
# and the block closes them, also after an error. All that uses it stands
# inside the block; here, in one function. (`num_envs=8` would step eight copies
# together, and the code below would stay as it is.)


def train(envs):
    # From observations to features: 256 numbers about the state of the cart.
    # Any `keras.Model` will do; one with several inputs, or pretrained.
    network = rl.networks.mlp(
        envs.single_observation_space, units=(256, 256), seed=0
    )

    # The agent adds the layer of action values and the *target network*, the
    # delayed copy that targets are computed with. While it collects it takes a
    # random action with probability epsilon: a Keras schedule, over environment
    # steps. The squared loss gives the rare ends of episodes, whose errors are
    # large, the weight that they need.
    agent = rl.agents.DQN(
        network,
        envs.single_action_space,
        epsilon=keras.optimizers.schedules.PolynomialDecay(1.0, 7_500, 0.05),
        loss="squared",
        seed=0,
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

    # Past steps. A reward k steps later counts gamma**k, which is said here
    # alone; three steps at a time carry rewards back sooner than one.
    replay = rl.data.Replay(envs, capacity=100_000, gamma=0.99, n_step=3)

    # Callbacks do the rest. Each one sees what those before it have written
    # into the logs, so their order is the order of the story: collect, move the
    # target, measure; then stop, save and show by what was measured.
    callbacks = [
        # A step in the environment for each update, after the random ones at
        # the beginning. Writes `return`, the mean over the last 100 episodes.
        rl.callbacks.Collect(
            envs, replay, env_steps_per_update=1, warmup=warmup
        ),
        # Moves the target network a hundredth of the way to the weights. This
        # happens inside the graph, after every single update.
        rl.callbacks.TargetUpdate(tau=0.01),
        # Plays greedily, elsewhere. Writes `val_return`...
        rl.callbacks.Evaluate("CartPole-v1", episodes=2 if FAST else 20),
        # ... which Keras's own callbacks understand. Learning has its plateaus:
        # be patient.
        keras.callbacks.EarlyStopping("val_return", mode="max", patience=6),
        keras.callbacks.ModelCheckpoint(
            folder / "best.keras", "val_return", mode="max", save_best_only=True
        ),
        # Saves the whole run, after Ctrl-C too. Give it a folder that stays
        # the same and run the program again: `fit` goes on from there.
        rl.callbacks.Checkpoint(folder / "checkpoints"),
        rl.callbacks.TensorBoard(folder),
        rl.callbacks.RecordVideo(
            "CartPole-v1", folder / "video", every=1 if FAST else 5
        ),
    ]

    # An epoch is an interval of reporting: so many updates.
    history = agent.fit(
        replay.dataset(batch_size=64),
        steps_per_epoch=updates,
        epochs=epochs,
        callbacks=callbacks,
        verbose=2,
    )
    return agent, history.history


with rl.envs.make("CartPole-v1", seed=0) as envs:
    agent, history = train(envs)

# --- What it left -----------------------------------------------------------
# The history holds a number for every epoch, to plot against `env_steps`. The
# folder holds the same curves for TensorBoard, with the settings under
# "HParams" and the agent at play under "Images". The animations are files as
# well: open them in a browser.

best = max(history["val_return"])
steps = history["env_steps"][-1]
print(f"\nBest val_return {best:.0f}, {steps:,.0f} environment steps")
for path in sorted(folder.glob("*")):
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
# again, on episodes that were not used to choose it.

result = rl.evaluate(best, "CartPole-v1", episodes=4 if FAST else 100)
print("The best agent, on fresh episodes:", result)
assert FAST or (result["mean"] >= 475 and actions.tolist() == [0, 1])

# `rl.train("dqn", "CartPole-v1")` puts together these same parts, from the
# settings in `rl.presets`; `keras-rl2x train dqn CartPole-v1` calls it.
