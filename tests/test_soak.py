"""A long run neither grows nor traces anything anew."""

import os
import sys

import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents.harness import CountTraces

ENV_STEPS = 200_000
EPOCHS = 25


class Memory(keras.callbacks.Callback):
    """The resident size at the end of each epoch, in MB."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        self.seen.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("where", ["host", "graph"])
def test_memory_is_flat(where, tmp_path):
    envs = rl.envs.make(lambda: toy.Identity(limit=50), num_envs=16, seed=0)
    network = rl.networks.mlp(envs.single_observation_space, (8,), seed=0)
    agent = rl.agents.DQN(network, envs.single_action_space, seed=0)
    agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=50)
    replay = rl.data.PrioritizedReplay(envs, 10_000, gamma=0.9, n_step=3)
    memory = Memory()
    agent.fit(
        replay.dataset(16),
        steps_per_epoch=ENV_STEPS // EPOCHS // 8,
        epochs=EPOCHS,
        callbacks=[
            rl.callbacks.Collect(
                envs,
                replay,
                env_steps_per_update=8,
                warmup=10_000,
                overlap=True,
                where=where,
            ),
            rl.callbacks.TargetUpdate(100),
            rl.callbacks.UpdatePriorities(replay),
            rl.callbacks.Evaluate(toy.Identity, episodes=5),
            rl.callbacks.TensorBoard(tmp_path / "logs"),
            rl.callbacks.Checkpoint(tmp_path / "checkpoints"),
            CountTraces(),
            memory,
        ],
        verbose=0,
    )
    assert agent.env_steps.numpy() >= ENV_STEPS
    rest = memory.seen[EPOCHS // 5 :]
    slope, _ = np.polyfit(range(len(rest)), rest, 1)
    growth = slope * len(rest)  # In MB, over 160,000 steps.
    assert growth < 2, memory.seen
