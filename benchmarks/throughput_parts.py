"""Where the time of our side of `throughput.py` goes, part by part.

Times are taken in blocks. A block's mean counts what is rare and long (the
reset of an environment); the median of the blocks leaves out what another
process has disturbed; the least of them is what the machine can do.
"""

import time

import gymnasium
import numpy as np
import tensorflow as tf

import keras_rl2x as rl


def playing(job, envs, policy, steps=8_192):
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
    snapshot = typical(blocks(policy.snapshot, 32))
    chunk = job.get("steps")  # In rows, as all times here are.
    if chunk is None:
        chunk = job["ours"]["chunk"] * job["env_steps_per_update"]
    return {
        "env_us": typical(_split(step)),
        "act_us": typical(_split(act)) + snapshot / chunk,
        "bare_env_us": _best(_split(bare)),
    }


def storing(collect, rows):
    replay = collect.data
    replay.begin(collect.driver.reset(0))
    chunk = collect.driver.run(rows, collect.policy.explore)
    write = blocks(lambda: replay.write(chunk.rows, chunk.next_obs), 32)
    return {"store_us": typical(write) / rows}


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


def products(batch_size, forward, backward, through=(), per=1, updates=64):
    """Time of the matrix products of an update, and of nothing else.

    Args:
        batch_size: Integer.
        forward: List of networks, each as often as it is computed.
        backward: List of those differentiated by their weights: the products
            with each layer's weights, but for the first one's, and inputs.
        through: List of those differentiated by their inputs alone.
        per: Integer, how many updates that is.
        updates: Integer, how often to do it in one call.
    """
    shapes = []
    for network in forward:
        shapes += [(batch_size, i, o) for i, o in _kernels(network)]
    for network in backward:
        kernels = _kernels(network)
        shapes += [(i, batch_size, o) for i, o in kernels]
        shapes += [(batch_size, o, i) for i, o in kernels[1:]]
    for network in through:
        shapes += [(batch_size, o, i) for i, o in _kernels(network)]
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

    return _best(blocks(multiply, 8)) / updates / per


def _kernels(network):
    """List of the shapes of its dense layers' weights."""
    shapes = [variable.shape for variable in network.trainable_variables]
    return [tuple(shape) for shape in shapes if len(shape) == 2]


def typical(blocks):
    return float(np.median(blocks))


def _best(blocks):
    return float(np.min(blocks))


def blocks(function, calls, blocks=9):
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
