"""The games of the Arcade Learning Environment, as agents see them."""

import difflib
import os
import re

import ale_py
import gymnasium
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv
from gymnasium import spaces
from gymnasium import vector
from gymnasium import wrappers

from keras_rl2x import extras

# What differs between the ways in which the literature plays.
PROTOCOLS = {
    # Mnih et al., 2015, and all that compare with it.
    "deepmind": {
        "repeat_action_probability": 0.0,
        "episodic_life": True,
        "fire_reset": True,
        "noop_max": 30,
        "full_action_space": False,
    },
    # Machado et al., 2018, as in Dopamine and in Gymnasium's `ALE/...-v5`.
    "sticky": {
        "repeat_action_probability": 0.25,
        "episodic_life": False,
        "fire_reset": False,
        "noop_max": 0,
        "full_action_space": False,
    },
}


def settings_of(protocol, changes):
    """Dict of the arguments in which protocols differ.

    Args:
        protocol: String, a key of `PROTOCOLS`.
        changes: Dict, what is to differ from it.

    Raises:
        ValueError: If there is no such protocol, or no such argument.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {sorted(PROTOCOLS)}. "
            f"Received: {protocol=}"
        )
    settings = PROTOCOLS[protocol]
    if not changes.keys() <= settings.keys():
        raise ValueError(
            "Beside the arguments of `envs.atari`, those of its protocol "
            f"can be given: {sorted(settings)}. Received: {sorted(changes)}"
        )
    return {**settings, **changes}


def rom_of(game):
    """The name of a game's file: `"ms_pacman"` for `"ALE/MsPacman-v5"`."""
    name = re.sub(r"^ALE/|-v\d+$", "", str(game))
    rom = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    known = roms.get_all_rom_ids()
    if rom not in known:
        near = difflib.get_close_matches(rom, known, 3, 0.5)
        raise ValueError(
            f"There is no Atari game {game!r}. Close to it: {near}. All names: "
            "ale_py.roms.get_all_rom_ids()"
        )
    return rom


class Native(AtariVectorEnv):
    """A vector environment, all of it in C++, on threads."""

    def __init__(
        self,
        rom,
        num_envs,
        size,
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
            num_envs=int(num_envs),
            num_threads=num_threads or os.cpu_count(),
            frameskip=frame_skip,
            img_height=size,
            img_width=size,
            stack_num=1,
            max_num_frames_per_episode=max_frames,
            use_fire_reset=fire_reset,
            reward_clipping=False,
            autoreset_mode=vector.AutoresetMode.NEXT_STEP,
            **kwargs,
        )
        # It has one frame as its first axis.
        self.single_observation_space = spaces.Box(
            0, 255, (size, size), "uint8"
        )

    def reset(self, *, seed=None, options=None):
        if seed is not None:  # One for each environment, of 31 bits.
            seed %= 2**31 - self.num_envs
        return super().reset(seed=seed, options=options)


def wrapped(
    rom,
    size,
    frame_skip,
    max_frames,
    noop_max,
    fire_reset,
    render_mode=None,
    **kwargs,
):
    """One game, with Gymnasium's wrappers."""
    extras.require(
        "cv2", "opencv-python-headless", "Atari without C++ vectorization"
    )
    env = ale_py.AtariEnv(
        rom,
        frameskip=1,
        max_num_frames_per_episode=max_frames,
        render_mode=render_mode,
        **kwargs,
    )
    if fire_reset and "FIRE" in env.get_action_meanings():
        env = _FireReset(env)  # Before the no-ops; in C++ it comes after.
    return wrappers.AtariPreprocessing(env, noop_max, frame_skip, size)


class _FireReset(gymnasium.Wrapper):
    """Presses the button with which some games begin."""

    def reset(self, **kwargs):
        self.env.reset(**kwargs)
        fire = self.env.unwrapped.get_action_meanings().index("FIRE")
        obs, _, _, _, info = self.env.step(fire)
        return obs, info
