"""Arguments that agents of other libraries have, and where they are here."""

_ELSEWHERE = {
    "batch_size": "`dataset(batch_size)` of the replay or the rollout",
    "buffer_size": "`rl.data.Replay(capacity=...)`",
    "clip_range": "PPO's `clip`",
    "ent_coef": "`entropy_weight`, or SAC's `temperature`",
    "gae_lambda": "`lambda_`, of agents that learn from rollouts",
    "gamma": "`gamma` of `rl.data.Replay` or `rl.data.Rollout`",
    "gradient_steps": "`rl.callbacks.Collect(env_steps_per_update=...)`",
    "learning_rate": "the optimizer that `compile` is given",
    "learning_starts": "`rl.callbacks.Collect(warmup=...)`",
    "max_grad_norm": "`global_clipnorm` of the optimizer",
    "n_epochs": "`rl.data.Rollout.dataset(passes=...)`",
    "n_steps": "`rl.data.Rollout(steps=...)`",
    "policy_kwargs": "the `network`, any `keras.Model`",
    "target_update_interval": "`rl.callbacks.TargetUpdate(every=...)`",
    "tau": "`rl.callbacks.TargetUpdate(tau=...)`",
    "tensorboard_log": "`rl.callbacks.TensorBoard(log_dir)`",
    "train_freq": "`rl.callbacks.Collect(env_steps_per_update=...)`",
    "vf_coef": "`value_weight`, of agents with a critic",
}


def check(owner, given):
    """Raises `TypeError` if an argument has another place here.

    Args:
        owner: String, the name of an agent.
        given: Dict of arguments that it does not have itself.
    """
    for name in given:
        if name in _ELSEWHERE:
            raise TypeError(
                f"{owner} has no argument `{name}`: here it is "
                f"{_ELSEWHERE[name]}. Received: {name}={given[name]!r}"
            )
