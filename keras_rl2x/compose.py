"""From settings to objects: what one run of `train` consists of."""

import collections

import keras

from keras_rl2x import agents
from keras_rl2x import callbacks
from keras_rl2x import compose_networks
from keras_rl2x import data
from keras_rl2x import presets

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "rmsprop": keras.optimizers.RMSprop,
}

Parts = collections.namedtuple(
    "Parts", ["agent", "dataset", "callbacks", "steps_per_epoch", "epochs"]
)
Parts.__doc__ = """What `compose` returns: the arguments of one `fit`.

Attributes:
    agent: A compiled `Agent`.
    dataset: What it learns from, a `tf.data.Dataset`.
    callbacks: List of what collects for it, and moves its targets.
    steps_per_epoch: Integer.
    epochs: Integer.
"""


def compose(environments, settings):
    """Makes the agent, its data and what collects for it.

    Args:
        environments: An `Environments`.
        settings: Nested dict, from `presets.get`, with a `"seed"` and the
            name of the `"algorithm"`.

    Returns:
        `Parts`.

    Raises:
        ValueError: If the settings do not fit together.
    """
    make = _from_rollouts if "rollout" in settings else _from_replay
    return make(environments, settings)


def _from_replay(environments, settings):
    collect = settings["collect"]
    steps_per_epoch, epochs, warmup = _replay_budget(settings)
    updates = steps_per_epoch * epochs
    agent = _make_agent(environments, settings, updates, collect["chunk"])
    replay = _make_replay(environments, settings, updates)
    made = [
        callbacks.Collect(
            environments,
            replay,
            seed=settings["seed"],
            **{**collect, "warmup": warmup},
        ),
    ]
    if "target" in settings:
        made.append(callbacks.TargetUpdate(**settings["target"]))
    if settings["replay"]["prioritized"]:
        made.append(callbacks.UpdatePriorities(replay))
    dataset = replay.dataset(settings["replay"]["batch_size"])
    return Parts(agent, dataset, made, steps_per_epoch, epochs)


def _from_rollouts(environments, settings):
    arguments = dict(settings["rollout"])
    sizes = {key: arguments.pop(key) for key in ("minibatch_size", "passes")}
    rollout = data.Rollout(environments, seed=settings["seed"], **arguments)
    remembers = settings["network"].get("memory", 0) > 0
    dataset = rollout.dataset(**sizes, sequences=remembers)
    per_epoch, epochs = _rollout_budget(settings, rollout.size)
    steps_per_epoch = per_epoch * rollout.updates
    updates = steps_per_epoch * epochs
    agent = _make_agent(
        environments,
        settings,
        updates,
        rollout.updates,
        updates * _critic_updates(rollout.size, **settings["agent"]),
    )
    collect = callbacks.Collect(
        environments, rollout, seed=settings["seed"], **settings["collect"]
    )
    return Parts(agent, dataset, [collect], steps_per_epoch, epochs)


def _replay_budget(settings):
    """Updates per epoch, epochs, and warm-up, which make up `env_steps`.

    There are no more epochs than were asked for; of a short run, fewer.
    """
    collect, epochs = settings["collect"], settings["epochs"]
    ratio, chunk = collect["env_steps_per_update"], collect["chunk"]
    env_steps = settings["env_steps"]
    if min(epochs, ratio, chunk) <= 0:
        raise ValueError(
            "`epochs`, `collect.chunk` and `collect.env_steps_per_update` must "
            f"be positive. Received: {epochs}, {chunk} and {ratio}"
        )
    learning = env_steps - collect["warmup"]
    epochs = min(epochs, int(learning / (ratio * chunk)))
    if epochs < 1:
        raise ValueError(
            f"{env_steps} environment steps are too few for a chunk of {chunk} "
            f"updates, after a warm-up of {collect['warmup']}: raise "
            "`env_steps`, or lower `collect.chunk` or `collect.warmup`."
        )
    updates = int(learning / (ratio * chunk * epochs)) * chunk
    return updates, epochs, env_steps - round(updates * epochs * ratio)


def _rollout_budget(settings, size):
    """Rollouts per epoch, and epochs: no more of these than were asked for."""
    rollouts = settings["env_steps"] // size
    epochs = min(settings["epochs"], rollouts)
    if epochs < 1:
        raise ValueError(
            f"{settings['env_steps']} environment steps are too few for "
            f"{settings['epochs']} epochs (at least 1) of rollouts of {size} "
            "steps: raise `env_steps`, or lower `rollout.steps` or "
            "`env.num_envs`."
        )
    # Of half as many epochs and more, those that leave the fewest out.
    candidates = range(-(-epochs // 2), epochs + 1)
    epochs = min(candidates, key=lambda n: (rollouts % n, -n))
    return rollouts // epochs, epochs


def _critic_updates(size, critic_passes=1, critic_minibatch_size=None, **_):
    """How often TRPO's critic moves in an update, others once."""
    return critic_passes * (size // min(critic_minibatch_size or size, size))


def _make_agent(
    environments, settings, updates, steps_per_execution, critic_updates=None
):
    space = environments.single_observation_space
    actions, seed = environments.single_action_space, settings["seed"]
    arguments = {
        **_schedules(settings["agent"], settings["env_steps"]),
        **compose_networks.make(settings, space, actions),
    }
    # Schedules are over the steps of their own optimizer.
    actor_updates = updates // settings["agent"].get("actor_every", 1)
    for name in ("actor_optimizer", "temperature_optimizer"):
        if name in settings:
            arguments[name] = _make_optimizer(settings[name], actor_updates)
    kind = getattr(agents, presets.agent_name(settings["algorithm"]))
    agent = kind(action_space=actions, seed=seed, **arguments)
    agent.compile(
        _make_optimizer(settings["optimizer"], critic_updates or updates),
        steps_per_execution=steps_per_execution,
    )
    return agent


def _make_optimizer(settings, updates):
    arguments = _schedules(settings, updates)
    kind = compose_networks.find(
        OPTIMIZERS, "optimizer.kind", arguments.pop("kind")
    )
    return kind(**arguments)


def _make_replay(environments, settings, updates):
    arguments = dict(settings["replay"], seed=settings["seed"])
    del arguments["batch_size"]
    prioritized = arguments.pop("prioritized")
    if prioritized:
        arguments = _schedules(arguments, updates)
        return data.PrioritizedReplay(environments, **arguments)
    del arguments["alpha"], arguments["beta"]
    return data.Replay(environments, **arguments)


def _schedules(settings, steps):
    """The settings, with schedules as Keras schedules over `steps`."""

    def resolve(value):
        if not isinstance(value, dict):
            return value
        return keras.optimizers.schedules.PolynomialDecay(
            value["from"], max(1, round(value["over"] * steps)), value["to"]
        )

    return {key: resolve(value) for key, value in settings.items()}
