"""What all agents that learn from rollouts share."""

import json

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.acting import Driver
from keras_rl2x.acting import Policy
from keras_rl2x.envs import toy
from tests.agents import harness

agents = rl.agents
WITH_CRITIC = [agents.ActorCritic, agents.A2C, agents.PPO, agents.TRPO]
ALL = [agents.REINFORCE, *WITH_CRITIC]


def on_policy(kind, **arguments):
    """A `make_agent` of the harness, with two networks."""
    second = "baseline" if kind is agents.REINFORCE else "critic"
    return harness.on_policy(kind, second, **arguments)


class Target(gymnasium.Env):
    """Shows which of two actions is wanted, and pays for being near it.

    Categories pay the share of them that is right; real numbers cost the mean
    of their squared distances, in units of `scale`.
    """

    def __init__(self, action_space, wanted, scale=None, limit=10):
        self.observation_space = spaces.Discrete(2)
        self.action_space = action_space
        self.wanted = np.array(wanted)
        self.scale = scale
        self.limit = limit

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action))
        error = action - self.wanted[self.state]
        if self.scale is None:
            reward = np.mean(error == 0)
        else:
            reward = -np.mean((error / self.scale) ** 2)
        self.steps += 1
        return self._draw(), reward, False, self.steps == self.limit, {}

    def _draw(self):
        self.state = int(self.np_random.integers(2))
        return self.state


TARGETS = {
    "multi_discrete": lambda: Target(
        spaces.MultiDiscrete([3, 4], start=[1, -1]), [[1, 2], [3, -1]]
    ),
    "multi_binary": lambda: Target(
        spaces.MultiBinary(3), [[0, 1, 0], [1, 1, 0]]
    ),
    "bounded": lambda: Target(
        spaces.Box(np.array([-3, 0], "f4"), np.array([1, 10], "f4")),
        [[-2, 8], [0.5, 3]],
        scale=[2, 5],
    ),
    "unbounded": lambda: Target(
        spaces.Box(-np.inf, np.inf, (2,)), [[1, -0.5], [0, 0.5]], scale=1
    ),
}
SPACES = {"discrete": toy.Identity, **TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_ppo_learns_in_other_action_spaces(name):
    agent = harness.live(
        on_policy(agents.PPO, log_std=-0.5),
        TARGETS[name],
        rollouts=100,
        num_envs=8,
        gamma=0.0,
        minibatch_size=64,
        passes=4,
        learning_rate=keras.optimizers.schedules.PolynomialDecay(
            0.006, 800, 0.0
        ),
    )
    worst = rl.evaluate(agent, TARGETS[name], episodes=4)["min"]
    if "bounded" in name:
        # In 10 steps: a twentieth of the scale, each.
        assert -0.025 < worst <= 0
    else:
        assert worst == 10


@pytest.mark.parametrize("name", TARGETS)
def test_config_and_actions(name):
    make_agent = on_policy(agents.PPO)
    harness.check_config(make_agent, SPACES[name])
    harness.check_actions(make_agent, SPACES[name])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (agents.REINFORCE, "multi_discrete"),
        (agents.ActorCritic, "bounded"),
        (agents.A2C, "multi_binary"),
        (agents.TRPO, "multi_discrete"),
        (agents.TRPO, "unbounded"),
    ],
)
def test_every_agent_learns_from_every_kind_of_action(kind, name):
    agent = harness.live(on_policy(kind), SPACES[name], 3, num_envs=2)
    assert all(np.isfinite(w).all() for w in agent.get_state().values())


def log_prob_of(name, params, action):
    """Written anew, in float64: the logarithms of probabilities `[N]`."""
    params = params.astype("f8")
    action = action.reshape(len(params), -1)

    def categorical(logits, category):
        odds = np.exp(logits)
        p = odds / odds.sum(-1, keepdims=True)
        return np.log(p[np.arange(len(p)), category])

    if name == "discrete":
        return categorical(params, action[:, 0])
    if name == "multi_discrete":
        first = categorical(params[:, :3], action[:, 0])
        return first + categorical(params[:, 3:], action[:, 1])
    if name == "multi_binary":
        p = 1 / (1 + np.exp(-params))
        return np.log(np.where(action == 1, p, 1 - p)).sum(-1)
    mean, log_std = params[:, :2], params[:, 2:]
    deviation = np.exp(log_std)
    density = np.exp(-(((action - mean) / deviation) ** 2) / 2)
    return np.log(density / (deviation * np.sqrt(2 * np.pi))).sum(-1)


