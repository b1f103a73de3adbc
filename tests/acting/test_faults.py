import gymnasium
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x import spaces
from keras_rl2x.acting import Driver
from keras_rl2x.acting.faults import Diverged
from keras_rl2x.acting.faults import find_fault
from keras_rl2x.acting.faults import finite

CATEGORIES = gymnasium.spaces.Dict(
    room=gymnasium.spaces.Discrete(3, start=5),
    cards=gymnasium.spaces.MultiDiscrete([2, 4]),
    held=gymnasium.spaces.MultiBinary(2),
    image=gymnasium.spaces.Box(0, 255, (2, 2), "uint8"),
)


def categories():
    """Four rows of two environments, and what follows them, all well."""
    rows = {
        "room": np.full((4, 2), 7, "i4"),
        "cards": np.tile(np.array([1, 3], "i4"), (4, 2, 1)),
        "held": np.ones((4, 2, 2), "u1"),
        "image": np.full((4, 2, 2, 2), 255, "u1"),
    }
    return rows, {key: array[-1].copy() for key, array in rows.items()}


def find(rows, last):
    spec = spaces.spec(CATEGORIES)
    return find_fault(spec, rows, last, [], np.zeros((4, 2), "f4"))


def test_all_is_well():
    assert find(*categories()) == (4, None)


@pytest.mark.parametrize(
    ("key", "entry", "value", "message"),
    [
        ("room", (), 8, r"space, Discrete\(3, start=5\). Received: 8"),
        ("room", (), 4, r"space, Discrete\(3, start=5\). Received: 4"),
        ("cards", (0,), 2, r"MultiDiscrete\(\[2 4\]\). Received: \[2 3\]"),
        ("cards", (1,), -1, r"MultiDiscrete\(\[2 4\]\). Received: \[ 1 -1\]"),
        ("held", (1,), 2, r"MultiBinary\(\(2,\)\). Received: \[1 2\]"),
    ],
)
def test_categories_outside_of_their_space(key, entry, value, message):
    # The step before goes too: it would have led there.
    for row, kept in ((0, 0), (2, 1)):
        rows, last = categories()
        rows[key][(row, 1, *entry)] = value
        taken, error = find(rows, last)
        assert taken == kept
        with pytest.raises(ValueError, match=f"Environment 1 .*{message}"):
            raise error
    rows, last = categories()
    last[key][(0, *entry)] = value
    taken, error = find(rows, last)
    assert taken == 3
    with pytest.raises(ValueError, match=f"Environment 0 .*{message}"):
        raise error


class Strict(gymnasium.Env):
    """Refuses actions that are not finite, or returns what it was given."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, strict):
        self.strict = strict

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, "f4"), {}

    def step(self, action):
        if self.strict and not np.isfinite(action).all():
            raise AssertionError("bad action")
        return np.float32(action), float(action[0]), False, False, {}


@pytest.mark.parametrize("strict", [False, True])
def test_a_diverged_policy_is_not_the_environments_fault(strict):
    envs = rl.envs.make(Strict, num_envs=2, strict=strict)
    driver = Driver(envs)
    driver.reset(0)
    actions = np.zeros((5, 2, 1), "f4")
    actions[3, 1] = np.nan
    given = iter(actions)
    chunk = driver.run(5, lambda obs, begins: next(given))
    assert len(chunk.rows["reward"]) == 3
    assert np.isfinite(chunk.next_obs).all()
    with pytest.raises(Diverged, match=r"diverged.*rate.*Received: \[nan"):
        raise chunk.error


def test_the_first_fault_of_a_row_counts():
    obs, next_obs = np.zeros((3, 1, 1), "f4"), np.zeros((1, 1), "f4")
    actions, reward = np.zeros((3, 1, 1), "f4"), np.zeros((3, 1), "f4")
    spec = spaces.spec(Strict.observation_space)

    def error():
        taken, error = find_fault(spec, obs, next_obs, [actions], reward)
        return taken, str(error)

    # The action led to the next observation, and to the reward.
    actions[1] = reward[1] = obs[2] = np.nan
    assert error()[0] == 1 and "diverged" in error()[1]
    # An observation that is bad from the beginning led to its action.
    obs[0] = actions[0] = np.nan
    assert error()[0] == 0 and "returned an observation with NaN" in error()[1]


def test_played_actions_are_finite():
    actions = (np.zeros(2, "i8"), np.zeros((2, 3), "f4"))
    assert finite(actions) is actions
    actions[1][1, 2] = np.inf
    with pytest.raises(Diverged, match=r"Received: \[ 0.  0. inf\]"):
        finite(actions)
