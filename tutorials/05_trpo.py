"""Trust regions: second derivatives, and TRPO.

How far may one update go? A learning rate says it in weights, but the same
change of the weights may leave the policy alone or turn it over. TRPO says it
in policies: the best step whose KL divergence from the old policy is 0.01 at
most. That needs the curvature of the divergence; this chapter computes it in
several ways, on a network so small that each can be checked.

    python tutorials/05_trpo.py
"""

import os

import keras
import numpy as np
import tensorflow as tf

import keras_rl2x as rl

FAST = os.environ.get("KERAS_RL2X_FAST") == "1"  # For the tests.
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)

# --- A small policy ---------------------------------------------------------
# Four numbers are observed, of very different size, and there are two actions.
# In double precision, so that what differs below differs for a reason.

obs = rng.normal(size=[256, 4]) * [0.1, 0.3, 1.0, 3.0]
policy = keras.Sequential(
    [
        keras.Input([4], dtype="float64"),
        keras.layers.Dense(4, "tanh", dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    ]
)
family = rl.ops.Categorical(2)
variables = [variable.value for variable in policy.trainable_variables]
size = policy.count_params()


def flat(tensors):
    """A list of tensors as one vector."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def unflat(vector):
    """The inverse: tensors of the shapes of the variables."""
    parts = tf.split(vector, [tf.size(variable) for variable in variables])
    return [tf.reshape(x, v.shape) for x, v in zip(parts, variables)]


def gradient(function):
    with tf.GradientTape() as tape:
        y = function()
    return flat(tape.gradient(y, variables))


# --- Hessian-vector products ------------------------------------------------
# The gradient is a computation, so it has derivatives: a tape around it gives
# the Hessian, a row for each of the parameters. Here they are 30; for 5,000 it
# would be 25 million numbers, and 5,000 times the work.


def hessian(function):
    with tf.GradientTape() as tape:
        rows = gradient(function)
    columns = tape.jacobian(rows, variables)
    return np.concatenate([np.reshape(c, [size, -1]) for c in columns], 1)


# Its product with a vector needs no matrix (Pearlmutter, 1994). Reverse over
# reverse: the gradient's inner product with the vector is a number, and its
# gradient is the product. Forward over reverse: how does the gradient change
# when the parameters move along the vector? A `ForwardAccumulator` carries
# that derivative along with every operation; it needs no second record.


def reverse_over_reverse(function, vector):
    with tf.GradientTape() as tape:
        along = tf.reduce_sum(gradient(function) * vector)
    return flat(tape.gradient(along, variables))


def forward_over_reverse(function, vector):
    tangents = unflat(vector)
    with tf.autodiff.ForwardAccumulator(variables, tangents) as forward:
        now = gradient(function)
    return forward.jvp(now)


def entropy():
    return tf.reduce_mean(family.entropy(policy(obs)))


vector = rng.normal(size=size)
by_matrix = hessian(entropy) @ vector
for way in (reverse_over_reverse, forward_over_reverse):
    error = np.abs(way(entropy, vector) - by_matrix).max()
    print(f"{way.__name__}: differs by {error:.0e} from the matrix's product")
    assert error < 1e-12

# --- The Fisher matrix ------------------------------------------------------
# The mean of (grad log p)(grad log p)', over observations and over actions as
# the policy draws them, is the Fisher matrix. It is also the Hessian of the
# mean KL divergence from the old policy, taken at the old policy. There, the
# divergence is 0 and has no slope, so the Hessian is all there is to it: after
# a small step v it is v' F v / 2, with an error of the third order.

old = policy(obs)  # Computed outside of all tapes: a constant.


def mean_kl():
    return tf.reduce_mean(family.kl(old, policy(obs)))


with tf.GradientTape() as tape:
    log_p = tf.nn.log_softmax(policy(obs))
scores = tape.jacobian(log_p, variables)
scores = np.concatenate([np.reshape(s, [256, 2, -1]) for s in scores], 2)
p = tf.exp(log_p).numpy()
fisher = np.einsum("ba,bai,baj->ij", p, scores, scores) / len(obs)
assert np.abs(gradient(mean_kl)).max() < 1e-12
assert np.allclose(hessian(mean_kl), fisher, atol=1e-12)

start = flat(variables)


def move(step):
    """Puts the parameters this step away from where they began."""
    for variable, value in zip(variables, unflat(start + step)):
        variable.assign(value)


errors = []
for length in (0.1, 0.01, 0.001):
    move(length * vector)
    predicted = length**2 * vector @ fisher @ vector / 2
    errors.append(abs(float(mean_kl()) - predicted))
    print(f"Step {length}: KL {mean_kl():.3e}, predicted {predicted:.3e}")
assert errors[1] < errors[0] / 500 and errors[2] < errors[1] / 500
move(0)

# --- Conjugate gradients ----------------------------------------------------
# Let L be what the new policy would gain on the old one's observations, by the
# old one's advantages: the mean of p(a) / p_old(a) A(a). (Schulman et al.,
# 2015, eq. 14, estimate it from the actions taken; here the advantages of both
# actions are known: we make them up.) A small step v adds g' v to it, with g
# its gradient. Among the steps of equal v' F v the best is along the natural
# gradient, the solution x of F x = g (Kakade, 2002).
#
# Adding a number to both logits changes no probability: so F has zero
# eigenvalues, and the diagonal gets some damping. Conjugate gradients solve the
# system by products alone, exactly after as many as there are different
# eigenvalues; and are good enough well before.

worth = np.stack([np.sin(20 * obs[:, 0]), np.cos(obs[:, 3])], axis=1)
advantage = worth - (p * worth).sum(axis=1, keepdims=True)


def gain():
    now = tf.nn.softmax(policy(obs))
    return tf.reduce_mean(tf.reduce_sum(now * advantage, axis=1))


def product(vector):
    return forward_over_reverse(mean_kl, vector) + 0.1 * vector


g = gradient(gain).numpy()
eigenvalues = np.linalg.eigvalsh(fisher)
print(f"Eigenvalues of F: {eigenvalues[0]:.1e} to {eigenvalues[-1]:.1e}")
assert abs(eigenvalues[0]) < 1e-12


def natural_gradient(damping):
    return np.linalg.solve(fisher + damping * np.eye(size), g)


errors = []
for iterations in (2, 5, 10, 15):
    x = rl.ops.conjugate_gradient(product, g, iterations, tolerance=0.0)
    off = np.linalg.norm(x - natural_gradient(0.1))
    errors.append(off / np.linalg.norm(x))
    print(f"After {iterations:2} products: an error of {errors[-1]:.0e}")
assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6

# --- Natural and plain gradient ---------------------------------------------
# Each direction is followed up to the same divergence, found by bisection. Up
# to a tiny one, the natural gradient gains most, and the more the less it is
# damped: that is theory. Up to 0.01 it is another matter. Where F is nearly 0,
# a step is nearly free: so with hardly any damping it is long, and leaves the
# region in which the gradient says what is gained. Damping is distrust.


def try_out(step):
    """A step's divergence and gain; takes it back."""
    move(step)
    kl, gained = float(mean_kl()), float(gain() - before)
    move(0)
    return kl, gained


def up_to(max_kl, direction):
    """The step in this direction that has this mean KL."""
    low, high = 0.0, 1e-3
    while try_out(high * direction)[0] < max_kl:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        short = try_out(middle * direction)[0] < max_kl
        low, high = (middle, high) if short else (low, middle)
    return low * direction


before = gain()
directions = [g, natural_gradient(0.1), natural_gradient(0.001)]
print("Gains of the plain gradient; the natural, damped by 0.1, by 0.001:")
table = []
for max_kl in (0.0001, 0.01):
    steps = [up_to(max_kl, x) for x in directions]
    divergences, gains = zip(*map(try_out, steps))
    assert np.allclose(divergences, max_kl, rtol=1e-6, atol=0)
    table.append(gains)
    print(f"  KL {max_kl:6}:", *(f"{gained:.5f}" for gained in gains))
(plain, damped, bold), (plain_further, damped_further, bold_further) = table
assert plain < damped < bold
assert bold_further < plain_further < damped_further

# --- Line search ------------------------------------------------------------
# TRPO does not bisect. By the quadratic model, the step along x that has the
# divergence max_kl is x sqrt(2 max_kl / x' F x) (appendix C there), with the
# damping in F. It is tried, and shortened until it keeps the constraint indeed,
# and does gain. What is too bold is called back.

for damping, max_kl in ((0.1, 0.01), (0.001, 0.1)):
    x = natural_gradient(damping)
    curvature = g @ x  # x' (F + damping) x, as x solves the system.
    for attempt in range(20):
        step = 0.8**attempt * np.sqrt(2 * max_kl / curvature) * x
        kl, gained = try_out(step)
        if kl <= max_kl and gained > 0:
            break
    print(f"Damping {damping}, KL up to {max_kl}: ", end="")
    print(f"try {attempt + 1} has KL {kl:.4f} and gains {gained:.4f}")
    assert kl <= max_kl and gained > 0

# --- TRPO on CartPole -------------------------------------------------------
# `rl.agents.TRPO` does these steps with the rollout's own actions, once for
# each rollout, all in one graph. The compiled optimizer is the critic's, which
# gets 20 passes; the policy has none. A `GraphCallback` runs inside the graph
# after every update. Ours keeps a copy of the policy, and so measures what each
# step did without asking the agent.


class Steps(rl.callbacks.GraphCallback):
    """Measures the mean KL divergence of every step of the policy."""

    def __init__(self, agent, updates):
        super().__init__()
        self.old = keras.models.clone_model(agent.policy)
        self.old.set_weights(agent.policy.get_weights())
        self.count = tf.Variable(0)
        self.found = tf.Variable(tf.zeros([updates, 2]))

    def on_update(self, agent, batch, values):
        obs, weight = batch["obs"], batch["weight"]
        kl = agent.distribution.kl(self.old(obs), agent.policy(obs))
        found = [rl.ops.live_mean(kl, weight), values["step_size"]]
        self.found.scatter_nd_update([[self.count]], [found])
        self.count.assign_add(1)
        for old, now in zip(self.old.weights, agent.policy.weights):
            old.assign(now)


epochs, rollouts = (1, 3) if FAST else (16, 6)
with rl.envs.make("CartPole-v1", num_envs=2, seed=0) as envs:
    space = envs.single_observation_space
    init = keras.initializers.Orthogonal(2**0.5)
    network, critic = (
        rl.networks.mlp(space, (64, 64), "tanh", init, seed=seed)
        for seed in (0, 1_000_000)
    )
    agent = rl.agents.TRPO(
        network,
        envs.single_action_space,
        critic=critic,
        max_kl=0.01,
        lambda_=0.98,
        cg_iterations=15,
        cg_damping=1e-3,
        critic_passes=20,
        critic_minibatch_size=512,
        seed=0,
    )
    agent.compile(keras.optimizers.Adam(1e-3, epsilon=1e-5))
    steps = Steps(agent, epochs * rollouts)
    rollout = rl.data.Rollout(envs, steps=512, gamma=0.99)
    history = agent.fit(
        rollout.dataset(),
        steps_per_epoch=rollouts,
        epochs=epochs,
        callbacks=[
            rl.callbacks.Collect(envs, rollout),
            rl.callbacks.Evaluate("CartPole-v1", 2 if FAST else 20),
            steps,
        ],
        verbose=0,
    ).history
print(f"TRPO, {history['env_steps'][-1]:,} steps; val_return:")
print("  ", *map(round, history["val_return"]))

# No step broke the constraint, however it was found. (Logged are the means of
# an epoch: `kl`, `improvement`, and `step_size`, the fraction that was taken; 0
# stands for a step that was refused at every length.)

kl, taken = steps.found.numpy().T
print(f"Of {len(kl)} steps {np.mean(taken > 0):.0%} were accepted, ", end="")
print(f"{np.mean(taken == 1):.0%} in full; greatest KL {kl.max():.5f}")
assert steps.count == len(kl) and (taken > 0).any()
assert (kl <= agent.max_kl * (1 + 1e-4)).all()
assert ((kl > 0) == (taken > 0)).all()

result = rl.evaluate(agent, "CartPole-v1", episodes=4 if FAST else 100)
print("TRPO, on fresh episodes:", result)
assert FAST or result["mean"] >= 450

# `rl.train("trpo", "CartPole-v1")` puts together these same parts. PPO's
# clipping is the cheap answer to the same question: it needs first derivatives
# only, and lets policy and critic share a network.