@pytest.mark.parametrize("name", SPACES)
def test_log_prob_is_that_of_the_drawn_actions(name):
    with rl.envs.make(SPACES[name], 4, seed=0) as envs:
        agent = on_policy(agents.PPO, log_std=-0.5)(envs)
        rng = np.random.default_rng(0)
        for variable in agent.policy_network.trainable_variables:
            variable.assign(variable + 0.3 * rng.normal(size=variable.shape))
        rollout = rl.data.Rollout(envs, 20, 0.9)
        batches = iter(rollout.dataset())
        policy, driver = Policy(agent, 4), Driver(envs)
        policy.snapshot()
        drawn = []

        def act(obs, begins):
            action = policy.explore(obs, begins)
            params = agent.policy_network(obs).numpy()
            drawn.append(log_prob_of(name, params, action))
            return action

        rollout.begin(driver.reset(seed=0))
        for _ in range(2):
            drawn.clear()
            chunk = driver.run(20, act)
            rollout.write(chunk.rows, chunk.next_obs)
            rollout.prepare(agent)
            batch = next(batches)
            # What exceeded the bounds was clipped for the environment only.
            np.testing.assert_allclose(
                batch["log_prob"], np.concatenate(drawn), atol=1e-4
            )


def test_actions_of_dead_rows_do_not_matter():
    agent = harness.linear_agent(agents.PPO, spaces.Discrete(3))
    rows = some_rows()
    dead = ~rows["live"].numpy()
    assert dead.any()
    one = agent.prepare(rows)
    rows["action"] = tf.where(dead, 2 - rows["action"], rows["action"])
    other = agent.prepare(rows)
    for name in ("value", "advantage", "return", "weight"):
        np.testing.assert_array_equal(one[name], other[name])
    live = one["weight"].numpy() > 0
    np.testing.assert_array_equal(
        one["log_prob"][live], other["log_prob"][live]
    )


def some_rows(steps=12, num_envs=5, gamma=0.9):
    """What `Rollout.rows` gives, invented, with ends of every kind."""
    rng = np.random.default_rng(0)
    shape = (steps, num_envs)
    terminated, truncated = rng.random((2, *shape)) < 0.15
    dead = np.zeros(shape, bool)
    for t in range(steps - 1):
        terminated[t] &= ~dead[t]
        truncated[t] &= ~dead[t]
        dead[t + 1] = terminated[t] | truncated[t]
    terminated[-1] &= ~dead[-1]
    truncated[-1] &= ~dead[-1]
    rows = {
        "obs": rng.normal(size=(steps + 1, num_envs, 2)).astype("f4"),
        "action": rng.integers(3, size=shape).astype("i4"),
        "reward": np.where(dead, 0, rng.normal(size=shape)).astype("f4"),
        "discount": (gamma * ~terminated).astype("f4"),
        "cut": terminated | truncated | dead,
        "live": ~dead,
        "reward_so_far": rng.normal(size=shape).astype("f4"),
    }
    return {name: tf.constant(array) for name, array in rows.items()}


@pytest.mark.parametrize("kind", WITH_CRITIC)
def test_advantages_and_returns(kind):
    lambda_ = {agents.ActorCritic: 0.0, agents.A2C: 1.0}.get(kind, 0.7)
    given = {} if kind is agents.ActorCritic else {"lambda_": lambda_}
    agent = harness.linear_agent(
        kind, spaces.Discrete(3), second="critic", **given
    )
    rows = some_rows()
    added = agent.prepare(rows)
    rows = {name: value.numpy() for name, value in rows.items()}
    _, _, kernel, bias = harness.heads(agent)
    value = (rows["obs"] @ kernel.numpy() + bias.numpy())[..., 0]
    assert (rows["cut"] & (rows["discount"] > 0)).any()
    for env in range(5):
        advantage = 0.0
        for t in reversed(range(12)):
            ahead = rows["discount"][t, env] * value[t + 1, env]
            error = rows["reward"][t, env] + ahead - value[t, env]
            going_on = rows["discount"][t, env] * ~rows["cut"][t, env]
            advantage = error + lambda_ * going_on * advantage
            np.testing.assert_allclose(
                added["advantage"][t, env], advantage, atol=1e-4
            )
    np.testing.assert_allclose(added["value"], value[:-1], atol=1e-5)
    np.testing.assert_allclose(
        added["return"], added["advantage"] + added["value"], atol=1e-5
    )
    np.testing.assert_array_equal(added["weight"], rows["live"])


