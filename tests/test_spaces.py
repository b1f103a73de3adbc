import json

import keras
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


@pytest.mark.parametrize(
    "space",
    [
        gym.Box(-1, 1, (0,)),
        gym.Dict({}),
        gym.Tuple([]),
        gym.Dict(a=gym.Dict({})),
        gym.Tuple([gym.Box(0, 1, (2, 0))]),
    ],
    ids=repr,
)
def test_empty_spaces_are_refused(space):
    with pytest.raises(ValueError, match="nothing in this space.*Received"):
        spaces.spec(space)


def test_what_is_no_space():
    with pytest.raises(TypeError, match="`envs.single_obs.*Received: 'Box'"):
        spaces.spec("Box")


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
    leaf = spaces.require(gym.Discrete(3), ("discrete",), "DQN")
    assert leaf.num_classes == (3,)
    for space in (gym.Box(-1, 1, (2,)), gym.Tuple([gym.Discrete(3)])):
        with pytest.raises(TypeError, match="DQN acts in a `Discrete` space"):
            spaces.require(space, ("discrete",), "DQN")
    with pytest.raises(TypeError, match="`MultiDiscrete` space only"):
        spaces.require(gym.Discrete(3), ("multi_discrete",), "X")


def test_require_takes_several_kinds():
    kinds = ("discrete", "multi_binary", "box")
    for space, kind in [
        (gym.Discrete(3), "discrete"),
        (gym.MultiBinary(3), "multi_binary"),
        (gym.Box(-1, 1, (2,), "float64"), "box"),
    ]:
        assert spaces.require(space, kinds, "X").kind == kind
        config = spaces.to_config(spaces.spec(space))
        assert spaces.require(config, kinds, "X").kind == kind
    wanted = "X acts in a `Discrete` or `MultiBinary` or `Box` space only"
    with pytest.raises(TypeError, match=wanted) as error:
        spaces.require(gym.MultiDiscrete([2, 2]), kinds, "X")
    assert "Received: action_space=MultiDiscrete([2 2])" in str(error.value)


@pytest.mark.parametrize(
    "space",
    [
        gym.Box(-1, 1, (3,)),
        gym.Box(np.array([-1, -np.inf], "f4"), np.array([1, 2], "f4")),
        gym.Box(0, 255, (8, 8, 1), "uint8"),
        gym.Discrete(3),
        gym.Discrete(3, start=2),
        gym.MultiDiscrete([2, 3], start=[0, 5]),
        gym.MultiDiscrete([[2, 3], [4, 5]]),
        gym.MultiBinary([2, 3]),
    ],
    ids=str,
)
def test_messages_show_spaces_as_gymnasium_does(space):
    assert str(spaces.spec(space)) == str(space)


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_require_refuses_a_box_of_integers(dtype):
    space = gym.Box(0, 9, (2,), dtype)
    wanted = "X gives real numbers, and this `Box` holds integers"
    with pytest.raises(TypeError, match=wanted) as error:
        spaces.require(space, ("discrete", "box"), "X")
    assert "`MultiDiscrete`" in str(error.value)
    assert f"Received: action_space={space}" in str(error.value)
    # To an agent that has no use for a `Box` at all it says that.
    with pytest.raises(TypeError, match="X acts in a `Discrete` space only"):
        spaces.require(space, ("discrete",), "X")


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
        (gym.Box(-2, 2, (1,), "f8"), [[0.5], [-1.0], [1.0]], [[1], [-2], [2]]),
        (gym.Box(-2, 2, (1,), "f2"), [[0.5], [-1.0], [1.0]], [[1], [-2], [2]]),
        (gym.MultiDiscrete([2, 3], dtype="i4"), [[0, 0], [1, 2], [0, 1]], None),
        (gym.MultiBinary(2), [[0, 0], [1, 1], [0, 1]], None),
    ],
    ids=repr,
)
def test_actions_of_agent_and_environment(space, agent, env):
    leaf = spaces.action_spec(space)
    # A wider dtype than the space has, as samplers give.
    wide = "f4" if leaf.kind == "box" else "i8"
    agent = np.array(agent, wide)
    env = agent if env is None else env
    for xp, given in ((np, agent), (keras.ops, tf.constant(agent))):
        converted = np.array(spaces.to_env(leaf, given, xp))
        np.testing.assert_array_equal(converted, env)
        np.testing.assert_array_equal(spaces.to_agent(leaf, converted), agent)
        assert converted.dtype == space.dtype
        assert batch_space(space, 3).contains(converted)


def test_tuple_actions_of_agent_and_environment():
    space = gym.Tuple([gym.Discrete(2, start=1), gym.Box(-1, 1, (1,))])
    leaf = spaces.action_spec(space)
    agent = (np.array([0, 1]), np.array([[0.5], [0.25]]))
    env = spaces.to_env(leaf, agent)
    np.testing.assert_array_equal(env[0], [1, 2])
    np.testing.assert_array_equal(env[1], agent[1])
    np.testing.assert_array_equal(spaces.to_agent(leaf, env)[0], agent[0])


