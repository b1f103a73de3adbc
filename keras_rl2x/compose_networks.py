"""From settings to networks, those of an agent."""

import json

import keras
from gymnasium.spaces import Box

from keras_rl2x import networks
from keras_rl2x import presets
from keras_rl2x.networks import convolutional

NORMALIZATIONS = {
    "batch_renormalization": networks.BatchRenormalization,
    "layer": keras.layers.LayerNormalization,
}

CONVOLUTIONAL = {
    "nature_cnn": networks.nature_cnn,
    "nips_cnn": networks.nips_cnn,
    "impala_cnn": networks.impala_cnn,
    "minatar_cnn": networks.minatar_cnn,
}

# What only dense networks have, of the settings.
_OF_DENSE = (
    "units",
    "critic_units",
    "activation",
    "kernel_initializer",
    "normalize",
    "before_activation",
)


def make(settings, space, actions):
    """The networks of an agent.

    Args:
        settings: Nested dict, as `compose` is given.
        space: A `gymnasium.Space`, of observations.
        actions: A `gymnasium.Space`.

    Returns:
        Dict of arguments of the agent: its `network`, and `critic` or
        `critics`.

    Raises:
        ValueError: If settings do not fit together, or to the space.
    """
    _check_used(settings, space)
    return _make_all(space, actions, settings["seed"], **settings["network"])


def _check_used(settings, space):
    """Refuses settings of dense networks where there are none."""
    given = settings["network"]
    kind = _resolved(given["kind"], space)
    if kind not in CONVOLUTIONAL:
        return
    usual = presets.get(settings["algorithm"], settings.get("env_id"))
    changed = [
        f"network.{name}"
        for name in _OF_DENSE
        if json.dumps(given.get(name)) != json.dumps(usual["network"].get(name))
    ]
    if changed:
        raise ValueError(
            f"{changed} are settings of dense networks: leave them out, or "
            "give `rl.agents` a network of your own. Received: "
            f"network.kind={kind!r}, for observations of shape {space.shape}"
        )


def _make_all(
    space,
    actions,
    seed,
    own_critic=False,
    critics=0,
    critic_units=None,
    normalization=None,
    **arguments,
):
    """Arguments of an agent: its `network`, and `critic` or `critics`."""
    if normalization is not None:
        arguments["normalization"] = find(
            NORMALIZATIONS, "network.normalization", normalization
        )
    of_critics = dict(arguments)
    # A critic is told the action if that is real; of others it gives all
    # values.
    if isinstance(actions, Box):
        of_critics["action_space"] = actions
    if critic_units is not None:
        of_critics["units"] = critic_units
    # With the same seed a critic would begin as a copy of the policy.
    seeds = range(seed + 1_000_000, seed + 1_000_000 + critics)
    made = [_make_one(space, one, **of_critics) for one in seeds]
    found = {"network": _make_one(space, seed, **arguments)}
    if own_critic:
        found["critic"] = _make_one(space, seed + 1_000_000, **arguments)
    if critics:
        found |= {"critic": made[0]} if critics == 1 else {"critics": made}
    return found


def find(table, setting, name):
    """What a setting names in a table; refused if it is not there."""
    if name not in table:
        raise ValueError(
            f"`{setting}` must be one of {sorted(table)}. Received: {name!r}"
        )
    return table[name]


def _resolved(kind, space):
    """The kind of network; `"auto"` tells by the pixels of an image."""
    if kind != "auto":
        return kind
    convolution = convolutional.for_images(space.shape or ())
    return "mlp" if convolution is None else convolution.__name__


def _make_one(
    space, seed, kind, memory=0, dtype=None, noisy=False, **arguments
):
    kind = _resolved(kind, space)
    convolutional = kind in CONVOLUTIONAL
    if memory and convolutional:
        raise ValueError(
            "`network.memory` comes after dense layers, not after a "
            "convolutional network: leave it 0, and stack frames in the "
            f"environment. Received: {memory}, for observations of shape "
            f"{space.shape}"
        )
    if dtype is not None and not convolutional:
        raise ValueError(
            "`network.dtype` is for convolutional networks only: leave it "
            f"`None` where there are none. Received: {dtype!r}"
        )
    if memory:
        return networks.lstm(space, memory=memory, seed=seed, **arguments)
    if convolutional:
        # Its dense layer has a width of its own, unless there is to be none.
        width = {"units": None} if arguments.get("units", ()) is None else {}
        return CONVOLUTIONAL[kind](
            space,
            seed=seed,
            normalization=arguments.get("normalization"),
            dtype=dtype,
            noisy=noisy,
            **width,
        )
    if kind == "mlp":
        return networks.mlp(space, seed=seed, noisy=noisy, **arguments)
    raise ValueError(
        "`network.kind` must be one of "
        f"{['auto', 'mlp', *CONVOLUTIONAL]}. Received: {kind!r}"
    )
