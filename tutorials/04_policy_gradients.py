"""Policy gradients: from REINFORCE to PPO.

Chapter 2 learned what actions are worth, and took the best. Here the policy
itself is the network: it gives probabilities, and learning raises those of
actions that turned out well. First the gradient, on a problem where it is
known; then what makes it less noisy; then what lets one batch be used more
than once. After each of them, CartPole.

    python tutorials/04_policy_gradients.py
"""

import os

import keras
import numpy as np
import tensorflow as tf

import keras_rl2x as rl

FAST = os.environ.get("KERAS_RL2X_FAST") == "1"  # For the tests.
rng = np.random.default_rng(0)

# --- The gradient of an expectation -----------------------------------------
# A bandit with three arms, which pay 1, 2 and 4 on average. The policy is a
# softmax over three logits. As the payments are known, so is the expected
# reward, and the tape gives its gradient: p (q - E[r]), with p the
# probabilities and q the payments.

pays = np.float32([1, 2, 4])
logits = tf.Variable([0.5, 0.0, -0.5])
with tf.GradientTape() as tape:
    p = tf.nn.softmax(logits)
    expected = tf.reduce_sum(p * pays)
exact = tape.gradient(expected, logits).numpy()
p, expected = p.numpy(), expected.numpy()
print(f"Expected reward {expected:.3f}, its gradient {exact.round(3)}")
assert np.allclose(exact, p * (pays - expected), atol=1e-6)

# An agent does not know q. It sees rewards, and no tape leads from a reward
# back to the logits: between them there is a draw. But as grad p = p grad log
# p, the gradient of E[r] = sum p q is sum p (grad log p) q: the mean, over
# what the policy itself draws, of grad log p times the reward (Williams, 1992,
# theorem 1; Sutton & Barto, 2018, eq. 13.8). That can be sampled.
#
# We want it for every draw on its own, to look at means and at variances. So
# each draw gets its own row of logits: then one tape gives all the gradients.

bandit = rl.ops.Categorical(3)


def score_gradients(action, advantage):
    """Rows of `grad log pi(a) A`, one for each action."""
    rows = tf.repeat(logits[None], len(action), axis=0)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        log_prob = bandit.log_prob(rows, action)
        score = rl.ops.score_function(log_prob, np.float32(advantage))
    return tape.gradient(score, rows).numpy()


# The mean over all actions, each as often as it is drawn, is the exact one.
assert np.allclose(p @ score_gradients(np.arange(3), pays), exact, atol=1e-6)

# So is the mean over many draws, up to sampling error: four standard errors
# are allowed. The payments are noisy here, as rewards are.
draws = 100_000
action = rng.choice(3, size=draws, p=p)
reward = pays[action] + rng.normal(size=draws)


def check_mean(each):
    error = np.abs(each.mean(axis=0) - exact)
    assert (error < 4 * each.std(axis=0) / draws**0.5).all()


each = score_gradients(action, reward)
check_mean(each)
print(f"Sampled gradient {each.mean(axis=0).round(3)}, of {draws:,} draws")

# --- A baseline -------------------------------------------------------------
# Every payment is positive, so every draw raises the probability of its own
# action; that the first arm is a bad one shows only on average. Subtract
# what was to be expected, and a draw says "better" or "worse". The mean stays,
# because the mean of grad log p is 0 (eq. 13.10 there); the variance falls. The
# best constant weights rewards by the squared length of grad log p (Greensmith
# et al., 2004); the expected reward is simpler, and not much worse.

squares = (score_gradients(action, np.ones(draws)) ** 2).sum(axis=1)
best = (squares * reward).sum() / squares.sum()
variances = []
for name, baseline in (("none", 0), ("E[r]", expected), ("the best", best)):
    each = score_gradients(action, reward - baseline)
    variances.append(each.var(axis=0).sum())
    print(f"Baseline {name:8}: a variance of {variances[-1]:.3f}")
    check_mean(each)