# Box actions

# Bounds 2 to 6 and -1 to 0: centres 4 and -1/2, half-widths 2 and 1/2.
BOUNDED = gym.Box(np.array([2, -1], "f4"), np.array([6, 0], "f4"))


def test_affine_of_a_bounded_box():
    low, high, centre, half = spaces.action_spec(BOUNDED).affine
    np.testing.assert_array_equal(low, [2, -1])
    np.testing.assert_array_equal(high, [6, 0])
    np.testing.assert_array_equal(centre, [4, -0.5])
    np.testing.assert_array_equal(half, [2, 0.5])
    assert {x.dtype for x in (low, high, centre, half)} == {np.dtype("f4")}


@pytest.mark.parametrize("xp", [np, keras.ops], ids=["numpy", "keras"])
def test_bounded_actions_are_scaled_and_clipped(xp):
    leaf = spaces.action_spec(BOUNDED)
    agent = xp.array(
        [[0, 0], [-1, 1], [0.5, -0.5], [1.5, -9], [-np.inf, 1e30]], "float32"
    )
    env = spaces.to_env(leaf, agent, xp)
    np.testing.assert_array_equal(
        env, [[4, -0.5], [2, 0], [5, -0.75], [6, -1], [2, 0]]
    )
    assert keras.backend.standardize_dtype(env.dtype) == "float32"


def test_the_agents_actions_are_left_alone():
    agent = np.array([[0.5, 7]], "f4")
    spaces.to_env(spaces.action_spec(BOUNDED), agent)
    np.testing.assert_array_equal(agent, [[0.5, 7]])


@pytest.mark.parametrize(
    "space",
    [
        BOUNDED,
        gym.Box(-3, 5, (2, 3)),
        gym.Box(0, 1, ()),
        gym.Box(0, np.inf, (2,)),
        gym.Box(-np.inf, np.inf, (2,)),
    ],
    ids=str,
)
def test_to_agent_is_the_inverse(space):
    leaf = spaces.action_spec(space)
    rng = np.random.default_rng(0)
    agent = rng.uniform(0.1, 1, (20, *leaf.shape)).astype("f4")
    # Where numbers below 0 are not of the space, they would be clipped.
    if np.any(np.isinf(leaf.low)) or np.all(np.isfinite(leaf.high)):
        agent[::2] *= -1
    env = spaces.to_env(leaf, agent)
    assert batch_space(space, 20).contains(env)
    np.testing.assert_allclose(spaces.to_agent(leaf, env), agent, atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        # Not scaled, since the interval has no middle; clipped all the same.
        (0, np.inf, [[0, 0.5], [0, 100]]),
        (-np.inf, 0.25, [[-3, 0.25], [-70, 0.25]]),
        (-np.inf, np.inf, [[-3, 0.5], [-70, 100]]),
        # One bounded entry beside an unbounded one is not scaled either.
        ([-2, 0], [2, np.inf], [[-2, 0.5], [-2, 100]]),
    ],
)
def test_unbounded_actions_are_the_environments(low, high, wanted):
    low, high = (np.broadcast_to(x, (2,)).astype("f4") for x in (low, high))
    leaf = spaces.action_spec(gym.Box(low, high))
    _, _, centre, half = leaf.affine
    np.testing.assert_array_equal(centre, [0, 0])
    np.testing.assert_array_equal(half, [1, 1])
    agent = np.array([[-3, 0.5], [-70, 100]], "f4")
    env = spaces.to_env(leaf, agent)
    np.testing.assert_array_equal(env, np.array(wanted, "f4"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_the_largest_float_is_no_bound(dtype):
    # Some environments write it for infinity: to scale by it would send every
    # action to infinity.
    largest = np.finfo(dtype).max
    leaf = spaces.action_spec(gym.Box(-largest, largest, (2,), dtype))
    _, _, centre, half = leaf.affine
    np.testing.assert_array_equal(centre, [0, 0])
    np.testing.assert_array_equal(half, [1, 1])
    agent = np.array([[-3, 0.5]], "f4")
    np.testing.assert_array_equal(spaces.to_env(leaf, agent), agent)
    np.testing.assert_array_equal(spaces.to_agent(leaf, agent), agent)


def test_no_action_exceeds_bounds_of_float64():
    # As float32, 0.1 is 0.100000001: environments that check would refuse it.
    space = gym.Box(-0.1, 0.1, (1,), "float64")
    leaf = spaces.action_spec(space)
    for action in spaces.to_env(leaf, np.array([[-1], [0], [1]], "f4")):
        assert space.contains(action)


def test_affine_survives_the_config():
    leaf = spaces.action_spec(BOUNDED)
    before = leaf.affine
    loaded = spaces.from_config(json.loads(json.dumps(spaces.to_config(leaf))))
    assert loaded == leaf
    for array, wanted in zip(loaded.affine, before):
        np.testing.assert_array_equal(array, wanted)
