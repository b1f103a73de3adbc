"""Collects experience while the agent learns."""

import concurrent.futures
import contextlib

import keras
import numpy as np
import tensorflow as tf

from keras_rl2x import envs as environments
from keras_rl2x import spaces
from keras_rl2x.acting import faults
from keras_rl2x.acting import samplers
from keras_rl2x.acting.driver import Driver
from keras_rl2x.acting.policy import Policy
from keras_rl2x.callbacks import collect_checks
from keras_rl2x.callbacks import progress
from keras_rl2x.callbacks import step_count
from keras_rl2x.data import Rollout


class Collect(keras.callbacks.Callback):
    """Steps environments between updates; writes into a replay or a rollout.

    Writes into the logs, and shows first in the progress bar: `return` and
    `length` (means over the last 100 episodes; NaN before the first one
    ended), `success` (the part of them that reached a goal, where the
    environments tell in `info["is_success"]`), `env_steps`, and at an epoch's
    end `env_steps_per_second`. So it stands first in the list of callbacks.

    A replay is first filled with uniformly random actions, until it holds
    `warmup` transitions; then it grows by a chunk between two updates. A
    rollout is filled anew whenever its passes are over, and prepared by the
    agent; `chunk` and `env_steps_per_update` follow from it.

    Args:
        envs: A `gymnasium.vector.VectorEnv`, as made by `rl.envs.make`; no
            other callback may step it.
        data: A `data.Replay`, or a `data.Rollout`.
        env_steps_per_update: Float, how many environment steps to take for
            each update; fractions are carried over. Defaults to 1.
        warmup: Integer, random environment steps before the first update.
            Defaults to 0.
        chunk: Integer, the number of updates between two collections, a
            multiple of the agent's `steps_per_execution`. More is faster, but
            an older policy acts. Defaults to `steps_per_execution`.
        overlap: Boolean, whether the environments step in a thread while the
            agent learns from what was there before: faster, one chunk late,
            and still deterministic. Not for rollouts. Defaults to `False`.
        where: `"auto"`, `"host"` or `"graph"`; see `acting.Policy`.
        seed: Integer seed of exploration and of resets. Defaults to the seed
            of `envs`, or 0.

    Raises:
        TypeError: If `data` is a dataset.
        ValueError: From `fit`, if the environments, the agent, the chunk and
            `steps_per_epoch` do not fit together, or the loss is NaN.
        RuntimeError: From `fit`, if an environment fails, or the agent's
            actions are not finite; what was collected before is in the replay.
    """

    writes = progress.NAMES

    def __init__(
        self,
        envs,
        data,
        env_steps_per_update=1.0,
        warmup=0,
        chunk=None,
        overlap=False,
        where="auto",
        seed=None,
    ):
        super().__init__()
        if isinstance(data, tf.data.Dataset):
            raise TypeError(
                "`Collect` fills the replay or the rollout itself, and `fit` "
                "takes what its `dataset(...)` returns. Received: "
                f"data={type(data).__name__}"
            )
        self._on_policy = isinstance(data, Rollout)
        collect_checks.check_arguments(
            self._on_policy, env_steps_per_update, warmup, chunk, overlap, seed
        )
        if not isinstance(envs, environments.Environments):
            envs = environments.make(envs)
        self.envs = envs
        self.data = self.works_on = data
        self.env_steps_per_update = float(env_steps_per_update)
        self.warmup = int(warmup)
        self.chunk = chunk
        self.overlap = overlap
        self.where = where
        self.seed = int((envs.seed if seed is None else seed) or 0)
        self.driver = Driver(envs)
        self.policy = None
        self._owed = 0.0
        self._lived = 0
        self._restarts = 0
        self._warmed = False
        self._progress = progress.Progress()
        self._worker = None
        self._pending = None

    def on_train_begin(self, logs=None):
        self._chunk = collect_checks.updates_per_collection(self)
        collect_checks.check_envs(self)
        self.model.check_spaces(self.envs)
        if not self._on_policy:
            self.data.set_block(self._chunk)
        self._make_policy()
        self._lived = step_count.read(self.model)
        self._progress.begin()
        if self.overlap:
            self._worker = concurrent.futures.ThreadPoolExecutor(1)

    def _make_policy(self):
        if self.policy is None or self.policy.agent is not self.model:
            self.policy = Policy(
                self.model, self.envs.num_envs, self.where, self.seed
            )

    def on_epoch_begin(self, epoch, logs=None):
        progress.forget_nan(self.model.fit_callbacks)

    def on_train_batch_begin(self, batch, logs=None):
        if batch % self._chunk:
            return
        if batch == 0:  # Not before: what a callback does there may take long.
            self._lived = step_count.read(self.model)
            self._progress.begin_epoch(self._lived)
        self._check_loss()
        if not self.driver.started:
            self.restart()
        if self._on_policy:
            self._fill()
            return
        self._warm_up()
        self._join()
        self._owed += self.env_steps_per_update * self._chunk
        rows = int(self._owed) // self.envs.num_envs
        self.policy.snapshot()
        if self.overlap:
            self._pending = self._worker.submit(
                self.driver.run, rows, self.policy.explore
            )
            return
        with self._unbroken():
            self._pay(self.driver.run(rows, self.policy.explore))

    def on_train_batch_end(self, batch, logs=None):
        self._progress.write(logs, self._lived)

    def on_epoch_end(self, epoch, logs=None):
        self._check_loss()
        self._progress.write(
            logs, step_count.read(self.model), epoch_ended=True
        )

    def on_train_end(self, logs=None):
        self._join()
        self._lived = step_count.read(self.model)

    def on_fit_exit(self):
        """Keeps what the thread has collected, whatever ended `fit`."""
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                with self._unbroken():
                    chunk = pending.result()
                    self._owed -= chunk.env_steps
                    self._store(chunk)
        finally:
            if self._worker is not None:
                self._worker.shutdown()
                self._worker = None
        # `EarlyStopping` may have put back the best weights, this count, too;
        # but the steps since then were taken.
        if self.model is not None:
            missing = self._lived - step_count.read(self.model)
            step_count.add(self.model, max(0, missing))

    def restart(self):
        """Begins new episodes; those under way are stored as truncated.

        The environments are reset with a seed that depends only on `seed` and
        on how many times this happened, so that a run can be resumed here.
        """
        self._join()
        with self._unbroken():
            self._restarts += 1
            self.data.begin(self._reset())

    def _reset(self):
        sequence = np.random.SeedSequence([self.seed, self._restarts])
        try:
            return self.driver.reset(int(sequence.generate_state(1)[0]))
        except Exception as error:  # Whatever an environment may raise.
            raise RuntimeError(
                f"The environments could not be reset: {faults.told(error)} "
                f"{collect_checks.after_failure(self.envs)}"
            ) from error

    def _fill(self):
        """Lives through a whole rollout."""
        self.policy.snapshot()
        memory = self.policy.memory
        with self._unbroken():
            chunk = self.driver.run(self.data.steps, self.policy.explore)
            self._write(chunk, memory)
            self.data.prepare(self.model)

    def _warm_up(self):
        """Fills the replay with random actions, once."""
        if self._warmed:
            return
        actions = self.envs.action_space
        actions.seed(self.seed)

        def act(obs, begins):
            if isinstance(obs, dict) and "action_mask" in obs:
                allowed = np.where(obs["action_mask"], 0, spaces.MASKED)
                return samplers.epsilon_greedy(allowed, self.policy.rng, 1.0)
            return spaces.to_agent(self.model.action_spec, actions.sample())

        # In steps taken: a full replay holds less than its capacity, because
        # of its dead cells.
        missing = max(self.warmup, 1) - self.data.size
        while missing > 0:
            rows = min(-(-missing // self.envs.num_envs), 1_000)
            with self._unbroken():
                chunk = self.driver.run(rows, act)
                missing -= chunk.env_steps
                self._write(chunk)
        self._warmed = True

    @contextlib.contextmanager
    def _unbroken(self):
        """Where steps that were taken may be lost, as by Ctrl-C.

        The episodes that they belong to cannot go on: a new driver begins
        others.
        """
        try:
            yield
        except BaseException:
            self.driver = Driver(self.envs)
            raise

    def _join(self):
        """Waits for the thread, and stores what it has collected."""
        if self._pending is not None:
            chunk = self._pending.result()
            with self._unbroken():
                # Not before: Ctrl-C may end the waiting, and `on_fit_exit`
                # stores.
                self._pending = None
                self._pay(chunk)

    def _pay(self, chunk):
        """Stores a chunk of those steps that updates had called for."""
        self._owed -= chunk.env_steps
        self._write(chunk)

    def _write(self, chunk, memory=None):
        """Stores a chunk; raises what had cut it short."""
        self._store(chunk, memory)
        if chunk.error is not None:
            kept = (
                "The rollout that was under way is lost."
                if self._on_policy
                else "What was collected before is in the replay."
            )
            after = f"after {self._lived:,} steps"
            if isinstance(chunk.error, faults.Diverged):
                raise RuntimeError(
                    f"The agent cannot act {after}. {chunk.error}. {kept}"
                ) from chunk.error
            raise RuntimeError(
                f"Stepping the environments failed {after}: "
                f"{faults.told(chunk.error)} {kept} "
                f"{collect_checks.after_failure(self.envs)}"
            ) from chunk.error

    def _store(self, chunk, memory=None):
        # Half a rollout is of no use.
        prepared = self._on_policy and chunk.error is None
        if prepared:
            self.data.write(chunk.rows, chunk.next_obs, memory)
        elif not self._on_policy and len(chunk.rows["reward"]):
            self.data.write(chunk.rows, chunk.next_obs)
        self._progress.add(chunk)
        self._lived += chunk.env_steps
        if not prepared:  # Else `prepare` counts, at less cost.
            step_count.add(self.model, chunk.env_steps)

    def _check_loss(self):
        # `TerminateOnNaN`, where there is one, has stopped the training.
        if not self.model.stop_training:
            self._progress.check_loss()

    def get_state(self):
        """Nested dict of arrays and numbers; call `restart` before."""
        return {
            "kind": type(self.data).__name__,
            "replay": self.data.get_state(),
            "owed": self._owed,
            "restarts": self._restarts,
            "warmed": self._warmed,
            **self._progress.get_state(),
            "rng": self.policy.rng.bit_generator.state,
        }

    def set_state(self, state):
        """Restores what `get_state` returned."""
        if state["kind"] != type(self.data).__name__:
            raise ValueError(
                f"The saved replay is of another kind, a `{state['kind']}`: "
                f"use one such. Received: {type(self.data).__name__}"
            )
        self.data.set_state(state["replay"])
        self._owed = state["owed"]
        self._restarts = state["restarts"]
        self._warmed = state["warmed"]
        self._progress.set_state(state)
        self._make_policy()
        self.policy.rng.bit_generator.state = state["rng"]
        obs = self._reset()
        if self._on_policy:  # What it held was used up, and not saved.
            self.data.begin(obs)