class Stay(gymnasium.ActionWrapper):
    """Leaves no choice: the value does not depend on the policy."""

    def action(self, action):
        return 0


class Ended(gymnasium.Wrapper):
    """Calls the time limit a termination, as careless code does."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated or truncated, False, info


@pytest.mark.parametrize(
    ("kind", "careless"),
    # The last one is the control.
    [*((kind, False) for kind in WITH_CRITIC), (agents.PPO, True)],
)
def test_chain_is_bootstrapped_at_the_time_limit(kind, careless):
    def env():
        return Stay(Ended(toy.Chain()) if careless else toy.Chain())

    arguments = {"critic_minibatch_size": 32} if kind is agents.TRPO else {}
    agent = harness.live(
        on_policy(kind, **arguments),
        env,
        rollouts=40 if kind is agents.TRPO else 200,
        steps=8,
        gamma=0.8,
        learning_rate=0.03,
    )
    value = float(agent.value_network(np.zeros(1, "int32"))[0])
    if careless:
        assert value < 3.3
    else:
        np.testing.assert_allclose(value, 1 / (1 - 0.8), rtol=0.03)


def test_reinforce_takes_the_time_limit_for_an_end():
    agent = harness.live(
        on_policy(agents.REINFORCE),
        lambda: Stay(toy.Chain()),
        rollouts=300,
        steps=24,  # Four episodes, and their dead rows.
        gamma=0.8,
        learning_rate=0.03,
    )
    value = float(agent.value_network(np.zeros(1, "int32"))[0])
    sums = [sum(0.8**k for k in range(n)) for n in range(1, 6)]
    np.testing.assert_allclose(value, np.mean(sums), rtol=0.05)


# Running statistics.


class Far(gymnasium.Env):
    """Observations far from 0, which are all remembered, and large rewards."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(2)
    lives = []

    def __init__(self):
        self.seen = []
        Far.lives.append(self.seen)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action):
        chance = self.np_random.random()
        return self._draw(), 50.0, chance < 0.1, 0.1 < chance < 0.2, {}

    def _draw(self):
        obs = self.np_random.normal([5, -20], [2, 0.5]).astype("f4")
        self.seen.append(obs)
        return obs


def live_far(kind, **arguments):
    Far.lives.clear()
    agent = harness.live(
        on_policy(kind, normalize=True, **arguments), Far, 5, num_envs=3
    )
    # All but the last of each, which was not acted upon yet.
    lived = np.concatenate([seen[:-1] for seen in Far.lives if seen])
    assert len(lived) == 5 * 16 * 3
    return agent, lived


def statistics_of(agent):
    """Of its networks' inputs: `(count, mean, variance)` for each."""
    found = [
        layer
        for layer in agent.both_networks._flatten_layers()
        if isinstance(layer, rl.networks.RunningNormalization)
    ]
    return [
        tuple(v.numpy() for v in (layer.count, layer.mean, layer.variance))
        for layer in found
    ]


@pytest.mark.parametrize("kind", [agents.REINFORCE, agents.PPO, agents.TRPO])
def test_statistics_are_those_of_the_observations_lived(kind):
    agent, lived = live_far(kind)
    statistics = statistics_of(agent)
    assert len(statistics) == 2
    for count, mean, variance in statistics:
        assert count == len(lived)
        np.testing.assert_allclose(mean, lived.mean(0), rtol=1e-4)
        np.testing.assert_allclose(variance, lived.var(0), rtol=1e-3)


