"""Atari: from pixels to actions.

The loop is as before, an observation, an action, a reward; what is new is the
size. An observation has 28,224 numbers and not four, so that how it is
stored, drawn and computed decides what is possible on a small machine.

    python tutorials/07_atari.py
"""

import os
import pathlib
import tempfile

# Before TensorFlow is loaded: by itself it convolves with oneDNN on processors
# with AVX-512 only, and others gain as much (on one with AVX2, a gradient of
# `nature_cnn` took 26 ms with it, and 57 without). The command line does this.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

import keras_rl2x as rl

FAST = os.environ.get("KERAS_RL2X_FAST") == "1"  # For the tests.
FOLDER = pathlib.Path(
    os.environ.get("KERAS_RL2X_RUNS") or tempfile.mkdtemp(prefix="atari_")
)
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)

# --- What an agent sees -----------------------------------------------------
# The machine draws 60 pictures a second. Of every four one is seen (the
# brighter of the last two, as some things are drawn in every other picture
# only), grey and shrunk to 84 x 84. One picture does not tell which way the
# ball flies: an observation is the last four of them, the newest last.

envs = rl.envs.atari("Breakout", num_envs=8, seed=0)
obs, _ = envs.reset(seed=0)
assert obs.shape == (8, 84, 84, 4) and obs.dtype == "uint8"
assert not obs[..., :3].any()  # Before the first picture all was black.
following, *_ = envs.step(rng.integers(4, size=8))
assert (following[..., :3] == obs[..., 1:]).all()

# --- Lives ------------------------------------------------------------------
# In Breakout one has five. To lose one should cost something, though the game
# goes on: such a step counts as terminated, so that its value has no rewards of
# later lives in it, but the episode goes on. The environments say which steps
# these were; the score that is logged is the whole game's.

lost = ended = 0
for _ in range(400):
    _, _, terminated, truncated, info = envs.step(rng.integers(4, size=8))
    lost += info["life_lost"].sum()
    ended += (terminated & ~info["life_lost"]).sum()
print(f"Random play: {lost} lives lost beside the last ones of {ended} games")
assert lost == 4 * ended or abs(lost - 4 * ended) <= 4 * 8

# --- What is stored ---------------------------------------------------------
# Observations share frames with those before them. A million of them, each with
# its successor, would take 56 GB; the replay stores each picture once, in 7 GB,
# and puts the stacks together when they are drawn.

replay = rl.data.Replay(envs, capacity=8_000, gamma=0.99, clip_rewards=True)
naive = 8_000 * 2 * obs[0].nbytes
print(f"{naive / replay.nbytes:.1f} times less memory than whole stacks")
assert naive > 7.5 * replay.nbytes

driver = rl.acting.Driver(envs)
replay.begin(driver.reset(0))
chunk = driver.run(100, lambda *_: rng.integers(4, size=8))
replay.write(chunk.rows, chunk.next_obs)
batch = next(iter(replay.dataset(32)))
assert batch["obs"].shape == batch["next_obs"].shape == (32, 84, 84, 4)
kept = tf.reduce_all(batch["obs"][..., 1:] == batch["next_obs"][..., :3])
assert kept  # Nothing drawn crosses an episode's beginning.

# Rewards differ from game to game by orders of magnitude. For learning they
# are clipped to [-1, 1] when they are drawn; the log shows the real score.

assert np.abs(batch["reward"]).max() <= 1

# --- Distributions of returns -----------------------------------------------
# Several relatives of DQN learn the distribution of the return, not its mean:
# C51 gives each of 51 fixed returns a probability. What follows a step is
# shifted and shrunk by the Bellman equation and falls between the numbers: it
# is shared among the two next to it, so that the mean stays.

support = rl.ops.categorical_support(-2.0, 2.0, 5)
following = np.log([[0.1, 0.1, 0.2, 0.3, 0.3]]).astype("float32")
target = rl.ops.categorical_target(
    np.array([0.25], "float32"), np.array([0.5], "float32"), following, support
)
print("From", np.exp(following)[0].round(2), "to", np.array(target)[0].round(3))
mean = np.exp(following)[0] @ np.array(support)
assert np.isclose(np.array(target)[0] @ np.array(support), 0.25 + 0.5 * mean)

# --- Learning ---------------------------------------------------------------
# PPO on eight games at once. The policy and the value share a convolutional
# network; all else is as in chapter 4. On two cores it takes 41 minutes, in
# bfloat16, to master Pong; here it begins, on a picture of a quarter of the
# size. (On small machines `nips_cnn` takes a third of the time of `nature_cnn`:
# the presets of PQN and DQN have it for Pong, each for one core and two hours.)

steps, rollouts = (32, 1) if FAST else (128, 20)
envs.close()
envs = rl.envs.atari("Pong", num_envs=8, seed=0, size=42)
agent = rl.agents.PPO(
    rl.networks.nature_cnn(envs.single_observation_space, 256, seed=0),
    envs.single_action_space,
    clip=0.1,
    entropy_weight=0.01,
    seed=0,
)
agent.compile(
    keras.optimizers.Adam(5e-4, epsilon=1e-5, global_clipnorm=0.5),
    steps_per_execution=4,
)
rollout = rl.data.Rollout(envs, steps=steps, gamma=0.99, clip_rewards=True)
history = agent.fit(
    rollout.dataset(minibatch_size=2 * steps, passes=4),
    steps_per_epoch=16 * rollouts,
    epochs=2,
    callbacks=[
        rl.callbacks.Collect(envs, rollout),
        # An animated image, in the folder and in TensorBoard's "Images".
        rl.callbacks.RecordVideo(
            "ALE/Pong-v5", FOLDER, every=2, max_images=60, size=42
        ),
    ],
    verbose=0,
).history
envs.close()
print("Steps a second:", *map(round, history["env_steps_per_second"]))
assert np.isfinite(history["loss"]).all()
assert list(FOLDER.rglob("*.gif"))

# The whole of it, with settings of our own for Pong, and for the other games
# with those of papers (but for a tenth of the replay and a fifth of the steps):
#
#     keras-rl2x train ppo ALE/Pong-v5 --set network.dtype=mixed_bfloat16
#     keras-rl2x train rainbow ALE/Breakout-v5 --set env.protocol=sticky
