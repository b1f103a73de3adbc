"""`make` and `atari`: environments as checked vector environments."""

import functools
import multiprocessing
import signal

import gymnasium
import numpy as np
import optree
from gymnasium import vector

from keras_rl2x import arguments
from keras_rl2x import spaces
from keras_rl2x.envs import atari as games
from keras_rl2x.envs.action_mask import ActionMask
from keras_rl2x.envs.frames import EpisodicLife
from keras_rl2x.envs.frames import FrameStack

VECTORIZATIONS = ("auto", "sync", "async")


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
        self.seed = seed
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
        # Gymnasium takes Python's integers only.
        obs, info = self.env.reset(seed=seeds.tolist(), options=options)
        return self._in_order(obs), info

    def step(self, actions):
        obs, *others = self.env.step(actions)
        return self._in_order(obs), *others

    def _in_order(self, obs):
        """With plain dicts: the leaves of an `OrderedDict` come in its order.

        Those of the space come in the order of their names.
        """
        leaves = self._structure.flatten_up_to(obs)
        return optree.tree_unflatten(self._structure, leaves)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def make(
    env,
    num_envs=1,
    vectorization="auto",
    seed=None,
    action_mask=False,
    frame_stack=None,
    **kwargs,
):
    """Makes a vector environment.

    The games of `"ALE/..."` are made by `atari`, with its arguments.

    Args:
        env: A Gymnasium id (`"CartPole-v1"`); a function that returns a
            `gymnasium.Env`; or a `gymnasium.vector.VectorEnv`, whose number
            of environments then counts.
        num_envs: Integer, how many copies step together. Defaults to 1.
        vectorization: `"sync"`, one after the other in this process, or
            `"async"`, each in a process of its own: worth it where a step
            takes longer than about a tenth of a millisecond. Defaults to
            `"auto"`: `"sync"`, and for Atari `"native"`.
        seed: Integer seed of the first reset. Defaults to `None`.
        action_mask: Boolean, whether to move `info["action_mask"]`, which
            says which actions are allowed, into the observation; see
            `ActionMask`. Defaults to `False`.
        frame_stack: Integer, of how many images an observation consists, see
            `FrameStack`. Defaults to `None`: of what the environment gives.
        **kwargs: Passed to `gymnasium.make` or to the function, for instance
            `render_mode="rgb_array"`.

    Returns:
        An `Environments`: a `gymnasium.vector.VectorEnv` that steps in
        `AutoresetMode.NEXT_STEP`, and a context manager that closes it.

    Raises:
        ValueError: If an argument does not fit, or a vector environment
            resets in another mode.
        gymnasium.error.Error: If there is no environment of this id.

    Example:

    ```python
    with keras_rl2x.envs.make("CartPole-v1", num_envs=8, seed=0) as envs:
        obs, info = envs.reset(seed=envs.seed)
    ```
    """
    if isinstance(env, str) and env.startswith("ALE/"):
        if action_mask:
            raise ValueError("Atari games have no `action_mask`: leave it out.")
        if frame_stack is not None:
            kwargs["frame_stack"] = frame_stack
        return atari(env, num_envs, seed, vectorization, **kwargs)
    if isinstance(env, vector.VectorEnv):
        if (
            kwargs
            or action_mask
            or vectorization != "auto"
            or num_envs not in (1, env.num_envs)
        ):
            raise ValueError(
                "A vector environment is taken as it is: give its arguments "
                f"to what makes it. Received: {num_envs=}, {vectorization=}, "
                f"{action_mask=}, kwargs={sorted(kwargs)}"
            )
        vectorized = env
    else:
        num_envs = arguments.integer(num_envs=num_envs)
        _check_vectorization(vectorization, VECTORIZATIONS)
        vectorized = _vectorize(
            env, num_envs, vectorization, action_mask, kwargs
        )
    _check_autoreset(vectorized)
    if frame_stack is not None:
        vectorized = FrameStack(vectorized, frame_stack)
    return Environments(vectorized, seed)


