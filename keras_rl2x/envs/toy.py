"""Toy environments with known answers, to test agents on in seconds."""

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv


class Bandit(gymnasium.Env):
    """One step: arm `a` of `arms` pays `a / (arms - 1)`; the best pays 1."""

    def __init__(self, arms=4):
        self.observation_space = spaces.Box(0, 1, (1,))
        self.action_space = spaces.Discrete(arms)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, "float32"), {}

    def step(self, action):
        reward = float(action) / (int(self.action_space.n) - 1)
        return np.ones(1, "float32"), reward, True, False, {}


class Chain(gymnasium.Env):
    """Waiting, for a reward of 1 a step, until a time limit cuts it off.

    Action 0 stays; action 1 ends the episode (terminates it). At the time
    limit, after `limit` steps, it is truncated: as the waiting could go on
    for ever, the value of staying is `1 / (1 - gamma)` everywhere, also at the
    limit. An agent that takes the limit for an end learns less.
    """

    def __init__(self, limit=5):
        self.limit = limit
        self.observation_space = spaces.Discrete(1)
        self.action_space = spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return 0, {}

    def step(self, action):
        self.steps += 1
        truncated = self.steps >= self.limit
        return 0, 1.0, bool(action == 1), truncated, {}


class Identity(gymnasium.Env):
    """The action to take is shown, one of `categories`.

    It pays 1 in each of `limit` steps; any other action pays nothing.
    """

    def __init__(self, categories=4, limit=10):
        self.limit = limit
        self.observation_space = spaces.Discrete(categories)
        self.action_space = spaces.Discrete(categories)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action):
        self.steps += 1
        reward = float(action == self.state)
        return self._draw(), reward, False, self.steps >= self.limit, {}

    def _draw(self):
        self.state = int(self.np_random.integers(self.observation_space.n))
        return self.state


class Reach(gymnasium.Env):
    """The numbers to give are shown, `size` of them, from -1 to 1.

    Actions go from -2 to 2. Each of `limit` steps costs the mean squared
    distance, so that the best return is 0.
    """

    def __init__(self, size=2, limit=10):
        self.limit = limit
        self.observation_space = spaces.Box(-1, 1, (size,))
        self.action_space = spaces.Box(-2, 2, (size,))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action):
        self.steps += 1
        reward = -float(np.mean(np.square(action - self.state)))
        return self._draw(), reward, False, self.steps >= self.limit, {}

    def _draw(self):
        shape = self.observation_space.shape
        self.state = self.np_random.uniform(-1, 1, shape).astype("float32")
        return self.state


class Memory(gymnasium.Env):
    """A cue is shown once, in the first step; the last action must repeat it.

    The observation is the cue (0, or its number from 1 on) and the time that
    is left: the last action is the one after `delay` others. Without memory
    the best is a mean return of `1 / cues`; with memory, 1.
    """

    def __init__(self, cues=2, delay=3):
        self.cues, self.delay = cues, delay
        self.observation_space = spaces.MultiDiscrete([cues + 1, delay + 2])
        self.action_space = spaces.Discrete(cues)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.cue = int(self.np_random.integers(self.cues))
        self.left = self.delay + 1
        return np.array([self.cue + 1, self.left]), {}

    def step(self, action):
        self.left -= 1
        over = self.left == 0
        reward = float(over and action == self.cue)
        return np.array([0, self.left]), reward, over, False, {}


class BitFlip(gymnasium.Env):
    """Bits to flip, one in each step, until they are those of the goal.

    Every step costs 1 after which they are not. An episode has as many steps
    as there are bits, just enough to reach any goal; as there is no action
    that leaves the bits alone, it may be reached and lost again. An episode's
    goal was reached if it returns more than `-bits`. With a dozen bits, who
    explores at random hardly ever sees another reward than -1.

    Observations are those of a goal environment in Gymnasium-Robotics:
    `observation`, and the same as `achieved_goal`, and `desired_goal`. So is
    `info["is_success"]`, whether the bits are those of the goal now.

    Reference:
     - [Andrychowicz et al., 2017](https://arxiv.org/abs/1707.01495),
       section 3.1
    """

    def __init__(self, bits=8):
        names = ("achieved_goal", "desired_goal", "observation")
        self.observation_space = spaces.Dict(
            {name: spaces.MultiBinary(bits) for name in names}
        )
        self.action_space = spaces.Discrete(bits)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        shape = (2, int(self.action_space.n))
        self.state, self.goal = self.np_random.integers(
            2, size=shape, dtype="i1"
        )
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        self.state[action] ^= 1
        reward = float(self.compute_reward(self.state, self.goal, {}))
        truncated = self.steps >= self.action_space.n
        info = {"is_success": reward == 0}
        return self._observe(), reward, False, bool(truncated), info

    def compute_reward(self, achieved_goal, desired_goal, info):
        """0 where two goals `[..., bits]` are the same, else -1."""
        reached = np.all(achieved_goal == desired_goal, axis=-1)
        return reached.astype("float32") - 1

    def _observe(self):
        return {
            "achieved_goal": self.state.copy(),
            "desired_goal": self.goal.copy(),
            "observation": self.state.copy(),
        }


