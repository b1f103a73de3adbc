"""Action masks, from `info` into the observation."""

import gymnasium
import numpy as np
from gymnasium import spaces


class ActionMask(gymnasium.Wrapper):
    """Moves `info["action_mask"]` into the observation, where agents see it.

    The observation becomes a dict of the `"observation"` there was and the
    `"action_mask"`: 1 for each action that is allowed, else 0.

    Args:
        env: A `gymnasium.Env` whose actions are `Discrete`.

    Raises:
        ValueError: If the actions are of another kind; from `reset` and `step`,
            if the environment gives no mask.
    """

    def __init__(self, env):
        super().__init__(env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise ValueError(
                "`action_mask` needs `Discrete` actions: for others, put the "
                "mask into a `Dict` observation yourself. Received: "
                f"action_space={env.action_space}"
            )
        self.observation_space = spaces.Dict(
            action_mask=spaces.MultiBinary(int(env.action_space.n)),
            observation=env.observation_space,
        )

    def reset(self, **kwargs):
        obs, info = self.env.reset(**kwargs)
        return self._masked(obs, info), info

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._masked(obs, info), reward, terminated, truncated, info

    def _masked(self, obs, info):
        if "action_mask" not in info:
            raise ValueError(
                "The environment gives no `info['action_mask']`: leave "
                f"`action_mask` out. Received: info with {sorted(info)}"
            )
        mask = np.asarray(info["action_mask"], "int8")
        return {"action_mask": mask, "observation": obs}
