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
    threads = job["ours"].pop("threads", None)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    result = TRAIN[job["algorithm"]](job)
    result["versions"] = machine.versions(*machine.OURS)
    print(json.dumps(result))


def _dqn(job):
    ratio, chunk = job["env_steps_per_update"], job["ours"]["chunk"]
    envs = rl.envs.make(job["env"], seed=job["seed"])
    network = rl.networks.mlp(
        envs.single_observation_space,
        job["units"],
        job["activation"],
        seed=job["seed"],
    )
    agent = rl.agents.DQN(
        network,
        envs.single_action_space,
        epsilon=job["epsilon"],
        double=False,
        loss="huber",
        seed=job["seed"],
    )
    agent.compile(
        keras.optimizers.Adam(
            job["learning_rate"], global_clipnorm=job["clip_norm"]
        ),
        steps_per_execution=chunk,
    )
    replay = rl.data.Replay(envs, job["capacity"], job["gamma"])
    dataset = replay.dataset(job["batch_size"])
    collect = rl.callbacks.Collect(
        envs, replay, ratio, job["warmup"], **job["ours"]
    )
    stamps = Stamps()
    agent.fit(
        dataset,
        steps_per_epoch=job["warm_env_steps"] // ratio,
        epochs=1 + job["env_steps"] // job["warm_env_steps"],
        callbacks=[
            collect,
            rl.callbacks.TargetUpdate(job["updates_per_target_update"]),
            stamps,
        ],
        verbose=0,
    )
    products = {"forward": [agent.policy] * 2, "backward": [agent.policy]}
    return _off_policy(job, agent, dataset, collect, stamps, products)


def _continuous(job):
    name = job["algorithm"]
    settings = rl.presets.get(name, None)
    rates = {f"{key}.learning_rate" for key in settings if "optimizer" in key}
    epochs = 1 + job["env_steps"] // job["warm_env_steps"]
    rl.presets.override(
        settings,
        {
            **dict.fromkeys(rates, job["learning_rate"]),
            **{f"collect.{key}": value for key, value in job["ours"].items()},
            **({"agent.noise": job["noise"]} if "noise" in job else {}),
            "network.units": job["units"],
            "network.activation": job["activation"],
            "replay.capacity": job["capacity"],
            "replay.gamma": job["gamma"],
            "replay.batch_size": job["batch_size"],
            "collect.warmup": job["warmup"],
            "collect.env_steps_per_update": job["env_steps_per_update"],
            "target.tau": job["tau"],
            "env_steps": job["warmup"] + epochs * job["warm_env_steps"],
            "epochs": epochs,
        },
    )
    settings |= {"seed": job["seed"], "algorithm": name}
    envs = rl.envs.make(job["env"], seed=job["seed"])
    agent, dataset, callbacks, steps_per_epoch, epochs = compose.compose(
        envs, settings
    )
    stamps = Stamps()
    agent.fit(
        dataset,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        callbacks=[*callbacks, stamps],
        verbose=0,
    )
    actor, critics = agent.actor, [*agent.critic_networks]
    if name == "sac":
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
    return _off_policy(job, agent, dataset, callbacks[0], stamps, products)


def _off_policy(job, agent, dataset, collect, stamps, products):
    """What is measured of an agent that has learnt from a replay."""
    measured = _measured(job, stamps.values)  # Before the peak rises further.
    chunk = job["ours"]["chunk"]
    playing = parts.playing(job, collect.envs, collect.policy)
    return {
        **measured,
        "breakdown": {
            "env_us": playing["env_us"],
            "act_us": playing["act_us"],
            **parts.storing(collect, chunk * job["env_steps_per_update"]),
            **parts.learning(agent, dataset, chunk),
        },
        "floor": {
            "env_us": playing["bare_env_us"],
            "products_us_per_update": parts.products(
                job["batch_size"], **products
            ),
        },
    }


def _on_policy(job):
    settings = rl.presets.get(job["algorithm"], None)
    rl.presets.override(
        settings,
        {
            "network.units": job["units"],
            "network.activation": job["activation"],
            "network.normalize": job["normalize"],
            "agent.lambda_": job["lambda"],
            "agent.normalize_rewards": job["normalize"],
            "optimizer.learning_rate": job["learning_rate"],
            "optimizer.global_clipnorm": job["clip_norm"],
            "rollout.steps": job["steps"],
            "rollout.gamma": job["gamma"],
            "rollout.minibatch_size": job["batch_size"],
            "rollout.passes": job["passes"],
            "env_steps": job["warm_env_steps"] + job["env_steps"],
            "epochs": 1 + job["env_steps"] // job["warm_env_steps"],
        },
    )
    settings |= {"seed": job["seed"], "algorithm": job["algorithm"]}
    envs = rl.envs.make(job["env"], job["num_envs"], seed=job["seed"])
    made = compose.compose(envs, settings)
    (collect,) = made.callbacks
    stamps = Stamps()
    made.agent.fit(
        made.dataset,
        steps_per_epoch=made.steps_per_epoch,
        epochs=made.epochs,
        callbacks=[collect, stamps],
        verbose=0,
    )
    measured = _measured(job, stamps.values)  # Before the peak rises further.
    rollout, num_envs = collect.data, job["num_envs"]
    playing = parts.playing(job, envs, collect.policy)
    rollout.begin(collect.driver.reset(0))
    chunk = collect.driver.run(rollout.steps, collect.policy.explore)

    def store():
        rollout.write(chunk.rows, chunk.next_obs)
        rollout.prepare(made.agent)

    storing = parts.typical(parts.blocks(store, 32)) / rollout.size
    networks = [made.agent.policy_network, made.agent.value_network]
    return {
        **measured,
        "breakdown": {
            "env_us": playing["env_us"] / num_envs,
            "act_us": playing["act_us"] / num_envs,
            "store_us": storing,
            **parts.learning(made.agent, made.dataset, rollout.updates),
        },
        "floor": {
            "env_us": playing["bare_env_us"],
            "products_us_per_update": parts.products(
                job["batch_size"], forward=networks, backward=networks
            ),
        },
    }


TRAIN = {
    "a2c": _on_policy,
    "dqn": _dqn,
    "ppo": _on_policy,
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
