"""A run with everything that has a state, to be killed and resumed.

Run as a script, it is the process that gets killed.
"""

import sys

import keras
import numpy as np

import keras_rl2x as rl


def run(directory, epochs):
    """Trains; returns a dict of arrays: all that must be as if never killed."""
    envs = rl.envs.make("CartPole-v1", num_envs=3, seed=0)
    entries, x = rl.networks.inputs(envs.single_observation_space)
    initializer = keras.initializers.GlorotUniform(seed=0)
    x = keras.layers.Dense(16, "relu", kernel_initializer=initializer)(x)
    x = keras.layers.Dropout(0.1, seed=0)(x)
    agent = rl.agents.DQN(
        keras.Model(entries, x),
        envs.single_action_space,
        epsilon=keras.optimizers.schedules.PolynomialDecay(1.0, 500, 0.1),
        seed=0,
    )
    agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=4)
    replay = rl.data.PrioritizedReplay(
        envs,
        capacity=300,
        gamma=0.9,
        n_step=3,
        beta=keras.optimizers.schedules.PolynomialDecay(0.4, 500, 1.0),
    )
    # The fewest steps: the first epoch is the best for ever, all others count.
    stop = keras.callbacks.EarlyStopping(
        "env_steps", mode="min", patience=10**6, restore_best_weights=True
    )
    reduce = keras.callbacks.ReduceLROnPlateau(
        "env_steps", 0.9, mode="min", patience=3, cooldown=2
    )
    best = keras.callbacks.ModelCheckpoint(
        f"{directory}/best.keras", "val_return", mode="max", save_best_only=True
    )
    final = Final()
    agent.fit(
        replay.dataset(16),
        steps_per_epoch=40,
        epochs=epochs,
        callbacks=[
            rl.callbacks.Collect(envs, replay, warmup=50, overlap=True),
            rl.callbacks.TargetUpdate(7, tau=0.5),
            rl.callbacks.UpdatePriorities(replay),
            rl.callbacks.Evaluate("CartPole-v1", episodes=3),
            keras.callbacks.LearningRateScheduler(lambda e, r: 0.99 * r),
            stop,
            reduce,
            best,
            final,
            rl.callbacks.Checkpoint(directory, every=2),
        ],
        verbose=0,
    )
    counted = {
        "stop": [stop.wait, stop.best, stop.best_epoch],
        "reduce": [reduce.wait, reduce.best, reduce.cooldown_counter],
        "best": [best.best],
        **{f"best_{i}": w for i, w in enumerate(stop.best_weights)},
    }
    return {**final.state, **counted}


class Final(keras.callbacks.Callback):
    """Keeps the agent as it was trained: in the end, it is the best one."""

    def on_epoch_end(self, epoch, logs=None):
        self.state = self.model.get_state()


if __name__ == "__main__":
    directory, epochs, out = sys.argv[1:]
    np.savez(out, **run(directory, int(epochs)))
