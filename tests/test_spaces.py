import json

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym
from gymnasium.vector.utils import batch_space

from keras_rl2x import spaces

NESTED = gym.Dict(
    camera=gym.Box(0, 255, (4, 3, 1), "uint8"),
    body=gym.Tuple(
        [gym.Box(-1, 1, (2,)), gym.Dict(room=gym.Discrete(3, start=1))]
    ),
    held=gym.MultiBinary([2, 2]),
)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize(
    "dtype",
    [
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "float16",
        "float32",
    ],
)
def test_box(shape, dtype):
    leaf = spaces.spec(gym.Box(0, 9, shape, dtype))
    assert (leaf.kind, leaf.shape, leaf.dtype) == ("box", shape, dtype)
    np.testing.assert_array_equal(leaf.low, np.full(shape, 0, dtype))
    np.testing.assert_array_equal(leaf.high, np.full(shape, 9, dtype))
    assert (leaf.num_classes, leaf.start) == ((), ())


def test_float64_is_stored_as_float32():
    leaf = spaces.spec(gym.Box(-np.inf, 0.1, (1,), "float64"))
    assert leaf.dtype == "float32"
    assert (leaf.low, leaf.high) == ([-np.inf], [0.1])


def test_discrete():
    leaf = spaces.spec(gym.Discrete(np.int64(5), start=-2))
    assert leaf == spaces.Leaf("discrete", (), "int32", (5,), (-2,))
    assert type(leaf.num_classes[0]) is int


def test_multi_discrete():
    space = gym.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]])
    leaf = spaces.spec(space)
    assert (leaf.kind, leaf.shape) == ("multi_discrete", (2, 2))
    assert leaf.num_classes == (2, 3, 4, 5)
    assert leaf.start == (0, 1, 2, 3)
    assert type(leaf.start[0]) is int


@pytest.mark.parametrize(("n", "shape"), [(3, (3,)), ([2, 2], (2, 2))])
def test_multi_binary(n, shape):
    leaf = spaces.spec(gym.MultiBinary(n))
    assert leaf == spaces.Leaf("multi_binary", shape, "uint8")


def test_nesting_is_kept():
    tree = spaces.spec(NESTED)
    assert set(tree) == {"camera", "body", "held"}
    assert tree["camera"].shape == (4, 3, 1)
    box, room = tree["body"]
    assert box.kind == "box"
    assert room["room"].num_classes == (3,)


UNSUPPORTED = [
    gym.Text(5),
    gym.Sequence(gym.Discrete(2)),
    gym.Graph(gym.Discrete(2), None),
]


@pytest.mark.parametrize("space", UNSUPPORTED, ids=str)
def test_unsupported_spaces_are_refused_by_name(space):
    for given in (space, gym.Dict(inner=space), gym.Tuple([space])):
        with pytest.raises(TypeError, match="not supported") as error:
            spaces.spec(given)
        assert type(space).__name__ in str(error.value)


def test_dict_actions_are_refused_by_name():
    space = gym.Dict(grip=gym.Discrete(2))
    for given in (space, gym.Tuple([gym.Discrete(2), space])):
        with pytest.raises(TypeError, match="`Dict` action space.*grip"):
            spaces.action_spec(given)


@pytest.mark.parametrize(
    "space",
    [
        gym.Box(-np.inf, np.inf, (2, 3)),
        gym.Box(0, 1, ()),
        gym.Discrete(4, start=2),
        gym.MultiDiscrete([[2, 3]], start=[[1, 2]]),
        gym.MultiBinary(3),
        NESTED,
        gym.Dict(dict=gym.Discrete(2), tuple=gym.Tuple([gym.Discrete(3)])),
    ],
    ids=str,
)
def test_config_survives_json(space):
    tree = spaces.spec(space)
    text = json.dumps(spaces.to_config(tree))
    assert spaces.from_config(json.loads(text)) == tree


def test_action_spec_takes_spaces_configs_and_specs():
    space = gym.Tuple([gym.Discrete(2, start=1), gym.Box(-1, 1, (3,))])
    tree = spaces.action_spec(space)
    assert spaces.action_spec(spaces.to_config(tree)) == tree
    assert spaces.action_spec(tree[0]) == tree[0]


def test_require():
    leaf = spaces.require(gym.Discrete(3), "discrete", "DQN")
    assert leaf.num_classes == (3,)
    for space in (gym.Box(-1, 1, (2,)), gym.Tuple([gym.Discrete(3)])):
        with pytest.raises(TypeError, match="DQN acts in a `Discrete` space"):
            spaces.require(space, "discrete", "DQN")
    with pytest.raises(TypeError, match="`MultiDiscrete`"):
        spaces.require(gym.Discrete(3), "multi_discrete", "X")


@pytest.mark.parametrize(
    ("space", "agent", "env"),
    [
        (gym.Discrete(3), [0, 1, 2], [0, 1, 2]),
        (gym.Discrete(3, start=5), [0, 1, 2], [5, 6, 7]),
        (
            gym.MultiDiscrete([2, 3], start=[10, -1]),
            [[0, 0], [1, 2], [0, 1]],
            [[10, -1], [11, 1], [10, 0]],
        ),
        (gym.Box(-1, 1, (1,)), [[0.5], [0.0], [-1.0]], [[0.5], [0.0], [-1.0]]),
    ],
    ids=str,
)
def test_actions_of_agent_and_environment(space, agent, env):
    leaf = spaces.action_spec(space)
    agent = np.array(agent, leaf.dtype)
    for given in (agent, tf.constant(agent)):
        converted = spaces.to_env(leaf, given)
        np.testing.assert_array_equal(converted, env)
        np.testing.assert_array_equal(spaces.to_agent(leaf, converted), agent)
    assert batch_space(space, 3).contains(
        np.array(env, batch_space(space, 3).dtype)
    )


def test_tuple_actions_of_agent_and_environment():
    space = gym.Tuple([gym.Discrete(2, start=1), gym.Box(-1, 1, (1,))])
    leaf = spaces.action_spec(space)
    agent = (np.array([0, 1]), np.array([[0.5], [0.25]]))
    env = spaces.to_env(leaf, agent)
    np.testing.assert_array_equal(env[0], [1, 2])
    np.testing.assert_array_equal(env[1], agent[1])
    np.testing.assert_array_equal(spaces.to_agent(leaf, env)[0], agent[0])
