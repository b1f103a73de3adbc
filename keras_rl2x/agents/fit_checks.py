"""What `Agent.fit` refuses, and what to do about it."""

import inspect

import keras

from keras_rl2x import networks
from keras_rl2x.agents import callback_checks

# What `keras.Model.fit` takes for pairs of inputs and labels.
_OF_LABELS = (
    "y",
    "validation_data",
    "class_weight",
    "sample_weight",
)


def check(agent, dataset, *args, **kwargs):
    """Refuses a `fit` that could not do what it is meant to.

    Args:
        agent: An `Agent`.
        dataset: What `fit` was given to learn from.
        *args: What else `fit` was given.
        **kwargs: What else `fit` was given.

    Raises:
        TypeError: If `dataset` is no `tf.data.Dataset` of dicts.
        ValueError: If `fit` was given, or the agent compiled with, what it
            does not use; if an optimizer accumulates gradients, the agent was
            made for several devices, running statistics would stay empty, a
            callback works on something else than `dataset` is drawn from, or
            none sets the priorities of that; see also `callback_checks.check`.
    """
    _check_data(agent, dataset)
    given = inspect.signature(keras.Model.fit).bind(
        agent, dataset, *args, **kwargs
    )
    given = given.arguments
    unused = [name for name in _OF_LABELS if given.get(name) is not None]
    if unused:
        raise ValueError(
            f"{type(agent).__name__} learns from no labels: leave {unused} out "
            "of `fit`. To measure it while it learns, add "
            "`rl.callbacks.Evaluate(env)` to the callbacks, which writes "
            "`val_return`."
        )
    _check_compiled(agent)
    replicas = agent.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "An agent learns on one device, as what it draws depends on its "
            "last update: make it outside of the strategy's scope. Received: "
            f"a strategy of {replicas} replicas"
        )
    _check_statistics(agent)
    _check_source(agent, dataset)
    callback_checks.check(agent)


def _check_data(agent, dataset):
    """Refuses what is no dataset of batches."""
    batches = getattr(dataset, "element_spec", None)
    if not isinstance(batches, dict):
        raise TypeError(
            f"{type(agent).__name__} learns from what `dataset(...)` of an "
            "`rl.data.Replay` or `rl.data.Rollout` returns, which the "
            "`Collect` callback fills. Received: "
            f"{type(dataset).__name__}"
        )


def _check_compiled(agent):
    """Refuses losses that are not used, and optimizers that do not fit."""
    compiled = agent.get_compile_config() or {}
    unused = ("loss", "loss_weights", "metrics", "weighted_metrics")
    given = sorted(name for name in unused if compiled.get(name))
    if given:
        raise ValueError(
            f"{type(agent).__name__} has a loss and metrics of its own: leave "
            f"{given} out of `compile`. What is to be logged besides, a Keras "
            "callback may write into the logs."
        )
    for optimizer in agent.optimizers:
        if getattr(optimizer, "gradient_accumulation_steps", None):
            raise ValueError(
                "Targets and actors move by the updates of an optimizer, which "
                "must not accumulate gradients: draw larger batches. Received: "
                f"{optimizer.gradient_accumulation_steps=}"
            )
        if not float(optimizer.learning_rate) >= 0:
            raise ValueError(
                "A learning rate must be 0 or more. Received: "
                f"{float(optimizer.learning_rate)}, of '{optimizer.name}'"
            )
    _check_schedule(agent.optimizer)
    names = [optimizer.name for optimizer in agent.optimizers]
    if len(set(map(id, agent.optimizers))) < len(names):
        raise ValueError(
            "An optimizer remembers the variables that it moves: give each "
            "part of the agent, and `compile`, its own. Received: the same one "
            f"twice, of {names}"
        )


def _check_schedule(optimizer):
    """Refuses a rate that has fallen to 0: with it nothing would be learnt."""
    scaled = getattr(optimizer, "inner_optimizer", optimizer)
    scheduled = isinstance(scaled.get_config()["learning_rate"], dict)
    begun = int(optimizer.iterations) > 0  # It may begin with 0, to warm up.
    if scheduled and begun and float(optimizer.learning_rate) == 0:
        raise ValueError(
            "The schedule of the learning rate has come to its end, where it "
            "is 0: to learn on, `agent.compile` it with a new optimizer (and "
            "set what else has a schedule, such as `agent.epsilon`). Received: "
            f"the rate after {int(optimizer.iterations):,} updates"
        )


def _check_source(agent, dataset):
    """Refuses callbacks that work on something else, or too little."""
    source = getattr(dataset, "source", None)
    for callback in agent.fit_callbacks:
        other = getattr(callback, "works_on", None)
        if source is None and hasattr(other, "updates"):
            raise ValueError(
                "`fit` must be given what the rollout's `dataset(...)` "
                "returned, as it is: what is fetched in advance is of the last "
                "policy. Change observations in the network, or by a wrapper "
                f"of the environment. Received: {type(dataset).__name__}"
            )
        if source is not None and other not in (None, source):
            raise ValueError(
                f"`{type(callback).__name__}` works on another "
                f"{type(other).__name__} than the one that `fit` draws from: "
                "give `fit` the `dataset(...)` of the same one."
            )
    workers = [getattr(c, "works_on", None) for c in agent.fit_callbacks]
    if source is not None and source.is_empty and source not in workers:
        raise ValueError(
            f"Nothing would fill the {type(source).__name__}, which is empty: "
            f"add `rl.callbacks.Collect(envs, {type(source).__name__.lower()})`"
            " to the callbacks of `fit`, as the first."
        )
    setters = [
        callback
        for callback in agent.graph_callbacks()
        if getattr(callback, "works_on", None) is source
    ]
    if hasattr(source, "update") and not setters:
        raise ValueError(
            "Nothing would set the priorities of the replay: add "
            "`rl.callbacks.UpdatePriorities(replay)` to the callbacks of `fit`."
        )
    updates = getattr(dataset, "updates", None)
    if updates != getattr(source, "updates", None):
        raise ValueError(
            "The rollout's `dataset` was called again since, with other passes "
            "or minibatches: give `fit` what the last call returned. Received: "
            f"one of {updates} updates, and then one of {source.updates}"
        )


def _check_statistics(agent):
    """Refuses running statistics that nothing would ever update."""
    if agent.on_policy:
        return
    for layer in agent._flatten_layers():
        running = isinstance(layer, networks.RunningNormalization)
        if running and int(layer.count) == 0:
            raise ValueError(
                f"{type(agent).__name__} would leave the running statistics of "
                f"'{layer.name}' empty, as they are updated by rollouts only: "
                "make the network with `normalize=False`, and scale what is "
                "too large in a network of your own, by a "
                "`keras.layers.Normalization` that was adapted to some "
                "observations."
            )