class Bricks(gymnasium.Env):
    """A ball, a paddle and a wall of bricks, on 10 by 10 pixels.

    The ball flies diagonally, a pixel a step. A brick that it hits is gone, and
    pays 1; a wall without bricks is built anew. The episode ends when the ball
    leaves the picture at the bottom. Observations are `[10, 10, 3]`: the
    paddle, the ball (its last position half as bright), and the bricks. The
    actions are to stay, to go left and to go right. Registered as
    `"keras_rl2x/Bricks-v0"`, with 1,000 steps at most.

    Reference:
     - [Young and Tian, 2019](https://arxiv.org/abs/1903.03176), Breakout
    """

    size = 10
    wall = slice(1, 4)

    def __init__(self):
        shape = (self.size, self.size, 3)
        self.observation_space = spaces.Box(0, 255, shape, "uint8")
        self.action_space = spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.paddle = self.size // 2
        right = int(self.np_random.integers(2))
        self.ball = (self.wall.stop, right * (self.size - 1))
        self.before = self.ball
        self.velocity = (1, 1 - 2 * right)
        self.bricks = np.zeros((self.size, self.size), "bool")
        self.bricks[self.wall] = True
        return self._observe(), {}

    def step(self, action):
        move = (0, -1, 1)[int(action)]
        self.paddle = min(max(self.paddle + move, 0), self.size - 1)
        self.before = self.ball
        (y, x), (down, right) = self.ball, self.velocity
        if not 0 <= x + right < self.size:
            right = -right
        if y + down < 0:
            down = -down
        reward, terminated = 0.0, False
        if self.bricks[y + down, x + right]:
            self.bricks[y + down, x + right] = False
            reward, down = 1.0, -down
        elif y + down == self.size - 1:
            if not self.bricks.any():
                self.bricks[self.wall] = True
            # Hit by the paddle's front, or, on its way past it, by its side.
            terminated = self.paddle not in (x, x + right)
            if self.paddle != x:
                right = -right
            down = -down
        else:
            y += down
        x = min(max(x + right, 0), self.size - 1)
        self.ball, self.velocity = (y, x), (down, right)
        return self._observe(), reward, terminated, False, {}

    def _observe(self):
        picture = np.zeros(self.observation_space.shape, "uint8")
        picture[-1, self.paddle, 0] = 255
        picture[self.before][1] = 127
        picture[self.ball][1] = 255
        picture[..., 2] = 255 * self.bricks
        return picture


def cartpole_without_velocities(**kwargs):
    """CartPole-v1 that shows where the cart and the pole are, not how fast.

    Registered as `"keras_rl2x/CartPoleNoVelocity-v0"`. The best mean return
    that is possible without memory is far below the 500 that is with it.

    Args:
        **kwargs: As in `gymnasium.make`, for instance `render_mode`.
    """
    env = CartPoleEnv(**kwargs)
    seen = [0, 2]
    space = env.observation_space
    return gymnasium.wrappers.TransformObservation(
        env,
        lambda obs: obs[seen],
        spaces.Box(space.low[seen], space.high[seen]),
    )


gymnasium.register(
    "keras_rl2x/CartPoleNoVelocity-v0",
    "keras_rl2x.envs.toy:cartpole_without_velocities",
    max_episode_steps=500,
)
gymnasium.register(
    "keras_rl2x/Bricks-v0", "keras_rl2x.envs.toy:Bricks", max_episode_steps=1000
)
