"""Stable-Baselines3's side of `throughput.py`: one job, in this process.

Takes the job as JSON, and prints what it measured as one line of JSON. Needs
neither keras_rl2x nor TensorFlow.
"""

import json
import statistics
import sys
import time

import gymnasium
import machine
import numpy as np

try:
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.vec_env import VecFrameStack
    from stable_baselines3.common.vec_env import VecNormalize
except ImportError as error:
    sys.exit(
        f"{error}: name an interpreter that has Stable-Baselines3 with "
        '--peer-python, or run: pip install "keras-rl2x[benchmarks]"'
    )

ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}
POLICIES = {"nature_cnn": "CnnPolicy"}


def main():
    job = json.loads(sys.argv[1])
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    model = MODELS[job["algorithm"]](job)
    stamps = [(time.time(), 0, 0)]
    model.learn(job["warmup"] + job["warm_env_steps"])
    stamps.append(_stamp(model))
    model.learn(job["env_steps"], reset_num_timesteps=False)
    stamps.append(_stamp(model))
    (ready, *_), (warm, *before), (end, *after) = stamps
    env_steps, updates = (b - a for a, b in zip(before, after))
    result = {
        "startup_s": ready - job["started"],
        "compile_s": warm - ready,
        "env_steps_per_s": env_steps / (end - warm),
        "updates_per_s": updates / (end - warm),
        "update_us": _update_us(model),
        "peak_mb": machine.peak_mb(),
        "threads": torch.get_num_threads(),
        "device": model.device.type,
        "versions": machine.versions(
            "stable_baselines3", "torch", "gymnasium", "ale_py", "numpy"
        ),
    }
    print(json.dumps(result))


def _update_us(model):
    """Microseconds of an update, with the drawing of its batch, alone."""
    arguments = {}
    if hasattr(model, "replay_buffer"):
        arguments = {"gradient_steps": 16, "batch_size": model.batch_size}
    times = []
    for _ in range(9):
        start, _, before = _stamp(model)
        model.train(**arguments)
        end, _, after = _stamp(model)
        times.append((end - start) / (after - before))
    return statistics.median(times) * 1e6


def _stamp(model):
    updates = model._n_updates
    if isinstance(model, stable_baselines3.PPO):  # It counts passes.
        updates *= model.n_steps * model.n_envs // model.batch_size
    return time.time(), model.num_timesteps, updates


def _envs(job):
    arguments = job["env"], job.get("num_envs", 1), job["seed"]
    if "network" not in job:
        return make_vec_env(*arguments)
    return VecFrameStack(make_atari_env(*arguments), 4)


def _policy(job):
    """The arguments for its networks; for images it has but one."""
    if "network" in job:
        return {"policy": POLICIES[job["network"]]}
    return {
        "policy": "MlpPolicy",
        "policy_kwargs": {
            "net_arch": list(job["units"]),
            "activation_fn": ACTIVATIONS[job["activation"]],
        },
    }


def _dqn(job):
    train_freq = job["train_freq"]
    ratio = job["env_steps_per_update"]
    return stable_baselines3.DQN(
        env=_envs(job),
        learning_rate=job["learning_rate"],
        buffer_size=job["capacity"],
        learning_starts=job["warmup"],
        batch_size=job["batch_size"],
        gamma=job["gamma"],
        train_freq=train_freq,
        gradient_steps=train_freq // ratio,
        # Counted in environment steps there.
        target_update_interval=job["updates_per_target_update"] * ratio,
        exploration_initial_eps=job["epsilon"],
        exploration_final_eps=job["epsilon"],
        max_grad_norm=job["clip_norm"],
        seed=job["seed"],
        **_policy(job),
    )


def _on_policy(job):
    envs = _envs(job)
    if job["normalize"]:
        envs = VecNormalize(envs, gamma=job["gamma"])
    arguments = {
        "learning_rate": job["learning_rate"],
        "n_steps": job["steps"],
        "gamma": job["gamma"],
        "gae_lambda": job["lambda"],
        "max_grad_norm": job["clip_norm"],
        "seed": job["seed"],
        **_policy(job),
    }
    if job["algorithm"] == "a2c":
        return stable_baselines3.A2C(env=envs, **arguments)
    return stable_baselines3.PPO(
        env=envs,
        batch_size=job["batch_size"],
        n_epochs=job["passes"],
        **arguments,
    )


def _continuous(job):
    env = gymnasium.make(job["env"])
    kind = {"sac": stable_baselines3.SAC, "td3": stable_baselines3.TD3}
    noise = {}
    if "noise" in job:
        mean = np.zeros(env.action_space.shape)
        noise["action_noise"] = NormalActionNoise(mean, mean + job["noise"])
    return kind[job["algorithm"]](
        env=env,
        learning_rate=job["learning_rate"],
        buffer_size=job["capacity"],
        learning_starts=job["warmup"],
        batch_size=job["batch_size"],
        tau=job["tau"],
        gamma=job["gamma"],
        train_freq=job["train_freq"],
        gradient_steps=job["train_freq"],
        seed=job["seed"],
        **_policy(job),
        **noise,
    )


MODELS = {
    "a2c": _on_policy,
    "dqn": _dqn,
    "ppo": _on_policy,
    "sac": _continuous,
    "td3": _continuous,
}


if __name__ == "__main__":
    main()