def test_shared_features_count_each_observation_once():
    Far.lives.clear()
    make_agent = harness.on_policy(agents.PPO, normalize=True)
    agent = harness.live(make_agent, Far, 5, num_envs=3, passes=3)
    ((count, _, _),) = statistics_of(agent)
    assert count == 5 * 16 * 3


def test_statistics_are_frozen_but_for_collecting():
    agent, _ = live_far(agents.PPO)
    before = agent.get_state()
    rl.evaluate(agent, Far, episodes=3)
    agent.predict(np.ones((4, 2)), verbose=0)
    agent(np.ones((4, 2)), training=True)
    agent.policy_network(np.ones((4, 2)), training=True)
    harness.assert_same(agent.get_state(), before)
    statistics = statistics_of(agent)
    batch = harness.some_batch(num_actions=2)
    agent.fit(tf.data.Dataset.from_tensors(batch).repeat(4), verbose=0)
    for one, other in zip(statistics_of(agent), statistics):
        for left, right in zip(one, other):
            np.testing.assert_array_equal(left, right)


def test_acting_is_normalized_alike_everywhere():
    agent, lived = live_far(agents.PPO)
    obs = lived[:32].astype("f4")
    params = agent.policy_network(obs).numpy()
    expected = agent.predict(obs, verbose=0)
    assert np.ptp(params, axis=0).min() > 0  # They tell them apart.
    for where in ("host", "graph"):
        policy = Policy(agent, 32, where)
        policy.snapshot()
        np.testing.assert_allclose(policy._network(obs), params, atol=1e-5)
        np.testing.assert_array_equal(policy.greedy(obs), expected)


def test_statistics_are_saved(tmp_path):
    agent, _ = live_far(agents.PPO, normalize_rewards=True)
    agent.save(tmp_path / "agent.keras")
    copy = rl.load(tmp_path / "agent.keras")
    for one, other in zip(statistics_of(copy), statistics_of(agent)):
        for left, right in zip(one, other):
            np.testing.assert_array_equal(left, right)
    for name in ("count", "mean", "variance"):
        left, right = (
            getattr(each.reward_scale, name).numpy() for each in (copy, agent)
        )
        np.testing.assert_array_equal(left, right)
    lived = agent.env_steps.numpy()
    assert copy.reward_scale.count.numpy() == lived < 5 * 16 * 3


@pytest.mark.parametrize("kind", [agents.A2C, agents.PPO, agents.TRPO])
def test_normalized_rewards(kind):
    agent = harness.linear_agent(
        kind,
        spaces.Discrete(3),
        spread=0.0,
        second="critic",
        normalize_rewards=True,
    )
    rows = some_rows(gamma=0.0)  # And all values are 0: only rewards remain.
    rows["reward"] *= 30.0
    seen = []
    for factor in (1.0, 5.0):
        rows["reward_so_far"] *= factor
        seen.append(rows["reward_so_far"][rows["live"]].numpy())
        added = agent.prepare(rows)
        # Not shifted, and clipped to 10.
        scaled = rows["reward"].numpy() / np.concatenate(seen).std()
        expected = np.clip(scaled, -10, 10)
        assert np.any(expected != scaled) and np.any(expected == scaled)
        np.testing.assert_allclose(added["return"], expected, rtol=1e-3)


def test_rewards_are_scaled_by_what_was_lived():
    def lived_rewards(rollouts):
        """The discounted sums, by a naive loop over what was written."""
        so_far = np.zeros(3)
        for rows in rollouts:
            ended = rows["terminated"] | rows["truncated"] | rows["dead"]
            for reward, end, dead in zip(rows["reward"], ended, rows["dead"]):
                so_far = reward + 0.9 * so_far
                yield from so_far[~dead]
                so_far = np.where(end, 0, so_far)

    with rl.envs.make(Far, 3, seed=0) as envs:
        agent = on_policy(agents.PPO, normalize_rewards=True)(envs)
        agent.compile("adam")
        rollout = rl.data.Rollout(envs, 16, 0.9)
        written, write = [], rollout.write

        def spy(rows, *rest):
            written.append({k: np.array(v) for k, v in rows.items()})
            write(rows, *rest)

        rollout.write = spy
        agent.fit(
            rollout.dataset(),
            steps_per_epoch=4,
            callbacks=[rl.callbacks.Collect(envs, rollout)],
            verbose=0,
        )
    sums = np.array(list(lived_rewards(written)))
    scale = agent.reward_scale
    assert len(sums) == scale.count.numpy() < 4 * 16 * 3
    np.testing.assert_allclose(scale.mean.numpy(), sums.mean(), rtol=1e-4)
    np.testing.assert_allclose(scale.variance.numpy(), sums.var(), rtol=1e-3)


