"""TRPO: the common harness, and what is its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.agents.natural_gradient import assign
from keras_rl2x.agents.natural_gradient import fisher_vector_product
from keras_rl2x.agents.natural_gradient import flatten
from keras_rl2x.envs import toy
from tests.agents import harness

DISCRETE = spaces.Discrete(3)
BOX = spaces.Box(-np.inf, np.inf, (2,))


def trpo(**arguments):
    """A `make_agent` of the harness."""
    arguments = {"critic_minibatch_size": 16, **arguments}
    return harness.on_policy(rl.agents.TRPO, "critic", **arguments)


def test_check_agent(tmp_path):
    # A step is the best one for its batch, so that a second step on the same
    # batch improves less: what falls for sure is the loss of the critic.
    harness.check_agent(
        trpo(normalize=True, critic_passes=1),
        tmp_path,
        make_data=harness.make_rollout,
        falling="value_loss",
    )


def test_solves_bandit():
    agent = harness.live(trpo(max_kl=0.05), toy.Bandit, 40)
    assert rl.evaluate(agent, toy.Bandit, episodes=4)["min"] == 1


def test_another_rollout_may_be_of_another_size():
    with rl.envs.make(toy.Identity, 2, seed=0) as envs:
        agent = trpo()(envs)
        agent.compile(keras.optimizers.Adam(1e-2))
        for steps in (8, 16):
            rollout = rl.data.Rollout(envs, steps, gamma=0.9)
            agent.fit(
                rollout.dataset(),
                steps_per_epoch=2,
                callbacks=[rl.callbacks.Collect(envs, rollout)],
                verbose=0,
            )
    assert int(agent.env_steps) > 2 * 8 + 2 * 16


def test_solves_identity():
    agent = harness.live(
        trpo(max_kl=0.05), toy.Identity, 60, steps=32, gamma=0.5
    )
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


def small_agent(action_space):
    """A policy that is not linear, with weights from a seed."""
    obs = spaces.Box(-1, 1, (2,))
    agent = rl.agents.TRPO(
        rl.networks.mlp(obs, (4,), "tanh", seed=0),
        action_space,
        critic=rl.networks.mlp(obs, (4,), seed=1),
        log_std=-0.3,
        seed=0,
    )
    rng = np.random.default_rng(0)
    for variable in agent.policy_network.trainable_variables:
        variable.assign(variable + rng.normal(size=variable.shape))
    return agent


def dense_fisher(agent, obs, weight):
    """The Fisher matrix `[P, P]`, by its definition.

    The mean of `J' M J`, of the Jacobian of the parameters and of what the
    Fisher matrix of the distribution is in these.
    """
    with tf.GradientTape() as tape:
        params = agent.policy_network(obs)
    variables = agent.policy_network.trainable_variables
    jacobians = tape.jacobian(params, variables)
    size, outputs = params.shape
    jacobian = np.concatenate(
        [np.reshape(part, (size, outputs, -1)) for part in jacobians], axis=-1
    ).astype("f8")
    params = params.numpy().astype("f8")
    if agent.action_spec.kind == "discrete":
        p = np.exp(params) / np.exp(params).sum(-1, keepdims=True)
        inner = p[:, :, None] * (np.eye(outputs) - p[:, None, :])
    else:
        log_std = params[:, outputs // 2 :]
        diagonal = np.concatenate(
            [np.exp(-2 * log_std), np.full_like(log_std, 2)], axis=-1
        )
        inner = diagonal[:, :, None] * np.eye(outputs)
    each = np.einsum("bip,bij,bjq->bpq", jacobian, inner, jacobian)
    return np.average(each, axis=0, weights=weight)


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "box"])
def test_fisher_vector_products(space):
    agent = small_agent(space)
    rng = np.random.default_rng(2)
    obs = tf.constant(rng.normal(size=(6, 2)), "float32")
    weight = tf.constant([1.0, 1, 0, 1, 1, 0])
    expected = dense_fisher(agent, obs, weight)
    variables = agent.policy_network.trainable_variables
    old = tf.constant(agent.policy_network(obs))

    def kl():
        divergence = agent.distribution.kl(old, agent.policy_network(obs))
        return tf.reduce_sum(weight * divergence) / 4

    @tf.function(input_signature=[tf.TensorSpec([len(expected)])])
    def product(vector):
        return fisher_vector_product(kl, variables, vector)

    # Of every unit vector: the columns of the matrix.
    columns = [product(row) for row in np.eye(len(expected), dtype="f4")]
    np.testing.assert_allclose(np.transpose(columns), expected, atol=1e-5)
    vector = rng.normal(size=len(expected)).astype("f4")
    for result in (
        product(vector),
        fisher_vector_product(kl, variables, tf.constant(vector)),
    ):
        np.testing.assert_allclose(result, expected @ vector, atol=1e-5)


def linear(**arguments):
    return harness.linear_agent(
        rl.agents.TRPO,
        DISCRETE,
        second="critic",
        **{"cg_iterations": 50, "cg_damping": 0.1, **arguments},
    )


def on_policy_batch(agent, size=40):
    """A batch whose log-probabilities are the agent's own, as they must be."""
    batch = harness.some_batch(size=size)
    params = agent.policy_network(batch["obs"])
    batch["log_prob"] = agent.distribution.log_prob(params, batch["action"])
    return batch


