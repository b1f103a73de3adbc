"""Lives to store, and what must be drawn of them, from a naive model.

A `Life` invents what vector environments would have done, and remembers it as
a list of episodes: no ring, no rows, no flags. Every observation is a number
of its own, so that a transition is known by its first observation.
"""

import contextlib
import types

import numpy as np
import tensorflow as tf
from gymnasium import spaces

SPACE = spaces.Box(0, 1e6, ())


def environments(num_envs, obs=SPACE, action=None):
    """What a replay needs to know of vector environments."""
    return types.SimpleNamespace(
        num_envs=num_envs,
        single_observation_space=obs,
        single_action_space=action or spaces.Discrete(10),
    )


@contextlib.contextmanager
def eagerly():
    """Runs functions untraced: faster for those that run only a few times."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


class Life:
    """Episodes of `num_envs` environments.

    Args:
        num_envs: Integer.
        seed: Integer.
        end: Float, the probability that a step ends the episode, by a
            termination or a truncation.
    """

    def __init__(self, num_envs, seed=0, end=0.2):
        self.num_envs = num_envs
        self.rng = np.random.default_rng(seed)
        self.end = end
        self.num_rows = 0
        self.episodes = []
        self.now = [None] * num_envs
        self._observations = 0

    def begin(self):
        """Begins new episodes; returns their first observations."""
        for env, episode in enumerate(self.now):
            if episode is not None and episode["ended"] is None:
                episode["ended"] = "truncated"
            self._new_episode(env)
        # A row for the final observations, if there was anything before.
        self.num_rows += self.num_rows > 0
        return self._present()

    def rows(self, steps):
        """Lives on; returns the arguments of `write`."""
        shape = (steps, self.num_envs)
        rows = {
            "obs": np.zeros(shape, "f4"),
            "action": np.zeros(shape, "i4"),
            "reward": np.zeros(shape, "f4"),
            "terminated": np.zeros(shape, bool),
            "truncated": np.zeros(shape, bool),
            "dead": np.zeros(shape, bool),
        }
        for t in range(steps):
            rows["obs"][t] = self._present()
            for env, episode in enumerate(self.now):
                # What a dead row holds besides must not matter.
                rows["action"][t, env] = self.rng.integers(10)
                if episode["ended"] is not None:
                    rows["dead"][t, env] = True
                    self._new_episode(env)
                    continue
                rows["reward"][t, env] = self.rng.integers(-8, 9)
                if self.rng.random() < self.end:
                    how = self.rng.choice(["terminated", "truncated", "both"])
                    episode["ended"] = how
                    rows["terminated"][t, env] = how != "truncated"
                    rows["truncated"][t, env] = how != "terminated"
                episode["actions"].append(rows["action"][t, env])
                episode["rewards"].append(rows["reward"][t, env])
                episode["rows"].append(self.num_rows)
                episode["obs"].append(self._observe())
            self.num_rows += 1
        return rows, self._present()

    def transitions(self, keep, n_step=1, gamma=0.9):
        """What can be drawn: a dict from first observations to transitions.

        Args:
            keep: Integer, how many rows are kept.
            n_step: Integer.
            gamma: Float.
        """
        found = {}
        for episode in self.episodes:
            length = len(episode["rewards"])
            for start, row in enumerate(episode["rows"]):
                if row < self.num_rows - keep:
                    continue
                stop = min(start + n_step, length)
                rewards = episode["rewards"][start:stop]
                terminal = stop == length and episode["ended"] in (
                    "terminated",
                    "both",
                )
                found[episode["obs"][start]] = {
                    "action": episode["actions"][start],
                    "reward": sum(
                        gamma**k * reward for k, reward in enumerate(rewards)
                    ),
                    "discount": 0 if terminal else gamma ** (stop - start),
                    "next_obs": episode["obs"][stop],
                }
        return found

    def _new_episode(self, env):
        self.now[env] = {
            "obs": [self._observe()],
            "actions": [],
            "rewards": [],
            "rows": [],
            "ended": None,
        }
        self.episodes.append(self.now[env])

    def _observe(self):
        self._observations += 1
        return float(self._observations)

    def _present(self):
        return np.array([episode["obs"][-1] for episode in self.now], "f4")


def check_batch(batch, transitions):
    """Every transition of the batch is one of these; returns which."""
    obs = np.asarray(batch["obs"]).tolist()
    for key in ("action", "reward", "discount", "next_obs"):
        expected = [transitions[number][key] for number in obs]
        np.testing.assert_allclose(
            batch[key], expected, rtol=1e-5, atol=1e-5, err_msg=key
        )
    return set(obs)
