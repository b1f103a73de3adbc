"""Measures the agent on episodes that it does not learn from."""

import gymnasium
import keras

from keras_rl2x import arguments
from keras_rl2x import envs
from keras_rl2x.acting import faults
from keras_rl2x.acting.policy import Policy


class Evaluate(keras.callbacks.Callback):
    """Plays episodes at the end of every epoch, in environments of its own.

    Writes `val_return` and `val_length`, the means over the episodes, into
    the logs: it stands before the callbacks that read them
    (`EarlyStopping("val_return", mode="max")`, `ModelCheckpoint`, ...). Where
    the environments say in `info["is_success"]` whether an episode reached its
    goal, there is `val_success`, too, the part of the episodes that did. The
    episodes begin alike every time, so that two epochs can be compared. A
    second one, in other environments, needs another `name`.

    Args:
        env: As in `rl.envs.make`.
        episodes: Integer. Defaults to 20.
        greedy: Boolean, whether to act greedily, or as when collecting.
            Defaults to `True`.
        num_envs: Integer, how many play at once. Defaults to at most 10.
        seed: Integer seed of the environments and of the exploration.
            Defaults to 1000.
        name: String, what the names in the logs begin with: `"hard"` writes
            `hard_return`. Defaults to `"val"`.
        **kwargs: As in `rl.envs.make`.

    Raises:
        ValueError: If `episodes` is less than 1; from `fit`, if the agent
            cannot act in these environments.
        RuntimeError: From `fit`, if an environment fails.
        Diverged: From `fit`, a `ValueError`, if actions are not finite.
    """

    def __init__(
        self,
        env,
        episodes=20,
        greedy=True,
        num_envs=None,
        seed=1_000,
        name="val",
        **kwargs,
    ):
        super().__init__()
        if not isinstance(name, str) or not name:
            raise ValueError(
                "`name` must be a string, with which the names in the logs "
                f"begin. Received: {name=}"
            )
        self.writes = (f"{name}_return", f"{name}_length", f"{name}_success")
        self.episodes = arguments.integer(episodes=episodes)
        self.greedy = greedy
        self.seed = arguments.integer(0, seed=seed)
        if isinstance(env, envs.Environments):
            self.envs = env
        else:
            if isinstance(env, gymnasium.vector.VectorEnv):
                num_envs = num_envs or env.num_envs
            num_envs = num_envs or min(self.episodes, 10)
            self.envs = envs.make(env, num_envs, **kwargs)
        self._policy = None

    def on_train_begin(self, logs=None):
        self.model.check_spaces(self.envs)

    def on_epoch_end(self, epoch, logs=None):
        if self._policy is None or self._policy.agent is not self.model:
            self._policy = Policy(self.model, self.envs.num_envs)
        try:
            played = self._policy.play(
                self.envs, self.episodes, self.seed, self.greedy
            )
        except faults.Diverged:  # It says what to do.
            raise
        except Exception as error:  # Whatever an environment may raise.
            raise RuntimeError(
                "The episodes of `Evaluate` could not be played: "
                f"{faults.told(error)}"
            ) from error
        for name, values in zip(self.writes, played):
            if len(values):  # Not all environments tell successes.
                logs[name] = float(values.mean())
