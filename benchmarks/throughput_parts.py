"""Where the time of our side of `throughput.py` goes, part by part.

Times are taken in blocks. A block's mean counts what is rare and long (the
reset of an environment); the median of the blocks leaves out what another
process has disturbed; the least of them is what the machine can do.
"""

import math
import time

import gymnasium
import keras
import numpy as np
import tensorflow as tf

import keras_rl2x as rl


def playing(job, collect, rows):
    """Time to act, to step, and to step bare, for one environment step.

    Args:
        job: Dict.
        collect: The `Collect` that it was trained with.
        rows: Integer, for how many one snapshot of the weights is used.
    """
    envs, policy, images = collect.envs, collect.policy, "network" in job
    act, step, actions = [], [], []
    spec = policy.agent.action_spec
    obs, _ = envs.reset(seed=job["seed"])
    ended = False
    for _ in range(1_024 if images else 8_192):
        start = time.perf_counter()
        action = rl.spaces.to_env(spec, policy.explore(obs))
        acted = time.perf_counter()
        obs, _, terminated, truncated, _ = envs.step(action)
        step.append(time.perf_counter() - acted)
        act.append(acted - start)
        if not ended:  # The step after an end only resets.
            actions.append(action[0])
        ended = terminated[0] or truncated[0]
    bare = _games(envs) if images else _one(job, actions)
    snapshot = typical(blocks(policy.snapshot, 32))
    return {
        "env_us": typical(_split(step)) / envs.num_envs,
        "act_us": (typical(_split(act)) + snapshot / rows) / envs.num_envs,
        "bare_env_us": _best(_split(bare)),
    }


def _one(job, actions):
    """Seconds of each step of one environment, through these actions."""
    times = []
    with gymnasium.make(job["env"]) as env:
        env.reset(seed=job["seed"])
        for action in actions:
            start = time.perf_counter()
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
            times.append(time.perf_counter() - start)
    return times


def _games(envs):
    """The same of ale-py's own vector environment, with random actions."""
    bare, times = envs.unwrapped, []
    bare.reset(seed=0)
    for action in [bare.action_space.sample() for _ in range(1_024)]:
        start = time.perf_counter()
        bare.step(action)
        times.append((time.perf_counter() - start) / bare.num_envs)
    return times


def storing(collect, rows):
    replay = collect.data
    replay.begin(collect.driver.reset(0))
    chunk = collect.driver.run(rows, collect.policy.explore)
    write = blocks(lambda: replay.write(chunk.rows, chunk.next_obs), 32)
    return {"store_us": typical(write) / rows / replay.stream.num_envs}


def learning(agent, dataset, chunk):
    """Time to draw a batch, and to learn from one that is there already."""

    @tf.function
    def draw(batches):
        for _ in tf.range(chunk):
            next(batches)

    drawn = iter(dataset)
    same = iter(tf.data.Dataset.from_tensors(next(drawn)).repeat())
    drawing = blocks(lambda: draw(drawn), 8)
    updating = blocks(lambda: agent.train_function(same), 8)
    return {
        "draw_us_per_update": typical(drawing) / chunk,
        "update_us_per_update": typical(updating) / chunk,
    }


def products(job, forward, backward, through=(), per=1):
    """Time of the matrix products of an update, and of nothing else.

    A convolution is a product too, of all patches of all images.

    Args:
        job: Dict.
        forward: List of networks, each as often as it is computed.
        backward: List of those differentiated by their weights: the products
            with each layer's weights, but for the first one's, and inputs.
        through: List of those differentiated by their inputs alone.
        per: Integer, how many updates that is.
    """
    size = job["batch_size"]
    shapes = []
    for network in forward:
        shapes += kernels(network, size)
    for network in backward:
        found = kernels(network, size)
        shapes += [(i, rows, o) for rows, i, o in found]
        shapes += [(rows, o, i) for rows, i, o in found[1:]]
    for network in through:
        shapes += [(rows, o, i) for rows, i, o in kernels(network, size)]
    dtype = keras.DTypePolicy(job.get("dtype")).compute_dtype

    def matrix(*shape):
        # A variable: constants would be multiplied when the graph is made.
        return tf.Variable(tf.cast(tf.random.normal(shape), dtype))

    pairs = [(matrix(a, b), matrix(b, c)) for a, b, c in shapes]
    # Beside those of images, what a call adds to them is little.
    updates = 1 if "network" in job else 64

    @tf.function
    def multiply():
        total = tf.zeros((), dtype)
        for _ in tf.range(updates):
            for left, right in pairs:
                total += tf.matmul(left, right)[0, 0]  # Lest it be pruned.
        return total

    return _best(blocks(multiply, 8)) / updates / per


def kernels(network, batch_size):
    """The products with its layers' weights, first to last.

    Args:
        network: A functional `keras.Model`.
        batch_size: Integer.

    Returns:
        List of tuples of integers: rows, inputs and outputs of each. A
        convolution has a row for every position that it is computed at.
    """
    found = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            found += kernels(layer, batch_size)
        elif hasattr(layer, "kernel"):
            *inputs, outputs = layer.kernel.shape
            positions = math.prod(layer.output.shape[1:-1])
            found.append((batch_size * positions, math.prod(inputs), outputs))
    return found


def typical(blocks):
    return float(np.median(blocks))


def _best(blocks):
    return float(np.min(blocks))


def blocks(function, calls, blocks=9):
    """The mean times of blocks of calls, in microseconds.

    After a first call, which may compile; and of fewer calls, at least one, if
    a block would take longer than about half a second.
    """
    function()
    start = time.perf_counter()
    function()
    once = time.perf_counter() - start
    calls = min(calls, max(1, round(0.5 / once)))
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