def policy_weights(agent):
    return flatten(
        [tf.identity(v) for v in agent.policy_network.trainable_variables]
    ).numpy()


def mean_kl(agent, old, batch):
    """From the old parameters to the present ones, over what lives."""
    log_p, log_q = (
        tf.nn.log_softmax(logits)
        for logits in (old, agent.policy_network(batch["obs"]))
    )
    kl = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)
    return harness.mean_of_live(kl, batch).numpy()


def test_equation():
    agent = linear(max_kl=1e-3)
    batch = on_policy_batch(agent)
    before, old = policy_weights(agent), agent.policy_network(batch["obs"])
    fisher = dense_fisher(agent, batch["obs"], batch["weight"])
    variables = agent.policy_network.trainable_variables
    advantage = batch["advantage"].numpy()
    live = advantage[batch["weight"].numpy() > 0]
    advantage = (advantage - live.mean()) / live.std()
    with tf.GradientTape() as tape:
        log_p = tf.nn.log_softmax(agent.policy_network(batch["obs"]))
        ratio = tf.exp(harness.of_actions(log_p, batch) - batch["log_prob"])
        surrogate = harness.mean_of_live(ratio * advantage, batch)
    gradient = flatten(tape.gradient(surrogate, variables)).numpy()
    damped = fisher + 0.1 * np.eye(len(fisher))
    direction = np.linalg.solve(damped, gradient)
    step = direction * np.sqrt(2e-3 / (direction @ damped @ direction))
    logs = agent.train_step(batch)
    assert logs["step_size"] == 1
    moved = policy_weights(agent) - before
    np.testing.assert_allclose(moved, step, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        logs["kl"], mean_kl(agent, old, batch), rtol=1e-3, atol=1e-7
    )
    log_p = tf.nn.log_softmax(agent.policy_network(batch["obs"]))
    ratio = tf.exp(harness.of_actions(log_p, batch) - batch["log_prob"])
    after = harness.mean_of_live(ratio * advantage, batch)
    np.testing.assert_allclose(
        logs["improvement"], after - surrogate, rtol=1e-3, atol=1e-7
    )


def test_the_line_search_shrinks_the_step():
    # So far that the quadratic model is wrong.
    agent = linear(max_kl=1.0, cg_damping=1e-3, line_search_shrink=0.5)
    batch = on_policy_batch(agent)
    old = agent.policy_network(batch["obs"])
    logs = agent.train_step(batch)
    size = float(logs["step_size"])
    assert size in [0.5**i for i in range(1, 10)]
    assert 0 < mean_kl(agent, old, batch) <= 1.0
    # And no further than it must: twice the step is too long.
    start = linear(max_kl=1.0)
    before = policy_weights(start)
    assign(
        start.policy_network.trainable_variables,
        before + 2 * (policy_weights(agent) - before),
    )
    assert mean_kl(start, old, batch) > 1.0


@pytest.mark.parametrize("why", ["flat", "nan", "too far"])
def test_a_refused_step_leaves_the_policy_as_it_was(why, monkeypatch):
    agent = linear()
    batch = on_policy_batch(agent)
    if why == "flat":
        batch["advantage"] = tf.ones_like(batch["advantage"])
    elif why == "nan":
        batch["advantage"] *= np.nan
    else:
        # No step is short enough for a divergence that is always 1 more.
        kl = agent.distribution.kl
        monkeypatch.setattr(agent.distribution, "kl", lambda p, q: 1 + kl(p, q))
    before = policy_weights(agent)
    critic = agent.value_network.get_weights()
    logs = agent.train_step(batch)
    np.testing.assert_array_equal(policy_weights(agent), before)
    for name in ("step_size", "improvement", "kl", "loss"):
        assert logs[name] == 0
    # The critic has learnt nonetheless.
    assert np.any(agent.value_network.get_weights()[-1] != critic[-1])


def test_regularizers_pull_on_the_policy():
    agent = linear()
    batch = on_policy_batch(agent)
    batch["advantage"] = tf.ones_like(batch["advantage"])
    kernel = agent.policy_network.trainable_variables[0]
    kernel.regularizer = keras.regularizers.L2(0.5)
    before = 0.5 * np.sum(kernel.numpy() ** 2)
    logs = agent.train_step(batch)
    after = 0.5 * np.sum(kernel.numpy() ** 2)
    assert after < before
    np.testing.assert_allclose(logs["improvement"], before - after, rtol=1e-3)