assert variances[2] <= variances[1] < variances[0] / 2

# --- Advantages, step by step -----------------------------------------------
# In an episode an action is answerable for what comes after it, not for what
# came before: its weight is the return from there on, minus the value of the
# state as a baseline. That is its advantage. Summing rewards to the end is
# noisy. The TD error, r + gamma V' - V, sees one reward and trusts the critic
# for the rest. Generalised advantage estimation (Schulman et al., 2016, eq. 16)
# sums TD errors, each discounted by gamma lambda: lambda = 0 is the TD error,
# lambda = 1 the return minus the value.
#
# By hand: four steps in one environment (a column), gamma and lambda 0.5. The
# second step ends an episode: its discount is 0, and nothing is carried across
# the cut. The TD errors are -2, 4, 0 and 1, so the advantages are
# -2 + 0.25 * 4, 4, 0.25 * 1 and 1.

rollout = {
    "reward": np.float32([[1], [6], [0], [1]]),
    "discount": np.float32([[0.5], [0], [0.5], [0.5]]),
    "value": np.float32([[4], [2], [2], [4], [8]]),
    "cut": np.array([[False], [True], [False], [False]]),
}
advantage = rl.ops.gae(**rollout, lambda_=0.5)
assert np.allclose(advantage[:, 0], [-1, 4, 0.25, 1])
advantage = rl.ops.gae(**rollout, lambda_=1.0)
returns = rl.ops.discounted_returns(
    rollout["reward"], rollout["discount"], rollout["value"][-1]
)
assert np.allclose(advantage, returns - rollout["value"][:-1])

# Had the second step been truncated, by a time limit, the state after it would
# have a value still, and count with 0.5 * 2; but the cut stays.
rollout["discount"] = np.full([4, 1], 0.5, "float32")
advantage = rl.ops.gae(**rollout, lambda_=0.5)
assert np.allclose(advantage[:, 0], [-0.75, 5, 0.25, 1])

# Lambda trades variance for bias. Rewards of 1, with noise of standard
# deviation 1, discounted by 0.99 for ever are worth 100 everywhere: all
# advantages are 0. The standard deviation of the estimates grows with lambda.
# Now let the critic overestimate the second state by 10: the first advantage is
# off by 9.9 (1 - lambda).

shape = steps, _ = 50, 20_000
reward = rng.normal(1, 1, shape).astype("float32")
discount, never = np.full(shape, 0.99, "float32"), np.zeros(shape, "bool")
value = np.full([steps + 1, shape[1]], 100, "float32")
wrong = value + 10 * (np.arange(steps + 1) == 1)[:, None].astype("float32")
deviations = []
for lambda_ in (0.0, 0.8, 0.95, 1.0):
    first = rl.ops.gae(reward, discount, value, never, lambda_)[0].numpy()
    misled = rl.ops.gae(reward, discount, wrong, never, lambda_)[0].numpy()
    bias = (misled - first).mean()
    deviations.append(first.std())
    print(f"lambda {lambda_:4}: deviation {first.std():.2f}, bias {bias:.2f}")
    assert abs(first.mean()) < 4 * first.std() / shape[1] ** 0.5
    assert np.isclose(bias, 9.9 * (1 - lambda_), atol=1e-3)
assert deviations == sorted(deviations)

# --- REINFORCE on CartPole --------------------------------------------------
# `Rollout` keeps the last steps of every environment; `Collect` fills it anew
# when it was used up. The agent's `prepare` turns it into advantages, in one
# batched call; its `train_step` learns from batches of it. All else is as in
# chapter 2, and one function serves for three agents.