def atari(
    game,
    num_envs=1,
    seed=None,
    vectorization="auto",
    protocol="deepmind",
    frame_stack=4,
    frame_skip=4,
    size=84,
    grayscale=True,
    max_frames=108_000,
    num_threads=0,
    render_mode=None,
    **changes,
):
    """Makes Atari games, as the literature plays them.

    Observations are the last 4 frames, grey, 84 x 84, the newest last, as
    `uint8` images `(84, 84, 4)`; of every 4 frames that the machine makes one
    is seen, the brighter of the last two. Rewards are the game's own score:
    clip them where they are learned from (`clip_rewards` of `data.Replay` and
    `data.Rollout`).

    Args:
        game: `"Pong"`, `"MsPacman"`, `"ALE/Pong-v5"` or `"ms pacman"`.
        num_envs: Integer, how many step together. Defaults to 1.
        seed: Integer seed of the first reset. Defaults to `None`.
        vectorization: `"native"`, all of it in C++ on threads; `"sync"` or
            `"async"`, with Gymnasium's wrappers, as `make` has them, which
            render, too (and need opencv-python-headless). Where nothing is
            random (`noop_max=0`, no sticky actions) all show the same, bit
            for bit; else they draw by other generators. Defaults to `"auto"`:
            `"native"`, and where they are rendered `"sync"`.
        protocol: `"deepmind"`, that of Mnih et al. (2015), or `"sticky"`, that
            of Machado et al. (2018); see `changes`. Defaults to `"deepmind"`.
        frame_stack: Integer. Defaults to 4.
        frame_skip: Integer. Defaults to 4.
        size: Integer, the height and width. Defaults to 84.
        grayscale: Boolean, whether frames are grey, or have three colours.
            Defaults to `True`.
        max_frames: Integer, where episodes are truncated, in frames; Gymnasium
            counts those of the random start, too. Defaults to 108,000: half
            an hour.
        num_threads: Integer, of the C++ environments. Defaults to 0: one for
            each core.
        render_mode: As in `gymnasium.make`, but not for `"native"`.
        **changes: What is to differ from the protocol:
            `repeat_action_probability`, a float, with which a frame repeats
            the last action instead (0; sticky: 0.25);
            `episodic_life`, whether losing a life counts as termination for
            learning, while the game goes on (`True`; sticky: `False`);
            `fire_reset`, whether the button with which some games begin is
            pressed when a game begins, not after each life as by the wrappers
            of Baselines and Stable-Baselines3 (`True`; sticky: `False`);
            `noop_max`, up to how many frames without an action an episode
            begins with (30; sticky: 0);
            `full_action_space`, whether there are all 18 actions, or only
            those that the game reacts to (`False` for both).

    Returns:
        An `Environments`.

    Raises:
        ValueError: If there is no such game, or an argument does not fit.

    Reference:
     - [Mnih et al., 2015](https://doi.org/10.1038/nature14236), methods
     - [Machado et al., 2018](https://arxiv.org/abs/1709.06009), section 4

    Example:

    ```python
    with keras_rl2x.envs.atari("Pong", num_envs=8, seed=0) as envs:
        obs, info = envs.reset(seed=envs.seed)
    ```
    """
    num_envs = arguments.integer(num_envs=num_envs)
    frame_stack = arguments.integer(frame_stack=frame_stack)
    num_threads = arguments.integer(0, num_threads=num_threads)
    _check_vectorization(vectorization, ("native", *VECTORIZATIONS))
    settings = games.settings_of(protocol, changes)
    episodic_life = settings.pop("episodic_life")
    settings |= {
        "rom": games.rom_of(game),
        "size": arguments.integer(size=size),
        "grayscale": bool(grayscale),
        "frame_skip": arguments.integer(frame_skip=frame_skip),
        "max_frames": arguments.integer(max_frames=max_frames),
        "render_mode": render_mode,
    }
    if vectorization == "auto":
        vectorization = "native" if render_mode is None else "sync"
    if vectorization == "native":
        vectorized = games.Native(
            num_envs=num_envs, num_threads=num_threads, **settings
        )
    else:
        vectorized = _vectorize(
            games.wrapped, num_envs, vectorization, False, settings
        )
    if episodic_life:
        vectorized = EpisodicLife(vectorized)
    return Environments(FrameStack(vectorized, frame_stack), seed)


def _vectorize(env, num_envs, vectorization, action_mask, kwargs):
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


def _check_vectorization(vectorization, known):
    if vectorization not in known:
        raise ValueError(
            f"`vectorization` must be one of {known}. "
            f"Received: {vectorization=}"
        )


def _check_autoreset(envs):
    mode = envs.metadata.get("autoreset_mode")
    if mode != vector.AutoresetMode.NEXT_STEP:
        raise ValueError(
            "The environments must reset in the step that follows an "
            "episode's end, so that its final observation is seen. Make them "
            "with autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP. "
            f"Received: autoreset_mode={mode}"
        )
