"""Gymnasium spaces as trees of `Leaf`s: what is stored, fed and acted.

A spec is one `Leaf`, or a dict or tuple of specs with the same nesting as the
space. It holds plain Python and NumPy values only, so it is cheap to import,
to compare and to write into a configuration file.
"""

import dataclasses
import functools
import math

import numpy as np
from gymnasium import spaces

# What is stored for each dtype that an environment may use. Networks compute
# in float32, so storing float64 would only double the replay's size.
_STORED = {"float64": "float32", "bool": "uint8"}

# The logit, or the value, of an action that is not allowed. Finite: its
# probability is exactly 0, and products with its logarithm are 0 and not NaN.
MASKED = -1e9

# Bounds beyond this are none: some environments write the largest float.
_UNBOUNDED = 1e30


@dataclasses.dataclass(frozen=True, repr=False)
class Leaf:
    """One array of an observation or an action, without the batch axis.

    Attributes:
        kind: `"box"`, `"discrete"`, `"multi_discrete"` or `"multi_binary"`.
        shape: Tuple of integers.
        dtype: String, the dtype as stored and as fed to networks.
        num_classes: Tuple with the number of categories of each (flattened)
            entry of a discrete kind; empty for the others.
        start: Tuple with the first category of each entry; the agent counts
            from 0, the environment from here.
        low: Nested lists of lower bounds (`"box"` only), else `None`.
        high: Nested lists of upper bounds (`"box"` only), else `None`.
        env_dtype: String, the dtype that the environment gives and takes.
    """

    kind: str
    shape: tuple
    dtype: str
    num_classes: tuple = ()
    start: tuple = ()
    low: list = None
    high: list = None
    # Not compared: what is stored is the same. Saved agents may lack it.
    env_dtype: str = dataclasses.field(default=None, compare=False)

    def __repr__(self):
        """As Gymnasium writes the space that it describes."""
        if self.kind == "box":
            bounds = np.array([self.low, self.high], self.dtype)
            return repr(spaces.Box(*bounds, dtype=self.dtype))
        if self.kind == "multi_binary":
            return repr(spaces.MultiBinary(self.shape))
        if self.kind == "discrete":
            return repr(spaces.Discrete(*self.num_classes, start=self.start[0]))
        classes, start = np.reshape(
            [self.num_classes, self.start], (2, *self.shape)
        )
        return repr(spaces.MultiDiscrete(classes, start=start))

    @functools.cached_property
    def bounded(self):
        """Whether every entry of a `"box"` has both bounds."""
        bounds = np.abs([self.low, self.high], dtype="f8")
        return bool(np.all(bounds < _UNBOUNDED))

    @functools.cached_property
    def affine(self):
        """Arrays `(low, high, centre, half)` of a `"box"`.

        Where every entry is bounded on both sides, the agent's actions from -1
        to 1 become `centre + half * action`; else the agent's are the
        environment's. In both cases what exceeds the bounds is clipped.
        """
        low = _rounded(self.low, np.inf)
        high = _rounded(self.high, -np.inf)
        if self.bounded:
            # Where there is no choice, any scale will do, but 0.
            half = np.where(high > low, (high - low) / 2, 1).astype("f4")
            return low, high, (low + high) / 2, half
        return low, high, np.zeros_like(low), np.ones_like(low)


def _rounded(bound, inwards):
    """A bound in float32, within the one in float64."""
    exact = np.array(bound, "f8")
    limit = np.finfo("f4").max
    rounded = np.clip(exact, -limit, limit).astype("f4")
    beyond = rounded < exact if inwards > 0 else rounded > exact
    next_one = np.nextafter(rounded, np.float32(inwards))
    inside = np.where(beyond, next_one, rounded)
    # Beyond what float32 can hold there is no bound.
    infinite = np.copysign(np.inf, exact)
    return np.where(np.abs(exact) > limit, infinite, inside).astype("f4")


