"""Stacks of the last frames, so that one image tells which way things move."""

import numpy as np
from gymnasium import spaces
from gymnasium import vector

from keras_rl2x import arguments


class FrameStack(vector.VectorWrapper):
    """Observations of the last frames, the newest last, channels last.

    What came before an episode's first frame is black. A replay that is told
    by `frame_stack` stores each frame once.

    Args:
        env: A `gymnasium.vector.VectorEnv` in `AutoresetMode.NEXT_STEP`, whose
            observations are images `(height, width)` or
            `(height, width, channels)`.
        frames: Integer.

    Attributes:
        frame_stack: Integer, the number of frames.

    Raises:
        ValueError: If the observations are no images, or `frames` is no
            integer >= 1.
    """

    def __init__(self, env, frames):
        super().__init__(env)
        one = env.single_observation_space
        if not isinstance(one, spaces.Box) or len(one.shape) not in (2, 3):
            raise ValueError(
                "Frames are images (height, width) or (height, width, "
                "channels): leave `frame_stack` out. Received: "
                f"observation_space={one}"
            )
        self.frame_stack = arguments.integer(frame_stack=frames)
        height, width, *channels = one.shape
        self._channels = channels[0] if channels else 1
        self._frame = (env.num_envs, height, width, self._channels)
        kind = (one.dtype, self._channels, self.frame_stack)
        self._four_bytes = kind == ("uint8", 1, 4)
        low, high = (
            np.tile(bound.reshape(self._frame[1:]), self.frame_stack)
            for bound in (np.minimum(one.low, 0), one.high)
        )
        self.single_observation_space = spaces.Box(low, high, dtype=one.dtype)
        self.observation_space = vector.utils.batch_space(
            self.single_observation_space, env.num_envs
        )

    def reset(self, *, seed=None, options=None):
        obs, info = self.env.reset(seed=seed, options=options)
        space = self.observation_space
        self._stack = np.zeros(space.shape, space.dtype)
        self._over = np.zeros(self.num_envs, "bool")
        return self._push(obs), info

    def step(self, actions):
        obs, reward, terminated, truncated, info = self.env.step(actions)
        if self._over.any():
            self._stack = self._stack.copy()
            self._stack[self._over] = 0
        self._over = episode_over(terminated, truncated, info)
        return self._push(obs), reward, terminated, truncated, info

    def _push(self, obs):
        frame = obs.reshape(self._frame)
        # New arrays: whoever was given the last one may still read it.
        if self._four_bytes:
            # A pixel as one number: a tenth of the time.
            words = self._stack.view("<u4") >> 8 | frame.astype("<u4") << 24
            self._stack = words.view("uint8")
        else:
            self._stack = np.concatenate(
                [self._stack[..., self._channels :], frame], axis=-1
            )
        return self._stack


class EpisodicLife(vector.VectorWrapper):
    """Losing a life terminates for learning; the episode goes on.

    Where `info["lives"]` falls, but not to 0, the step terminates, and
    `info["life_lost"]` says that it does. (After the last life some games run
    for a few frames more; the episode ends with the game.)

    Args:
        env: A `gymnasium.vector.VectorEnv` that tells the lives.

    Raises:
        ValueError: From `reset` and `step`, if it tells none.
    """

    def reset(self, *, seed=None, options=None):
        obs, info = self.env.reset(seed=seed, options=options)
        self._lives = self._told(info)
        return obs, info

    def step(self, actions):
        obs, reward, terminated, truncated, info = self.env.step(actions)
        lives, over = self._told(info), terminated | truncated
        lost = (lives < self._lives) & (lives > 0) & ~over
        # The next game may begin with less than a truncated one had left.
        self._lives = np.where(over, 0, lives)
        return (
            obs,
            reward,
            terminated | lost,
            truncated,
            info | {"life_lost": lost},
        )

    def _told(self, info):
        if "lives" not in info:
            raise ValueError(
                "The environments give no `info['lives']`, a number for each: "
                "leave `EpisodicLife` out. Received: info with "
                f"{sorted(info)}"
            )
        return np.array(info["lives"])


def episode_over(terminated, truncated, info):
    """Boolean array, where the next step of a vector environment only resets.

    Args:
        terminated: Boolean array `[num_envs]`.
        truncated: Boolean array `[num_envs]`.
        info: Dict, what `step` returned last; see `EpisodicLife`.
    """
    over = terminated | truncated
    if "life_lost" not in info or "lives" not in info:
        return over
    # Where no life is left, it is no word of `EpisodicLife`.
    return over & ~(info["life_lost"] & (info["lives"] > 0))
