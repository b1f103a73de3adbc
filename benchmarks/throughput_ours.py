"""Our side of `throughput.py`: one job, in this process.

Takes the job as JSON, and prints what it measured as one line of JSON, the
last one. Trains by `fit` with the library's own callbacks, and takes the parts
apart afterwards, on the same objects.
"""

import json
import sys
import time

import gymnasium
import keras
import machine
import numpy as np
import tensorflow as tf

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
    measured = _measured(job, stamps.values)  # Before the peak rises further.
    playing = _playing(job, envs, collect.policy)
    storing = _storing(replay, collect, chunk * ratio)
    learning = _learning(agent, dataset, chunk)
    return {
        **measured,
        "breakdown": {
            "env_us": playing["env_us"],
            "act_us": playing["act_us"],
            **storing,
            **learning,
        },
        "floor": {
            "env_us": playing["bare_env_us"],
            "products_us_per_update": _products(
                [agent.policy], job["batch_size"], forwards=2
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
    parts = compose.compose(envs, settings)
    (collect,) = parts.callbacks
    stamps = Stamps()
    parts.agent.fit(
        parts.dataset,
        steps_per_epoch=parts.steps_per_epoch,
        epochs=parts.epochs,
        callbacks=[collect, stamps],
        verbose=0,
    )
    measured = _measured(job, stamps.values)  # Before the peak rises further.
    rollout, num_envs = collect.data, job["num_envs"]
    playing = _playing(job, envs, collect.policy)
    rollout.begin(collect.driver.reset(0))
    chunk = collect.driver.run(rollout.steps, collect.policy.explore)

    def store():
        rollout.write(chunk.rows, chunk.next_obs)
        rollout.prepare(parts.agent)

    storing = _typical(_blocks(store, 32)) / rollout.size
    return {
        **measured,
        "breakdown": {
            "env_us": playing["env_us"] / num_envs,
            "act_us": playing["act_us"] / num_envs,
            "store_us": storing,
            **_learning(parts.agent, parts.dataset, rollout.updates),
        },
        "floor": {
            "env_us": playing["bare_env_us"],
            "products_us_per_update": _products(
                [parts.agent.policy_network, parts.agent.value_network],
                job["batch_size"],
                forwards=1,
            ),
        },
    }


TRAIN = {"a2c": _on_policy, "dqn": _dqn, "ppo": _on_policy}


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


def _playing(job, envs, policy, steps=8_192):
    """Time to act and to step, and to step through the same episodes bare."""
    act, step, actions = [], [], []
    spec = policy.agent.action_spec
    obs, _ = envs.reset(seed=job["seed"])
    ended = False
    for _ in range(steps):
        start = time.perf_counter()
        action = rl.spaces.to_env(spec, policy.explore(obs))
        acted = time.perf_counter()
        obs, _, terminated, truncated, _ = envs.step(action)
        step.append(time.perf_counter() - acted)
        act.append(acted - start)
        if not ended:  # The step after an end only resets.
            actions.append(action[0])
        ended = terminated[0] or truncated[0]
    bare = []
    with gymnasium.make(job["env"]) as env:
        env.reset(seed=job["seed"])
        for action in actions:
            start = time.perf_counter()
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
            bare.append(time.perf_counter() - start)
    snapshot = _typical(_blocks(policy.snapshot, 32))
    chunk = job.get("steps")  # In rows, as all times here are.
    if chunk is None:
        chunk = job["ours"]["chunk"] * job["env_steps_per_update"]
    return {
        "env_us": _typical(_split(step)),
        "act_us": _typical(_split(act)) + snapshot / chunk,
        "bare_env_us": _best(_split(bare)),
    }


def _storing(replay, collect, rows):
    replay.begin(collect.driver.reset(0))
    chunk = collect.driver.run(rows, collect.policy.explore)
    write = _blocks(lambda: replay.write(chunk.rows, chunk.next_obs), 32)
    return {"store_us": _typical(write) / rows}


def _learning(agent, dataset, chunk):
    """Time to draw a batch, and to learn from one that is there already."""

    @tf.function
    def draw(batches):
        for _ in tf.range(chunk):
            next(batches)

    drawn = iter(dataset)
    same = iter(tf.data.Dataset.from_tensors(next(drawn)).repeat())
    drawing = _blocks(lambda: draw(drawn), 8)
    updating = _blocks(lambda: agent.train_function(same), 8)
    return {
        "draw_us_per_update": _typical(drawing) / chunk,
        "update_us_per_update": _typical(updating) / chunk,
    }


def _products(networks, batch_size, forwards, updates=64):
    """Time of the matrix products of an update, and of nothing else.

    The products of each dense layer: forward (for DQN twice, for the target
    and for the value), and backward to its weights and (but for the first
    layer) to its inputs.
    """
    shapes = []
    for network in networks:
        kernels = [
            variable.shape
            for variable in network.trainable_variables
            if len(variable.shape) == 2
        ]
        for layer, (inputs, outputs) in enumerate(kernels):
            shapes += [(batch_size, inputs, outputs)] * forwards
            shapes += [(inputs, batch_size, outputs)]
            shapes += [(batch_size, outputs, inputs)] if layer else []
    # Variables: constants would be multiplied when the graph is made.
    pairs = [
        (
            tf.Variable(tf.random.normal((rows, inner))),
            tf.Variable(tf.random.normal((inner, columns))),
        )
        for rows, inner, columns in shapes
    ]

    @tf.function
    def multiply():
        total = 0.0
        for _ in tf.range(updates):
            for left, right in pairs:
                total += tf.matmul(left, right)[0, 0]  # Lest it be pruned.
        return total

    return _best(_blocks(multiply, 8)) / updates


# Times are taken in blocks. A block's mean counts what is rare and long (the
# reset of an environment); the median of the blocks leaves out what another
# process has disturbed; the least of them is what the machine can do.


def _typical(blocks):
    return float(np.median(blocks))


def _best(blocks):
    return float(np.min(blocks))


def _blocks(function, calls, blocks=9):
    """The mean times of blocks of calls, in microseconds, after a first one."""
    function()
    times = np.empty((blocks, calls))
    for block in times:
        for i in range(calls):
            start = time.perf_counter()
            function()
            block[i] = time.perf_counter() - start
    return times.mean(axis=1) * 1e6


def _split(seconds, blocks=9):
    """The mean of each block of a list of times, in microseconds."""
    split = np.array_split(seconds, blocks)
    return np.array([block.mean() for block in split]) * 1e6


if __name__ == "__main__":
    main()