# What does not fit together.


def features(*shape):
    return keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(4), keras.layers.Reshape(shape)],
        name="of_mine",
    )


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]),
        spaces.Box(0, 9, (2,), "int32"),
        spaces.Text(3),
        spaces.Dict(a=spaces.Discrete(2)),
    ],
    ids=lambda space: type(space).__name__,
)
def test_wrong_action_space(kind, space):
    second = {"critic": features(4)} if kind is agents.TRPO else {}
    with pytest.raises(TypeError, match="(?s)Received: .*space="):
        kind(features(4), space, **second)


@pytest.mark.parametrize("kind", ALL)
def test_wrong_network(kind):
    actions = spaces.Discrete(2)
    name = "baseline" if kind is agents.REINFORCE else "critic"
    for network, other in (
        (features(2, 2), features(4)),
        (features(4), features(2, 2)),
    ):
        with pytest.raises(
            ValueError, match="'of_mine.*' must end in one vector"
        ):
            kind(network, actions, **{name: other})
    with pytest.raises(TypeError, match="must be a `keras.Model`"):
        kind((64, 64), actions, **{name: features(4)})


def fit(agent, envs, data):
    agent.compile("adam")
    agent.fit(
        harness.dataset(data),
        steps_per_epoch=4,
        callbacks=[
            rl.callbacks.Collect(envs, data),
            *harness.target_updates(agent),
        ],
        verbose=0,
    )


def test_dqn_does_not_learn_from_a_rollout():
    envs = harness.make_envs(toy.Identity)
    network = rl.networks.mlp(envs.single_observation_space, (4,))
    agent = agents.DQN(network, envs.single_action_space)
    with pytest.raises(
        ValueError, match="DQN does not learn from rollouts.*Replay"
    ):
        fit(agent, envs, harness.make_rollout(envs))


def test_ppo_does_not_learn_from_a_replay():
    envs = harness.make_envs(toy.Identity)
    agent = on_policy(agents.PPO)(envs)
    with pytest.raises(ValueError, match="PPO learns from fresh.*Rollout"):
        fit(agent, envs, harness.make_replay(envs))


EXPLORES_SMOOTHLY = [agents.A2C, agents.PPO, agents.TRPO]


def smooth(kind, action_space, correlation):
    """A linear agent whose noise is correlated."""
    return harness.linear_agent(
        kind, action_space, second="critic", noise_correlation=correlation
    )


@pytest.mark.parametrize("kind", EXPLORES_SMOOTHLY)
def test_correlated_noise_is_of_real_actions_only(kind):
    with pytest.raises(
        ValueError, match="Only the noise on continuous .* or act in"
    ):
        smooth(kind, spaces.Discrete(3), 0.5)


@pytest.mark.parametrize("kind", EXPLORES_SMOOTHLY)
def test_noise_may_be_correlated(kind):
    agent = smooth(kind, spaces.Box(-1, 1, (2,)), 0.999)
    config = json.loads(json.dumps(agent.get_config()))
    assert kind.from_config(config).noise_correlation == 0.999
    policy = Policy(agent, 500)
    policy.snapshot()
    obs = np.zeros((500, 2), "f4")
    mean = policy.greedy(obs)
    first, second = (policy.explore(obs) - mean for _ in range(2))
    begun = policy.explore(obs, np.ones(500, "bool")) - mean
    for now, least, most in ((second, 0.99, 1), (begun, -0.2, 0.2)):
        found = np.corrcoef(first.ravel(), now.ravel())[0, 1]
        assert least < found < most
