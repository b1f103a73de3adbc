"""A small agent that lives in a toy environment, for tests of callbacks."""

import keras

import keras_rl2x as rl
from keras_rl2x.envs import toy


class Living:
    """An agent, its environments and its replay.

    `fit` may be called again and again: nothing is traced anew unless graph
    callbacks change.
    """

    def __init__(
        self,
        env=toy.Identity,
        num_envs=2,
        steps_per_execution=4,
        optimizer=None,
        make_replay=rl.data.Replay,
        capacity=200,
        epsilon=0.5,
    ):
        self.envs = rl.envs.make(env, num_envs, seed=0)
        network = rl.networks.mlp(
            self.envs.single_observation_space, (8,), seed=0
        )
        self.agent = rl.agents.DQN(
            network, self.envs.single_action_space, epsilon=epsilon, seed=0
        )
        self.agent.compile(
            optimizer or keras.optimizers.Adam(1e-2),
            steps_per_execution=steps_per_execution,
        )
        self.replay = make_replay(self.envs, capacity, gamma=0.9)
        self.targets = rl.callbacks.TargetUpdate(5)

    def collect(self, **kwargs):
        return rl.callbacks.Collect(
            self.envs, self.replay, **{"warmup": 20, **kwargs}
        )

    def fit(self, *callbacks, steps_per_epoch=8, collect=None, **kwargs):
        """The `history.history` of a `fit` with these callbacks, too."""
        collect = collect or self.collect()
        return self.agent.fit(
            self.replay.dataset(8),
            steps_per_epoch=steps_per_epoch,
            callbacks=[collect, self.targets, *callbacks],
            **{"verbose": 0, **kwargs},
        ).history

    @property
    def env_steps(self):
        return int(self.agent.env_steps.numpy())