def learn(kind, optimizer, rollouts, epochs, steps, gamma, passes=1, **kwargs):
    """Trains on so many rollouts an epoch; returns the agent and history."""
    with rl.envs.make("CartPole-v1", num_envs=8, seed=0) as envs:
        space = envs.single_observation_space
        init = keras.initializers.Orthogonal(2**0.5)
        network, critic = (
            rl.networks.mlp(space, (64, 64), "tanh", init, seed=seed)
            for seed in (0, 1_000_000)
        )
        name = "baseline" if kind is rl.agents.REINFORCE else "critic"
        kwargs = {name: critic, "seed": 0, **kwargs}
        agent = kind(network, envs.single_action_space, **kwargs)
        agent.compile(optimizer, steps_per_execution=passes)
        rollout = rl.data.Rollout(envs, steps, gamma)
        history = agent.fit(
            rollout.dataset(passes=passes),
            steps_per_epoch=rollouts * rollout.updates,
            epochs=epochs,
            callbacks=[
                rl.callbacks.Collect(envs, rollout),
                rl.callbacks.Evaluate("CartPole-v1", 2 if FAST else 20),
            ],
            verbose=0,
        ).history
    print(f"{kind.__name__}, {history['env_steps'][-1]:,} steps; val_return:")
    print("  ", *map(round, history["val_return"]))
    return agent, history


# REINFORCE waits for the end of the episode. Steps whose episode does not end
# within the rollout have no return, and count nothing: so the rollout is as
# long as the longest episode. That is 4,000 steps for one update. (The
# metric `complete` is the share of them that counts.)

epochs, rollouts, steps = (1, 2, 60) if FAST else (15, 4, 500)
optimizer = keras.optimizers.Adam(5e-3)
_, history = learn(
    rl.agents.REINFORCE, optimizer, rollouts, epochs, steps, gamma=0.99
)
print(f"Complete in the last epoch: {history['complete'][-1]:.0%}")
assert FAST or max(history["val_return"]) >= 300

# --- A critic: A2C ----------------------------------------------------------
# With a critic to stand in for what is still to come, nothing needs to end:
# five steps do (A3C, Mnih et al., 2016, algorithm S3; A2C is its synchronous
# form). An update per 40 steps, not per 4,000.

epochs, rollouts, steps = (1, 9, 5) if FAST else (15, 166, 5)
optimizer = keras.optimizers.RMSprop(
    7e-4, 0.99, epsilon=1e-5, global_clipnorm=0.5
)
_, history = learn(
    rl.agents.A2C, optimizer, rollouts, epochs, steps, gamma=0.99
)
assert FAST or max(history["val_return"]) >= 250

# --- More than one pass: clipping -------------------------------------------
# So far a batch is used once: after the update the policy is another, and would
# draw others. Weighted by the ratio of the new probability to the old, the
# draws are still of use; at a ratio of 1 the gradient is the one above, because
# there grad (p / p_old) = grad log p. But to climb on and on is to learn the
# noise of this one batch. PPO (Schulman et al., 2017, eq. 7) climbs
# min(ratio A, clip(ratio, 1 - c, 1 + c) A): once an action that was better than
# expected has become 1 + c times as probable, there is nothing more to gain;
# likewise for worse, below 1 - c. A ratio that has gone the wrong way keeps its
# slope, to come back.

ratio = tf.constant([0.7, 0.9, 1.0, 1.1, 1.3])
for sign, by_hand in ((1.0, [1, 1, 1, 1, 0]), (-1.0, [0, -1, -1, -1, -1])):
    with tf.GradientTape() as tape:
        tape.watch(ratio)
        gain = rl.ops.clipped_surrogate(ratio, sign * tf.ones(5), clip=0.2)
    slopes = tape.gradient(gain, ratio).numpy()
    print(f"Advantage {sign:+.0f}: ratios {ratio.numpy()}, slopes {slopes}")
    assert slopes.tolist() == by_hand

# The bandit again: 64 draws, and 100 steps on them. Unclipped, the policy
# collapses onto what looked best; clipped, it stays near.