class Steps(rl.callbacks.GraphCallback):
    """Keeps what every update says, and whether it moved the policy."""

    names = ("kl", "improvement", "step_size")

    def __init__(self, updates):
        super().__init__()
        self.count = tf.Variable(0)
        self.values = tf.Variable(tf.zeros([updates, len(self.names)]))
        self.moved = tf.Variable(tf.zeros([updates], tf.bool))
        self.before = None

    def on_train_begin(self, logs=None):
        self.before = tf.Variable(self._weights(self.model))

    def on_update(self, agent, batch, values):
        now = self._weights(agent)
        self.moved[self.count].assign(tf.reduce_any(now != self.before))
        self.before.assign(now)
        self.values[self.count].assign(
            tf.stack([values[name] for name in self.names])
        )
        self.count.assign_add(1)

    @staticmethod
    def _weights(agent):
        variables = agent.policy_network.trainable_variables
        return flatten([tf.identity(variable) for variable in variables])


class Aim(toy.Identity):
    """`Identity` with a real action: the nearer to what is shown the better."""

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Box(-3, 3, (1,))

    def step(self, action):
        distance = float(abs(action[0] - self.state + 1.5))
        self.steps += 1
        over = self.steps >= self.limit
        return self._draw(), -distance, False, over, {}


@pytest.mark.parametrize("env", [toy.Identity, Aim])
def test_every_step_keeps_the_constraint_and_improves(env):
    # So long that in the end there may be nothing left to improve, and few
    # steps are tried: then they are refused, but nearly none before. (With
    # 0.05 one processor had nothing left after 24 updates.)
    steps = Steps(80)
    make_agent = trpo(max_kl=0.02, cg_damping=1e-3, line_search_steps=4)
    harness.live(make_agent, env, 80, gamma=0.5, callbacks=[steps])
    assert steps.count.numpy() == 80
    kl, improvement, size = steps.values.numpy().T
    accepted = size > 0
    assert accepted[:30].mean() > 0.8
    assert np.all(kl[accepted] <= 0.02) and np.all(kl[accepted] > 0)
    assert np.all(improvement[accepted] > 0)
    np.testing.assert_array_equal(steps.moved, accepted)


@pytest.mark.parametrize(("env_steps", "now"), [(0, 1e-3), (25, 8e-4)])
def test_the_constraint_may_shrink(env_steps, now):
    falling = keras.optimizers.schedules.PolynomialDecay(1e-3, 100, 2e-4)
    moved = []
    for max_kl in (falling, now):
        agent = linear(max_kl=max_kl)
        batch = on_policy_batch(agent)
        agent.env_steps.assign(env_steps)
        agent.train_step(batch)
        moved.append(policy_weights(agent))
    np.testing.assert_allclose(*moved, rtol=1e-5, atol=1e-7)


def test_the_critic_learns_in_minibatches():
    agent = linear(critic_passes=7, critic_minibatch_size=8)
    agent.compile(keras.optimizers.SGD(0.01))
    batch = on_policy_batch(agent)
    first = float(agent.train_step(batch)["value_loss"])
    # 40 cells make five minibatches in each of seven passes.
    assert agent.optimizer.iterations.numpy() == 35
    value = agent.value_network(batch["obs"])
    error = (value - batch["return"]) ** 2
    assert harness.mean_of_live(error, batch) < first


@pytest.mark.parametrize(
    ("size", "weight"), [(8, np.ones(16)), (16, np.arange(16) % 2)]
)
def test_the_logged_loss_of_the_critic_is_a_mean(size, weight):
    with rl.envs.make(toy.Identity, 2, seed=0) as envs:
        agent = trpo(critic_passes=3, critic_minibatch_size=size)(envs)
    agent.compile(keras.optimizers.SGD(0.0))
    batch = {
        "obs": tf.range(16) % 4,
        "return": tf.range(16.0),
        "weight": tf.constant(weight, "float32"),
    }
    error = agent.value_network(batch["obs"]) - batch["return"]
    mean = np.average(np.square(error), weights=weight)
    np.testing.assert_allclose(agent._fit_critic(batch), mean, rtol=1e-5)


@pytest.mark.parametrize("critic", [None, "network"])
def test_it_needs_a_critic_of_its_own(critic):
    network = rl.networks.mlp(spaces.Box(-1, 1, (2,)), (4,))
    critic = network if critic else None
    with pytest.raises(ValueError, match="TRPO needs a `critic` of its own"):
        rl.agents.TRPO(network, DISCRETE, critic=critic)
