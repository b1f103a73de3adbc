"""Copies of an environment that step together, and their context manager."""

import contextlib
import functools
import multiprocessing
import signal

import gymnasium
import numpy as np
import optree
from gymnasium import vector

from keras_rl2x import arguments
from keras_rl2x import spaces
from keras_rl2x.envs.action_mask import ActionMask

VECTORIZATIONS = ("auto", "sync", "async")

_PATIENCE = 10.0  # Seconds.


class Environments(vector.VectorWrapper):
    """A vector environment that is also a context manager.

    Args:
        env: A `gymnasium.vector.VectorEnv`.
        seed: Integer, or `None`: what a collector seeds its first reset with.

    Attributes:
        frame_stack: Integer, of how many frames an observation consists.
    """

    def __init__(self, env, seed=None):
        super().__init__(env)
        self.seed = None if seed is None else arguments.integer(0, seed=seed)
        self.frame_stack = getattr(env, "frame_stack", 1)
        self._structure = optree.tree_structure(
            spaces.spec(env.single_observation_space)
        )

    def reset(self, *, seed=None, options=None):
        seeds = np.asarray(seed)
        if seeds.dtype.kind not in "iuO":  # Huge ones and `None` are objects.
            raise ValueError(
                "`seed` must be an integer, or a list of one for each "
                f"environment. Received: {seed=}"
            )
        self._finish_pending()
        # Gymnasium takes Python's integers only.
        obs, info = self.env.reset(seed=seeds.tolist(), options=options)
        return self._in_order(obs), info

    def step(self, actions):
        obs, *others = self.env.step(actions)
        return self._in_order(obs), *others

    def _finish_pending(self):
        """Ends a step that Ctrl-C has cut: its processes answer still."""
        envs = self.env.unwrapped
        if isinstance(envs, vector.AsyncVectorEnv):
            for wait in (envs.step_wait, envs.reset_wait):
                with contextlib.suppress(gymnasium.error.NoAsyncCallError):
                    # Of some the answer may have been read already.
                    wait(timeout=_PATIENCE)

    def _in_order(self, obs):
        """With plain dicts: the leaves of an `OrderedDict` come in its order.

        Those of the space come in the order of their names.
        """
        leaves = self._structure.flatten_up_to(obs)
        return optree.tree_unflatten(self._structure, leaves)

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        try:
            self.close()
        except Exception:
            # A process that died, say, which cannot be told to close.
            for process in getattr(self.unwrapped, "processes", ()):
                process.terminate()
            self.unwrapped.closed = True
            if kind is None:
                raise


def vectorize(env, num_envs, vectorization, action_mask, kwargs):
    if isinstance(env, gymnasium.Env):
        raise ValueError(
            "One environment cannot be copied: give its id, or the function "
            f"that makes it, as in `make(lambda: MyEnv())`. Received: env={env}"
        )
    if isinstance(env, str):
        one = functools.partial(gymnasium.make, env, **kwargs)
    elif callable(env):
        one = functools.partial(env, **kwargs)
    else:
        raise ValueError(
            "`env` must be a Gymnasium id, a function that returns an "
            "environment, or a vector environment. Received: "
            f"env={env!r} of type {type(env)}"
        )
    if action_mask:
        one = functools.partial(_with_mask, one)
    copies = [one] * num_envs
    mode = vector.AutoresetMode.NEXT_STEP
    if vectorization == "async":
        copies = [functools.partial(_in_worker, one)] * num_envs
        return vector.AsyncVectorEnv(copies, autoreset_mode=mode)
    # Drivers copy what they keep: a copy at every step would be wasted.
    return vector.SyncVectorEnv(copies, copy=False, autoreset_mode=mode)


def _with_mask(one):
    return ActionMask(one())


def _in_worker(one):
    # Ctrl-C reaches the workers too, and would end them: that is for the
    # process that they work for to decide.
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return one()


def check_vectorization(vectorization, known):
    if vectorization not in known:
        raise ValueError(
            f"`vectorization` must be one of {known}. "
            f"Received: {vectorization=}"
        )
