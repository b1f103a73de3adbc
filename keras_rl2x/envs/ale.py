"""The games of the Arcade Learning Environment, as agents see them."""

import difflib
import functools
import os
import re

import ale_py
import gymnasium
import numpy as np
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv
from gymnasium import spaces
from gymnasium import vector
from gymnasium import wrappers

from keras_rl2x import arguments
from keras_rl2x import extras

# What differs between the ways in which the literature plays.
PROTOCOLS = {
    # Mnih et al., 2015, and those who compare with it. The button that begins a
    # game is of Baselines (Dhariwal et al., 2017).
    "deepmind": {
        "repeat_action_probability": 0.0,
        "episodic_life": True,
        "fire_reset": True,
        "noop_max": 30,
        "full_action_space": False,
    },
    # Castro et al., 2018 (Dopamine), and Gymnasium's `ALE/...-v5`: that of
    # Machado et al., 2018, but for their 18 actions in all games.
    "sticky": {
        "repeat_action_probability": 0.25,
        "episodic_life": False,
        "fire_reset": False,
        "noop_max": 0,
        "full_action_space": False,
    },
}

# As in "PongNoFrameskip-v4".
_OLD_ID = re.compile(r"(NoFrameskip|Deterministic)?-v[04]$")


def settings_of(protocol, changes):
    """Dict of the arguments in which protocols differ.

    Args:
        protocol: String, a key of `PROTOCOLS`.
        changes: Dict, what is to differ from it.

    Raises:
        ValueError: If there is no such protocol, no such argument, or an
            argument does not fit.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {sorted(PROTOCOLS)}. "
            f"Received: {protocol=}"
        )
    settings = PROTOCOLS[protocol]
    unknown = sorted(changes.keys() - settings.keys())
    if unknown:
        raise ValueError(
            f"`envs.atari` has no argument {unknown[0]!r}. Beside those in its "
            "signature (`frame_skip`, `size` and others), those of the "
            f"protocol can be given: {sorted(settings)}. Received: {unknown}"
        )
    given = {name: x for name, x in changes.items() if x is not None}
    settings = {**settings, **given}
    settings["noop_max"] = arguments.integer(0, noop_max=settings["noop_max"])
    for name in ("episodic_life", "fire_reset", "full_action_space"):
        arguments.boolean(**{name: settings[name]})
    sticky = settings["repeat_action_probability"]
    sticky = float(arguments.fraction(repeat_action_probability=sticky))
    settings["repeat_action_probability"] = sticky
    return settings


def names_game(env_id):
    """Whether an id of Gymnasium is that of a game: `"ALE/Pong-v5"`, or of old.

    Args:
        env_id: String.
    """
    game, versions = _OLD_ID.subn("", env_id)
    return env_id.startswith("ALE/") or bool(versions and _key(game) in _roms())


def rom_of(game):
    """The name of a game's file: `"ms_pacman"` for `"ALE/MsPacman-v5"`."""
    known = _roms()
    name = re.sub(r"^ALE/|-v5$", "", str(game))
    alone = _OLD_ID.sub("", name)
    key = _key(alone)
    if key not in known:
        near = difflib.get_close_matches(key, known, 3, 0.5)
        raise ValueError(
            f"There is no Atari game {game!r}. Close to it: "
            f"{[known[one] for one in near]}. All names: "
            "ale_py.roms.get_all_rom_ids()"
        )
    if alone != name:
        raise ValueError(
            "Gymnasium's old ids name a protocol, too: give the game, "
            f'"{alone}", and its protocol. Without sticky actions, as in v4, '
            f'it is protocol="deepmind". Received: {game=}'
        )
    return known[key]


def _key(game):
    """A game's name without what is written in different ways."""
    return re.sub(r"[_ ]", "", game).lower()


@functools.cache
def _roms():
    """Dict from the keys of games to the names of their files."""
    # Where the file of "UpNDown" has its underscores, nothing tells.
    return {_key(rom): rom for rom in roms.get_all_rom_ids()}


class Native(AtariVectorEnv):
    """A vector environment, all of it in C++, on threads."""

    def __init__(
        self,
        rom,
        num_envs,
        size,
        grayscale,
        frame_skip,
        max_frames,
        fire_reset,
        num_threads,
        render_mode=None,
        **kwargs,
    ):
        if render_mode is not None:
            raise ValueError(
                "The environments of ale-py that step in C++ do not render: "
                f'use vectorization="sync". Received: {render_mode=}'
            )
        super().__init__(
            rom,
            num_envs=num_envs,
            num_threads=num_threads or os.cpu_count(),
            frameskip=frame_skip,
            img_height=size,
            img_width=size,
            grayscale=grayscale,
            stack_num=1,
            max_num_frames_per_episode=max_frames,
            use_fire_reset=fire_reset,
            reward_clipping=False,
            autoreset_mode=vector.AutoresetMode.NEXT_STEP,
            **kwargs,
        )
        # It has one frame as its first axis.
        shape = (size, size) if grayscale else (size, size, 3)
        self.single_observation_space = spaces.Box(0, 255, shape, "uint8")

    def reset(self, *, seed=None, options=None):
        # Seeds have 31 bits. From an integer C++ counts up; -1 is none.
        if isinstance(seed, int):
            seed %= 2**31 - self.num_envs
        elif seed is not None:
            seed = np.array(
                [-1 if one is None else one % 2**31 for one in seed]
            )
        return super().reset(seed=seed, options=options)

    def step(self, actions):
        actions = np.asarray(actions)
        if actions not in self.action_space:  # C++ would wait for ever.
            raise ValueError(
                "`actions` must be an integer for each of the "
                f"{self.num_envs} environments, from 0 to "
                f"{self.single_action_space.n - 1}. Received: {actions=}"
            )
        return super().step(actions.astype("int64", copy=False))


def wrapped(
    rom,
    size,
    grayscale,
    frame_skip,
    max_frames,
    noop_max,
    fire_reset,
    render_mode=None,
    **kwargs,
):
    """One game, with Gymnasium's wrappers."""
    extras.require(
        "cv2",
        "opencv-python-headless",
        "Atari with Gymnasium's wrappers, as for videos,",
    )
    env = ale_py.AtariEnv(
        rom,
        frameskip=1,
        max_num_frames_per_episode=max_frames,
        render_mode=render_mode,
        **kwargs,
    )
    if fire_reset and "FIRE" in env.get_action_meanings():
        # Before the no-ops, as in C++. There it is one of 0 to `noop_max - 1`
        # frames, here 1 to `noop_max` no-ops follow it.
        env = _FireReset(env)
    env = wrappers.AtariPreprocessing(
        env, noop_max, frame_skip, size, grayscale_obs=grayscale
    )
    # A picture for each step: videos of it at 30 would run too fast.
    env.metadata = {**env.metadata, "render_fps": 60 / frame_skip}
    return env


class _FireReset(gymnasium.Wrapper):
    """Presses the button with which some games begin, when a game begins.

    Not after each life, as the wrappers of the same name in Baselines and
    Stable-Baselines3 do, to which each life is an episode.
    """

    def reset(self, **kwargs):
        self.env.reset(**kwargs)
        fire = self.env.unwrapped.get_action_meanings().index("FIRE")
        obs, _, _, _, info = self.env.step(fire)
        return obs, info
