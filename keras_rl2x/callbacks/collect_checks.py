"""What `Collect` refuses, and what to do about it."""

from gymnasium.vector import AsyncVectorEnv

from keras_rl2x import arguments


def check_arguments(
    on_policy, env_steps_per_update, warmup, chunk, overlap, seed
):
    """Raises `ValueError` if an argument does not fit.

    Args:
        on_policy: Boolean, whether it fills a rollout.
        env_steps_per_update: As in `Collect`.
        warmup: As in `Collect`.
        chunk: As in `Collect`.
        overlap: As in `Collect`.
        seed: As in `Collect`.
    """
    arguments.positive(env_steps_per_update=env_steps_per_update)
    arguments.integer(0, warmup=warmup)
    if chunk is not None:
        arguments.integer(chunk=chunk)
    if seed is not None:
        arguments.integer(0, seed=seed)
    given = {"warmup": warmup, "chunk": chunk, "overlap": overlap}
    if on_policy and any(given.values()):
        raise ValueError(
            "A rollout is filled whole, between its passes: leave `warmup`, "
            f"`chunk` and `overlap` out. Received: {given}"
        )


def updates_per_collection(collect):
    """Integer, the updates between two collections of a `Collect` in `fit`.

    Raises:
        ValueError: If the agent does not learn from such data, or the numbers
            do not divide each other.
    """
    agent, data = collect.model, collect.data
    name, on_policy = type(agent).__name__, hasattr(data, "updates")
    if agent.on_policy and not on_policy:
        raise ValueError(
            f"{name} learns from fresh experience: use `rl.data.Rollout`, for "
            f"`Collect` and for `fit`. Received: {type(data).__name__}"
        )
    if on_policy and not agent.on_policy:
        raise ValueError(
            f"{name} does not learn from rollouts: use `rl.data.Replay`, for "
            f"`Collect` and for `fit`. Received: {type(data).__name__}"
        )
    executions = agent.steps_per_execution
    if not on_policy:
        chunk, what = collect.chunk or executions, "`chunk`"
    else:
        chunk, what = data.updates, "The rollout's passes x minibatches"
    if chunk % executions:
        raise ValueError(
            f"{what} must be a multiple of `steps_per_execution`. "
            f"Received: chunk={chunk}, steps_per_execution={executions}"
        )
    steps = collect.params.get("steps")
    if not steps or steps % chunk:
        raise ValueError(
            "`steps_per_epoch` must be given, and be a multiple of "
            f"`Collect`'s chunk of {chunk} updates (by default the agent's "
            "`steps_per_execution`; a rollout's passes times its minibatches). "
            f"Received: steps_per_epoch={steps}"
        )
    return chunk


def check_envs(collect):
    """Raises `ValueError` if the environments, or the warm-up, do not fit."""
    if collect.envs.closed:
        raise ValueError(
            "The environments that `Collect` steps were closed: make new "
            "ones, and stay inside the `with` block that closes them."
        )
    stream = getattr(collect.data, "stream", collect.data)
    if stream.num_envs != collect.envs.num_envs:
        raise ValueError(
            f"The {type(collect.data).__name__} was made for "
            f"{stream.num_envs} environments: make it, and `Collect`, of the "
            f"same ones. Received: {collect.envs.num_envs} environments"
        )
    for other in collect.model.fit_callbacks:
        used = getattr(getattr(other, "envs", None), "unwrapped", None)
        if other is not collect and used is collect.envs.unwrapped:
            raise ValueError(
                f"`{type(other).__name__}` steps the environments that "
                "`Collect` is in the middle of: make others for it."
            )
    if collect.warmup and collect.warmup > collect.data.capacity:
        raise ValueError(
            "`warmup` is more than the replay holds. Received: "
            f"warmup={collect.warmup}, capacity={collect.data.capacity}"
        )


def after_failure(envs):
    """What can be done once environments have failed, as a string."""
    if isinstance(envs.unwrapped, AsyncVectorEnv):
        # It has closed the process of the one that failed.
        return "Make new environments, and a `Collect` of them, to go on."
    return "`fit` may be called again: it begins new episodes."
