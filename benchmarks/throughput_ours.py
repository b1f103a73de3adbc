"""Our side of `throughput.py`: one job, in this process.

Takes the job as JSON, and prints what it measured as one line of JSON, the
last one. Trains by `fit` with the library's own callbacks, and takes the parts
apart afterwards, on the same objects.
"""

import json
import sys
import time

import keras
import machine
import tensorflow as tf
import throughput_parts as parts

import keras_rl2x as rl
from keras_rl2x import compose
from keras_rl2x import presets


class Stamps(keras.callbacks.Callback):
    """Notes the time, the environment steps and the updates of each epoch."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_begin(self, logs=None):
        self.values = [(time.time(), 0, 0)]

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(
            (
                time.time(),
                int(self.model.env_steps.numpy()),
                int(self.model.optimizer.iterations.numpy()),
            )
        )


def main():
    job = json.loads(sys.argv[1])
    if job.get("threads"):
        tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
    result = TRAIN[job["algorithm"]](job)
    result["versions"] = machine.versions(*machine.OURS)
    print(json.dumps(result))


def _fit(job, values):
    """Trains by the preset of the job's algorithm, with some settings changed.

    Args:
        job: Dict.
        values: Dict from dotted names to values, see `presets.override`.

    Returns:
        Tuple: the `compose.Parts`, and the dict of what was measured.
    """
    images = "network" in job  # Others begin from the algorithm's defaults.
    settings = presets.get(job["algorithm"], job["env"] if images else None)
    if images:
        network = {
            "network.kind": job["network"],
            "network.dtype": job.get("dtype"),
        }
    else:
        network = {
            "network.units": job["units"],
            "network.activation": job["activation"],
        }
    # Every optimizer of an agent has the same rate.
    rates = {f"{key}.learning_rate" for key in settings if "optimizer" in key}
    epochs = 1 + job["env_steps"] // job["warm_env_steps"]
    presets.override(
        settings,
        {
            **network,
            **dict.fromkeys(rates, job["learning_rate"]),
            **values,
            "env_steps": job["warmup"] + epochs * job["warm_env_steps"],
            "epochs": epochs,
        },
    )
    settings |= {"seed": job["seed"], "algorithm": job["algorithm"]}
    envs = rl.envs.make(job["env"], job.get("num_envs", 1), seed=job["seed"])
    made = compose.compose(envs, settings)
    stamps = Stamps()
    made.agent.fit(
        made.dataset,
        steps_per_epoch=made.steps_per_epoch,
        epochs=made.epochs,
        callbacks=[*made.callbacks, stamps],
        verbose=0,
    )
    return made, _measured(job, stamps.values)


def _dqn(job):
    made, measured = _fit(
        job,
        {
            **_replay(job),
            "agent.double": False,
            "agent.epsilon": job["epsilon"],
            "optimizer.global_clipnorm": job["clip_norm"],
            "replay.n_step": 1,
            "target.every": job["updates_per_target_update"],
        },
    )
    policy = made.agent.policy
    products = {"forward": [policy] * 2, "backward": [policy]}
    return _off_policy(job, made, measured, products)


def _continuous(job):
    noise = {"agent.noise": job["noise"]} if "noise" in job else {}
    made, measured = _fit(
        job, {**_replay(job), **noise, "target.tau": job["tau"]}
    )
    actor, critics = made.agent.actor, [*made.agent.critic_networks]
    if job["algorithm"] == "sac":
        products = {
            "forward": [actor] * 2 + critics * 3,
            "backward": [actor, *critics],
            "through": critics,
        }
    else:  # Of two updates, of which one moves the actor by the first critic.
        products = {
            "forward": [actor] * 3 + critics * 4 + critics[:1],
            "backward": [actor, *critics, *critics],
            "through": critics[:1],
            "per": 2,
        }
    return _off_policy(job, made, measured, products)


def _replay(job):
    """The settings of what learns from a replay."""
    return {
        "collect.chunk": job["chunk"],
        "collect.overlap": job.get("overlap", False),
        "collect.warmup": job["warmup"],
        "collect.env_steps_per_update": job["env_steps_per_update"],
        "replay.capacity": job["capacity"],
        "replay.gamma": job["gamma"],
        "replay.batch_size": job["batch_size"],
    }


def _off_policy(job, made, measured, products):
    """What is measured of an agent that has learnt from a replay."""
    collect, chunk = made.callbacks[0], job["chunk"]
    rows = int(chunk * job["env_steps_per_update"]) // collect.envs.num_envs
    playing = parts.playing(job, collect, rows)
    return {
        **measured,
        "breakdown": {
            "env_us": playing["env_us"],
            "act_us": playing["act_us"],
            **parts.storing(collect, rows),
            **parts.learning(made.agent, made.dataset, chunk),
        },
        "floor": {
            "env_us": playing["bare_env_us"],
            "products_us_per_update": parts.products(job, **products),
        },
    }


def _actor_critic(job):
    made, measured = _fit(
        job, {**_rollout(job), "agent.normalize_rewards": job["normalize"]}
    )
    agent = made.agent
    networks = [agent.policy_network, agent.value_network]
    if agent.critic is None:  # They share their layers.
        networks = [agent.both_networks]
    return _on_policy(job, made, measured, networks)


def _pqn(job):
    made, measured = _fit(job, _rollout(job))
    return _on_policy(job, made, measured, [made.agent.policy])


def _rollout(job):
    """The settings of what learns from rollouts."""
    return {
        "network.normalize": job["normalize"],
        "agent.lambda_": job["lambda"],
        "optimizer.global_clipnorm": job["clip_norm"],
        "rollout.steps": job["steps"],
        "rollout.gamma": job["gamma"],
        "rollout.minibatch_size": job["batch_size"],
        "rollout.passes": job["passes"],
    }


def _on_policy(job, made, measured, networks):
    """What is measured of an agent that has learnt from rollouts."""
    (collect,), agent = made.callbacks, made.agent
    rollout = collect.data
    playing = parts.playing(job, collect, rollout.steps)
    rollout.begin(collect.driver.reset(0))
    chunk = collect.driver.run(rollout.steps, collect.policy.explore)

    def store():
        rollout.write(chunk.rows, chunk.next_obs)
        rollout.prepare(agent)

    storing = parts.typical(parts.blocks(store, 32)) / rollout.size
    return {
        **measured,
        "breakdown": {
            "env_us": playing["env_us"],
            "act_us": playing["act_us"],
            "store_us": storing,
            **parts.learning(agent, made.dataset, rollout.updates),
        },
        "floor": {
            "env_us": playing["bare_env_us"],
            "products_us_per_update": parts.products(
                job, forward=networks, backward=networks
            ),
        },
    }


TRAIN = {
    "a2c": _actor_critic,
    "dqn": _dqn,
    "ppo": _actor_critic,
    "pqn": _pqn,
    "sac": _continuous,
    "td3": _continuous,
}


def _measured(job, stamps):
    (ready, *_), (warm, *before), *_, (end, *after) = stamps
    env_steps, updates = (b - a for a, b in zip(before, after))
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "startup_s": ready - job["started"],
        "compile_s": warm - ready,
        "env_steps_per_s": env_steps / (end - warm),
        "updates_per_s": updates / (end - warm),
        "peak_mb": machine.peak_mb(),
        # 0 where TensorFlow chooses: one for each core.
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "device": "gpu" if gpus else "cpu",
    }


if __name__ == "__main__":
    main()