action = rng.choice(3, size=64, p=p)
reward = pays[action] + rng.normal(size=64).astype("float32")
advantage = rl.ops.normalize(reward, np.ones(64, "float32"))
old = tf.repeat(logits[None], 64, axis=0)
old_log_prob = bandit.log_prob(old, action)
divergences = []
for clip in (1e9, 0.2):
    new_logits, steps = tf.Variable(logits), []
    for _ in range(100):
        with tf.GradientTape() as tape:
            new = tf.repeat(new_logits[None], 64, axis=0)
            log_prob = bandit.log_prob(new, action)
            ratio = rl.ops.importance_ratio(log_prob, old_log_prob)
            gain = rl.ops.clipped_surrogate(ratio, advantage, clip)
            gain = tf.reduce_mean(gain)
        steps.append(tape.gradient(gain, new_logits))
        new_logits.assign_add(steps[-1])
    # The first one is the policy gradient.
    by_score = score_gradients(action, advantage).mean(axis=0)
    assert np.allclose(steps[0], by_score, atol=1e-6)
    # The divergence from the old policy: as it is, and as the log would
    # estimate it from the draws (Schulman, 2020, k3).
    divergences.append(float(bandit.kl(old, new)[0]))
    kl = tf.reduce_mean(rl.ops.approximate_kl(log_prob, old_log_prob))
    now = tf.nn.softmax(new_logits).numpy().round(3)
    print(f"Clip {clip:g}: from {p.round(3)} to {now}, KL", end=" ")
    print(f"{divergences[-1]:.3f}, estimated {kl:.3f}")
assert divergences[0] > 0.5 and divergences[1] < 0.05

# --- PPO on CartPole --------------------------------------------------------
# 256 steps are collected, then used 20 times over: 20 updates, which run as one
# call into the graph. (`dataset(minibatch_size=64, passes=20)` would make it
# 80, shuffled anew in each pass.) The learning rate and the clip range fall to
# 0, the one over updates, the other over environment steps. These are the
# settings of `rl.train("ppo", "CartPole-v1")`.

epochs, rollouts, passes = (1, 3, 20) if FAST else (15, 26, 20)
decay = keras.optimizers.schedules.PolynomialDecay
rate = decay(1e-3, epochs * rollouts * passes, 0.0)
agent, history = learn(
    rl.agents.PPO,
    keras.optimizers.Adam(rate, epsilon=1e-5, global_clipnorm=0.5),
    rollouts=rollouts,
    epochs=epochs,
    steps=32,
    gamma=0.98,
    passes=passes,
    clip=decay(0.2, 100_000, 0.0),
    lambda_=0.8,
)

# What the log tells. `kl` is how far the policy moves from the one that has
# collected, on average over the updates. As a rule of thumb, above 0.05 the
# steps are too long: lower the learning rate, or the passes. `clipped` is the
# share of ratios out of the range. At 0 clipping has nothing to do; at a half,
# much of the batch teaches nothing any more. (Here the range and the learning
# rate fall together, so the share stays while `kl` vanishes.) `entropy` begins
# at log 2, a coin's, and falls as the policy makes up its mind. If it falls and
# the return does not rise, it was too early: raise `entropy_weight`.

print("epoch  val_return      kl  clipped  entropy")
names = ("val_return", "kl", "clipped", "entropy")
for epoch in range(0, epochs, 2):
    row = [history[name][epoch] for name in names]
    print("{:5}  {:10.0f}  {:.4f}  {:7.3f}  {:7.3f}".format(epoch, *row))
assert max(history["kl"]) < 0.05 and max(history["clipped"]) < 0.5
assert max(history["entropy"]) <= np.log(2)
assert FAST or history["kl"][-1] < history["kl"][0] / 10
assert FAST or history["entropy"][-1] < history["entropy"][0]

result = rl.evaluate(agent, "CartPole-v1", episodes=4 if FAST else 100)
print("PPO, on fresh episodes:", result)
assert FAST or result["mean"] >= 450

# Clipping keeps the policy near the old one by taking away what there is to
# gain. The next chapter does it by a constraint, and by second derivatives.