def spec(space):
    """Describes an observation or action space.

    Args:
        space: A `gymnasium.Space`: `Box`, `Discrete`, `MultiDiscrete`,
            `MultiBinary`, or any nesting of these in `Dict` and `Tuple`.

    Returns:
        A `Leaf`, or a dict or tuple of specs.

    Raises:
        TypeError: If the space, or one inside it, is of another kind.
        ValueError: If there is nothing in it.
    """
    if not isinstance(space, spaces.Space):
        raise TypeError(
            "There must be a `gymnasium.Space`, such as "
            "`envs.single_observation_space` or `envs.single_action_space`. "
            f"Received: {space!r}"
        )
    if not _numbers(space):
        raise ValueError(
            "There is nothing in this space: give it an entry, or wrap the "
            f"environment to leave it out. Received: space={space}"
        )
    if isinstance(space, spaces.Dict):
        return {key: spec(inner) for key, inner in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(spec(inner) for inner in space.spaces)
    dtype = str(space.dtype)
    if isinstance(space, spaces.Box):
        return Leaf(
            kind="box",
            shape=tuple(int(size) for size in space.shape),
            dtype=_STORED.get(dtype, dtype),
            low=space.low.tolist(),
            high=space.high.tolist(),
            env_dtype=dtype,
        )
    if isinstance(space, spaces.Discrete):
        return Leaf(
            kind="discrete",
            shape=(),
            dtype="int32",
            num_classes=(int(space.n),),
            start=(int(space.start),),
            env_dtype=dtype,
        )
    if isinstance(space, spaces.MultiDiscrete):
        return Leaf(
            kind="multi_discrete",
            shape=tuple(int(size) for size in space.shape),
            dtype="int32",
            num_classes=tuple(int(n) for n in space.nvec.flat),
            start=tuple(
                int(n)
                for n in np.broadcast_to(
                    getattr(space, "start", 0), space.shape
                ).flat
            ),
            env_dtype=dtype,
        )
    if isinstance(space, spaces.MultiBinary):
        shape = tuple(int(size) for size in space.shape)
        return Leaf("multi_binary", shape, "uint8", env_dtype=dtype)
    raise TypeError(
        "This space is not supported: use `Box`, `Discrete`, `MultiDiscrete` "
        "or `MultiBinary`, alone or nested in `Dict` and `Tuple` (wrap the "
        f"environment to convert it). Received: space={space}"
    )


def _numbers(space):
    """How many entries a space has, on its own level."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return len(space.spaces)
    return math.prod(space.shape or ())


def action_spec(space):
    """Describes an action space: as `spec`, but `Dict` is refused.

    Args:
        space: A `gymnasium.Space`, or what `to_config` made of one.

    Returns:
        A `Leaf`, or a tuple of specs.

    Raises:
        TypeError: If the space is not supported as an action space.
    """
    if isinstance(space, spaces.Dict):
        raise TypeError(
            "A `Dict` action space is not supported: wrap the environment so "
            "that it takes one space, such as a `MultiDiscrete` or a longer "
            f"`Box`. Received: action_space={space}"
        )
    if isinstance(space, (tuple, spaces.Tuple)):
        return tuple(map(action_spec, space))
    if isinstance(space, spaces.Space):
        return spec(space)
    if isinstance(space, (dict, Leaf)):
        return from_config(space)
    raise TypeError(
        "`action_space` must be a `gymnasium.Space`, such as "
        f"`envs.single_action_space`. Received: {space!r}"
    )


def require(space, kinds, owner):
    """Returns `action_spec(space)` if it is one leaf of one of these kinds.

    Args:
        space: As in `action_spec`.
        kinds: Tuple of strings, the kinds of `Leaf` that are allowed.
        owner: String, the name of the agent that asks.

    Raises:
        TypeError: If the space is of another kind.
    """
    leaf = action_spec(space)
    if not isinstance(leaf, Leaf) or leaf.kind not in kinds:
        names = " or ".join(
            f"`{kind.replace('_', ' ').title().replace(' ', '')}`"
            for kind in kinds
        )
        raise TypeError(
            f"{owner} acts in a {names} space only: choose another agent "
            "(PPO acts in any space but nested ones), or wrap the environment "
            f"to convert its actions. Received: action_space={space}"
        )
    if leaf.kind == "box" and not leaf.dtype.startswith("float"):
        raise TypeError(
            f"{owner} gives real numbers, and this `Box` holds integers: use "
            "`MultiDiscrete` for the actions, or a `Box` of float32. Received: "
            f"action_space={space}"
        )
    return leaf


def to_config(tree):
    """Turns a spec, `tree`, into JSON-compatible values."""
    if isinstance(tree, Leaf):
        return dataclasses.asdict(tree)
    if isinstance(tree, dict):
        return {"dict": {key: to_config(leaf) for key, leaf in tree.items()}}
    return {"tuple": [to_config(leaf) for leaf in tree]}


def from_config(config):
    """The spec that `to_config` was given."""
    if isinstance(config, Leaf):
        return config
    if "dict" in config:
        return {key: from_config(c) for key, c in config["dict"].items()}
    if "tuple" in config:
        return tuple(from_config(c) for c in config["tuple"])
    values = dict(config)
    for key in ("shape", "num_classes", "start"):
        values[key] = tuple(values[key])
    return Leaf(**values)


def to_env(leaf, action, xp=np):
    """Turns the agent's actions into the environment's.

    Args:
        leaf: A spec.
        action: Array or tensor `[N, *leaf.shape]`: categories counted from 0;
            numbers from -1 to 1 where the space is bounded.
        xp: The module to compute with, `numpy` or `keras.ops`.

    Returns:
        The same in the space's dtype, categories counted from its `start`;
        numbers scaled to its bounds, and clipped to them.
    """
    if isinstance(leaf, tuple):
        return tuple(to_env(*pair, xp) for pair in zip(leaf, action))
    if leaf.kind == "box":
        low, high, centre, half = leaf.affine
        action = xp.clip(action * half + centre, low, high)
    elif any(leaf.start):
        start = np.reshape(leaf.start, leaf.shape).astype(leaf.dtype)
        action = action + start
    if leaf.env_dtype is None:
        return action
    if xp is np:
        return np.asarray(action, leaf.env_dtype)
    return xp.cast(action, leaf.env_dtype)


def to_agent(leaf, action):
    """The inverse of `to_env`: takes the environment's actions.

    Args:
        leaf: A spec.
        action: Array `[N, *leaf.shape]`.

    Returns:
        The same, categories counted from 0, numbers scaled to -1 and 1.
    """
    if isinstance(leaf, tuple):
        return tuple(map(to_agent, leaf, action))
    if leaf.kind == "box":
        _, _, centre, half = leaf.affine
        return (action - centre) / half
    if not any(leaf.start):
        return action
    return action - np.reshape(leaf.start, leaf.shape).astype(leaf.dtype)
