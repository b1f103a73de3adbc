"""`make`: environments as checked vector environments."""

from gymnasium import vector

from keras_rl2x import arguments
from keras_rl2x.envs import ale
from keras_rl2x.envs.environments import VECTORIZATIONS
from keras_rl2x.envs.environments import Environments
from keras_rl2x.envs.environments import check_vectorization
from keras_rl2x.envs.environments import vectorize
from keras_rl2x.envs.frames import FrameStack
from keras_rl2x.envs.make_atari import atari


def make(
    env,
    num_envs=1,
    *,
    vectorization="auto",
    seed=None,
    action_mask=False,
    frame_stack=None,
    **kwargs,
):
    """Makes a vector environment.

    The games of `"ALE/..."` are made by `atari`, with its arguments and its
    preprocessing: `"ALE/Pong-v5"` is played as the literature plays, and not,
    as by `gymnasium.make`, in colour and with sticky actions.

    Args:
        env: A Gymnasium id (`"CartPole-v1"`); a function that returns a
            `gymnasium.Env`; or a `gymnasium.vector.VectorEnv`, whose number
            of environments then counts.
        num_envs: Integer, how many copies step together. Defaults to 1.
        vectorization: `"sync"`, one after the other in this process, or
            `"async"`, each in a process of its own: worth it where a step
            takes longer than about a tenth of a millisecond; for Atari also
            `"native"`, see `atari`. Defaults to `"auto"`: `"sync"`, and for
            Atari `"native"`.
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
    if isinstance(env, str) and ale.names_game(env):
        if action_mask:
            raise ValueError("Atari games have no `action_mask`: leave it out.")
        if frame_stack is not None:
            kwargs["frame_stack"] = frame_stack
        return atari(
            env, num_envs, seed=seed, vectorization=vectorization, **kwargs
        )
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
        check_vectorization(vectorization, VECTORIZATIONS)
        vectorized = vectorize(
            env, num_envs, vectorization, action_mask, kwargs
        )
    _check_autoreset(vectorized)
    if frame_stack is not None:
        vectorized = FrameStack(vectorized, frame_stack)
    return Environments(vectorized, seed)


def _check_autoreset(envs):
    mode = envs.metadata.get("autoreset_mode")
    if mode != vector.AutoresetMode.NEXT_STEP:
        raise ValueError(
            "The environments must reset in the step that follows an "
            "episode's end, so that its final observation is seen. Make them "
            "with autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP. "
            f"Received: autoreset_mode={mode}"
        )
