"""`atari`: games as checked vector environments."""

from keras_rl2x import arguments
from keras_rl2x.envs import ale
from keras_rl2x.envs.environments import VECTORIZATIONS
from keras_rl2x.envs.environments import Environments
from keras_rl2x.envs.environments import check_vectorization
from keras_rl2x.envs.environments import vectorize
from keras_rl2x.envs.frames import EpisodicLife
from keras_rl2x.envs.frames import FrameStack


def atari(
    game,
    num_envs=1,
    *,
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
        protocol: `"deepmind"`, as most have played since Mnih et al. (2015), or
            `"sticky"`, Dopamine's way after Machado et al. (2018); see
            `changes`. Defaults to `"deepmind"`.
        frame_stack: Integer, of how many frames an observation consists.
            Defaults to 4.
        frame_skip: Integer, for how many of the machine's frames an action
            lasts. Defaults to 4.
        size: Integer, the height and width in pixels. Defaults to 84.
        grayscale: Boolean, whether frames are grey, or have three colours:
            observations are then `(size, size, 3 * frame_stack)`. Defaults to
            `True`.
        max_frames: Integer, where episodes are truncated, in frames; Gymnasium
            counts those of the random start, too. Defaults to 108,000: half
            an hour.
        num_threads: Integer, of the C++ environments. Defaults to 0: one for
            each core.
        render_mode: As in `gymnasium.make`, but not for `"native"`.
        **changes: What is to differ from the protocol (`None`: nothing):
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
     - [Castro et al., 2018](https://arxiv.org/abs/1812.06110) (Dopamine)

    Example:

    ```python
    with keras_rl2x.envs.atari("Pong", num_envs=8, seed=0) as envs:
        obs, info = envs.reset(seed=envs.seed)
    ```
    """
    num_envs = arguments.integer(num_envs=num_envs)
    frame_stack = arguments.integer(frame_stack=frame_stack)
    num_threads = arguments.integer(0, num_threads=num_threads)
    check_vectorization(vectorization, ("native", *VECTORIZATIONS))
    settings = ale.settings_of(protocol, changes)
    episodic_life = settings.pop("episodic_life")
    settings |= {
        "rom": ale.rom_of(game),
        "size": arguments.integer(size=size),
        "grayscale": arguments.boolean(grayscale=grayscale),
        "frame_skip": arguments.integer(frame_skip=frame_skip),
        "max_frames": arguments.integer(max_frames=max_frames),
        "render_mode": render_mode,
    }
    if vectorization == "auto":
        vectorization = "native" if render_mode is None else "sync"
    if vectorization == "native":
        vectorized = ale.Native(
            num_envs=num_envs, num_threads=num_threads, **settings
        )
    else:
        vectorized = vectorize(
            ale.wrapped, num_envs, vectorization, False, settings
        )
    if episodic_life:
        vectorized = EpisodicLife(vectorized)
    return Environments(FrameStack(vectorized, frame_stack), seed)
