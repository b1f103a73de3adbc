"""How well Stable-Baselines3 learns, to compare `learning.py` with.

    python benchmarks/learning_sb3.py ppo HalfCheetah-v5 --seeds 3 --json

Its hyper-parameters are those that its own zoo publishes for the environment.
Needs neither keras_rl2x nor TensorFlow.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import sys
import time

import machine
import numpy as np
import robust

try:
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.vec_env import VecNormalize
except ImportError as error:
    sys.exit(f'{error}: run pip install "keras-rl2x[benchmarks,mujoco]"')

ALGORITHMS = {
    "ppo": stable_baselines3.PPO,
    "sac": stable_baselines3.SAC,
    "td3": stable_baselines3.TD3,
}

# `normalize`: running normalisation of observations and rewards.
PRESETS = {
    ("ppo", "HalfCheetah-v5"): {
        "normalize": True,
        "batch_size": 64,
        "n_steps": 512,
        "gamma": 0.98,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.92,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
        "policy_kwargs": {
            "log_std_init": -2,
            "ortho_init": False,
            "activation_fn": torch.nn.ReLU,
            "net_arch": [256, 256],
        },
    },
    ("sac", "HalfCheetah-v5"): {"learning_starts": 10_000},
    ("sac", "Hopper-v5"): {"learning_starts": 10_000},
    ("td3", "HalfCheetah-v5"): {
        "learning_starts": 10_000,
        "learning_rate": 1e-3,
        "train_freq": 1,
        "batch_size": 256,
        "noise": 0.1,
        "policy_kwargs": {"net_arch": [400, 300]},
    },
}


def main():
    arguments = _parse()
    start = time.time()
    jobs = [(arguments, seed) for seed in range(arguments.seeds)]
    # Spawned, as torch does not survive a fork.
    with concurrent.futures.ProcessPoolExecutor(
        arguments.jobs, multiprocessing.get_context("spawn")
    ) as pool:
        results = list(pool.map(_result, jobs))
    report = _report(arguments, results, time.time() - start)
    os.makedirs(arguments.out, exist_ok=True)
    path = os.path.join(arguments.out, f"{_name(arguments)}.json")
    text = json.dumps(report, indent=1, default=lambda cls: cls.__name__)
    with open(path, "w") as file:
        file.write(text + "\n")
    if arguments.json:
        print(text)
    else:
        print(
            f"IQM {report['iqm']:.1f} (95%: {report['iqm_low']:.1f} to "
            f"{report['iqm_high']:.1f}), worst {report['worst']:.1f}"
        )


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("agent", choices=sorted(ALGORITHMS))
    parser.add_argument("env", choices=sorted({env for _, env in PRESETS}))
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--jobs", type=int, default=2, help="at the same time")
    parser.add_argument("--env-steps", type=int, default=1_000_000)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument(
        "--out", default=os.path.join("benchmarks", "results"), metavar="DIR"
    )
    parser.add_argument(
        "--runs",
        default=os.path.join("runs", "learning"),
        metavar="DIR",
        help="where each seed leaves its result",
    )
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="keep the seeds in --runs that are complete and the same",
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if (arguments.agent, arguments.env) not in PRESETS:
        parser.error(f"no preset of {arguments.agent} for {arguments.env}")
    return arguments


def _name(arguments):
    return f"sb3_{arguments.agent}_{arguments.env}"


def _result(job):
    """The greedy evaluation of one seed, as in `learning.py`."""
    arguments, seed = job
    folder = os.path.join(arguments.runs, _name(arguments))
    path = os.path.join(folder, f"seed{seed}.json")
    made_by = {
        "env_steps": arguments.env_steps,
        "episodes": arguments.episodes,
        "settings": repr(PRESETS[arguments.agent, arguments.env]),
    }
    if arguments.reuse and os.path.exists(path):
        with open(path) as file:
            saved = json.load(file)
        if saved.get("made_by") == made_by:
            return saved["result"]
    result = _train(arguments, seed)
    print(f"seed {seed}: {result['mean']:.1f}", file=sys.stderr, flush=True)
    os.makedirs(folder, exist_ok=True)
    with open(path, "w") as file:
        json.dump({"made_by": made_by, "result": result}, file)
    return result


def _train(arguments, seed):
    torch.set_num_threads(1)
    start = time.time()
    settings = dict(PRESETS[arguments.agent, arguments.env])
    normalize = settings.pop("normalize", False)
    envs = make_vec_env(arguments.env, seed=seed)
    evaluation = make_vec_env(arguments.env, seed=1_000 + seed)
    if normalize:
        envs = VecNormalize(envs, gamma=settings["gamma"])
        evaluation = VecNormalize(evaluation, training=False, norm_reward=False)
        evaluation.obs_rms = envs.obs_rms
    noise = settings.pop("noise", None)
    if noise is not None:
        zeros = np.zeros(envs.action_space.shape)
        settings["action_noise"] = NormalActionNoise(zeros, zeros + noise)
    model = ALGORITHMS[arguments.agent](
        "MlpPolicy", envs, seed=seed, device="cpu", **settings
    )
    model.learn(arguments.env_steps)
    returns, _ = evaluate_policy(
        model,
        evaluation,
        arguments.episodes,
        deterministic=True,
        return_episode_rewards=True,
    )
    return {
        "seed": seed,
        "mean": sum(returns) / len(returns),
        "min": min(returns),
        "max": max(returns),
        "episodes": len(returns),
        "wall_s": round(time.time() - start, 1),
    }


def _report(arguments, results, seconds):
    means = [result["mean"] for result in results]
    low, high = robust.iqm_interval(means)
    return {
        "agent": f"sb3 {arguments.agent}",
        "env": arguments.env,
        "command": machine.command(),
        "machine": machine.machine(),
        "versions": machine.versions(
            "stable_baselines3", "torch", "gymnasium", "mujoco", "numpy"
        ),
        "env_steps": arguments.env_steps,
        "iqm": float(robust.iqm(means)),
        "iqm_low": low,
        "iqm_high": high,
        "worst": min(means),
        "wall_s": round(seconds, 1),
        "jobs": arguments.jobs,
        "results": results,
        "settings": PRESETS[arguments.agent, arguments.env],
    }


if __name__ == "__main__":
    main()
