"""Agents of continuous actions: what SAC, TD3, DDPG, TQC and CrossQ share."""

import gymnasium
import gymnasium.spaces as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x.envs import toy
from tests.agents import harness


def networks(kind, envs, units=(16,)):
    """The network and the critics that an agent takes, as keywords."""
    space, actions = envs.single_observation_space, envs.single_action_space
    layer = rl.networks.BatchRenormalization if kind is agents.CrossQ else None
    critics = [
        rl.networks.mlp(
            space, units, seed=seed, action_space=actions, normalization=layer
        )
        for seed in (1, 2)
    ]
    network = rl.networks.mlp(space, units, seed=0, normalization=layer)
    found = {"network": network}
    if kind is agents.DDPG:
        return {**found, "critic": critics[0]}
    return {**found, "critics": critics}


def make(kind, units=(16,), **arguments):
    def make_agent(envs):
        return kind(
            action_space=envs.single_action_space,
            seed=0,
            **{**networks(kind, envs, units), **arguments},
        )

    return make_agent


SOFT = [agents.CrossQ, agents.SAC, agents.TQC]
KINDS = [agents.DDPG, agents.TD3, *SOFT]
ALL = pytest.mark.parametrize("kind", KINDS)


@ALL
def test_check_agent(kind, tmp_path):
    harness.check_agent(make(kind), tmp_path, env=toy.Reach)


class Uneven(gymnasium.Env):
    """Goals to observe; actions are no vector, and 0 is not in the middle."""

    names = ("achieved_goal", "desired_goal", "observation")

    def __init__(self):
        self.observation_space = gym.Dict(
            {name: gym.Box(-1, 1, (2,)) for name in self.names}
        )
        low = np.array([[-3.0, 0, -0.1], [0.5, -0.5, -2]])
        high = low + [[1, 2, 0.3], [1, 0.7, 2.5]]
        self.action_space = gym.Box(low, high, dtype="float64")

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action):
        assert action in self.action_space, action
        reward = -float(np.mean(action))
        over = bool(self.np_random.random() < 0.2)
        return self._observe(), reward, over, False, {}

    def _observe(self):
        return {
            name: self.np_random.uniform(-1, 1, 2).astype("float32")
            for name in self.observation_space
        }


@pytest.mark.parametrize("kind", [agents.CrossQ, agents.SAC, agents.TD3])
def test_goals_and_uneven_actions(kind):
    harness.check_config(make(kind), Uneven)
    harness.check_actions(make(kind), Uneven)
    harness.fit(make(kind), Uneven)


class Named(Uneven):
    """Observations that are called as the inputs of critics are."""

    names = ("action", "observation")


def test_an_observation_may_be_called_action():
    harness.check_config(make(agents.SAC), Named)
    harness.fit(make(agents.SAC), Named)


@ALL
def test_solves_reach(kind):
    with rl.envs.make(toy.Reach, num_envs=4, seed=0) as envs:
        fast = {"actor_optimizer": keras.optimizers.Adam(1e-2)}
        if kind in SOFT:
            fast |= {
                "temperature": 0.1,
                "temperature_optimizer": keras.optimizers.Adam(1e-2),
            }
        if kind is agents.CrossQ:
            # The actor's statistics follow it only where it is fitted: at
            # this learning rate, too slowly for one update in three.
            fast["actor_every"] = 1
        agent = make(kind, (32, 32), **fast)(envs)
        agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=20)
        replay = rl.data.Replay(envs, 4_000, gamma=0.5)
        agent.fit(
            replay.dataset(64),
            steps_per_epoch=1_000,
            callbacks=[
                rl.callbacks.Collect(envs, replay, warmup=400),
                rl.callbacks.TargetUpdate(1, 0.05),
            ],
            verbose=0,
        )
    # Random actions cost 1.67 a step, or 16.7.
    assert rl.evaluate(agent, toy.Reach, episodes=20)["mean"] > -0.3


@ALL
@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        (gym.Discrete(3), TypeError, "acts in a `Box` space only"),
        (gym.Box(-np.inf, np.inf, (2,)), ValueError, "acts within bounds"),
        (gym.Box(0, np.inf, (2,)), ValueError, "acts within bounds"),
    ],
)
def test_wrong_action_space(kind, space, error, message):
    envs = rl.envs.make(toy.Reach)
    with pytest.raises(error, match=f"{kind.__name__} {message}"):
        kind(action_space=space, **networks(kind, envs))


@pytest.mark.parametrize("kind", [agents.CrossQ, agents.SAC, agents.TD3])
def test_critics_must_be_two_of_their_own(kind):
    envs = rl.envs.make(toy.Reach)
    found = networks(kind, envs)
    first, _ = found.pop("critics")
    for wrong in ([first], [first, first]):
        with pytest.raises(ValueError, match="needs 2 critics, each a"):
            kind(action_space=envs.single_action_space, critics=wrong, **found)


@ALL
def test_critic_without_an_action(kind):
    envs = rl.envs.make(toy.Reach)
    wrong = [rl.networks.mlp(envs.single_observation_space) for _ in "12"]
    found = networks(kind, envs)
    found |= {"critic": wrong[0]} if "critic" in found else {"critics": wrong}
    with pytest.raises(ValueError, match="'mlp' must take a dict"):
        kind(action_space=envs.single_action_space, **found)


@ALL
@pytest.mark.parametrize("correlation", [-0.1, 1, float("nan")])
def test_wrong_correlation(kind, correlation):
    with pytest.raises(ValueError, match="at least 0 and less than 1. Rec"):
        make(kind, noise_correlation=correlation)(rl.envs.make(toy.Reach))


def fit_with_correlated_noise(kind, directory, epochs, correlation, overlap):
    """The states of the agent, and of what it lived through, in the end."""
    with rl.envs.make(toy.Reach, num_envs=3, seed=0) as envs:
        agent = make(kind, noise_correlation=correlation)(envs)
        agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=4)
        replay = rl.data.Replay(envs, 200, gamma=0.9)
        collect = rl.callbacks.Collect(
            envs, replay, 1.6, warmup=20, overlap=overlap
        )
        agent.fit(
            replay.dataset(16),
            steps_per_epoch=16,
            epochs=epochs,
            callbacks=[
                collect,
                rl.callbacks.TargetUpdate(2, 0.05),
                rl.callbacks.Checkpoint(directory, every=2),
            ],
            verbose=0,
        )
    return agent.get_state(), collect.get_state()


@pytest.mark.parametrize(
    ("kind", "overlap"),
    [(agents.DDPG, False), (agents.TD3, True), (agents.SAC, True)],
)
def test_correlated_noise_is_resumed_exactly(kind, overlap, tmp_path):
    def fit(name, epochs, correlation=0.9):
        return fit_with_correlated_noise(
            kind, tmp_path / name, epochs, correlation, overlap
        )

    fit("resumed", 2)
    resumed, whole = fit("resumed", 4), fit("whole", 4)
    np.testing.assert_equal(resumed, whole)
    # It matters: else this would say nothing.
    with pytest.raises(AssertionError):
        np.testing.assert_equal(fit("white", 4, 0.0), whole)


# After one update TD3 has not fitted its actor yet.
@pytest.mark.parametrize(
    ("kind", "fitted"), [(agents.SAC, 1), (agents.TD3, 0), (agents.TQC, 1)]
)
def test_networks_are_in_training_only_where_they_are_fitted(kind, fitted):
    envs = rl.envs.make(toy.Reach)
    agent = make(kind, **networks(agents.CrossQ, envs))(envs)
    agent.compile(keras.optimizers.Adam(1e-2))
    agent.train_step(batch_of(envs))
    norm = rl.networks.BatchRenormalization

    def batches(network):
        return [int(x.batches) for x in network.layers if type(x) is norm]

    assert [batches(critic) for critic in agent.critics] == [[1, 1], [1, 1]]
    assert batches(agent.network) == [fitted, fitted]


def batch_of(envs):
    """Four transitions: one ended and counts half, one does not count."""
    rng = np.random.default_rng(0)
    shape = envs.single_action_space.shape
    return {
        "obs": tf.constant(rng.uniform(-1, 1, (4, *shape)), "float32"),
        "action": tf.constant(rng.uniform(-1, 1, (4, *shape)), "float32"),
        "reward": tf.constant([1.0, 2, 3, 4]),
        "discount": tf.constant([0.9, 0.9, 0, 0.9]),
        "next_obs": tf.constant(rng.uniform(-1, 1, (4, *shape)), "float32"),
        "weight": tf.constant([1.0, 1, 0.5, 0]),
    }


def some(kind, optimizer=None, **arguments):
    """An agent whose targets are not their sources, and a batch for it."""
    envs = rl.envs.make(toy.Reach)
    agent = make(kind, **arguments)(envs)
    agent.compile(optimizer or keras.optimizers.SGD(0.0))
    rng = np.random.default_rng(10)
    for target, _ in agent.targets:
        for copy in target.copies:
            copy.assign_add(rng.normal(0, 0.5, copy.shape))
    return agent, batch_of(envs)


def draw(agent, *observations):
    """What the agent will draw for these; its generator stays as it is."""
    seed = agent.seed_generator.state.numpy()
    drawn = [
        agent.distribution.sample_and_log_prob(
            agent.actor(obs), agent.seed_generator
        )
        for obs in observations
    ]
    agent.seed_generator.state.assign(seed)
    return drawn


def judge(critics, obs, action):
    """List of what each critic says of these actions."""
    inputs = {"action": action, "observation": obs}
    return [critic(inputs) for critic in critics]


def lesser(estimates):
    """The lesser of two estimates `[4]`; each must be it where it counts."""
    assert sorted(np.argmin(estimates, axis=0)[:2]) == [0, 1]
    return np.min(estimates, axis=0)


def loss_of(agent, batch, following):
    """The critics' loss, where `following` is what comes after the rewards."""
    target = batch["reward"] + batch["discount"] * following
    estimates = judge(agent.critic_networks, batch["obs"], batch["action"])
    errors = [np.square(target - estimate) for estimate in estimates]
    return sum(np.mean(batch["weight"] * 0.5 * error) for error in errors)


@pytest.mark.parametrize("kind", [agents.DDPG, agents.TD3, *SOFT[1:]])
def test_every_target_has_its_source(kind):
    agent, _ = some(kind)
    wanted = list(zip(agent.target_critics, agent.critic_networks))
    if kind not in SOFT:
        wanted.insert(0, (agent.target_actor, agent.actor))
    assert agent.targets == tuple(wanted)


def test_ddpg_regresses_on_the_value_of_the_target_actor():
    agent, batch = some(agents.DDPG)
    action = agent.target_actor(batch["next_obs"])
    (following,) = judge(agent.target_critics, batch["next_obs"], action)
    wanted = loss_of(agent, batch, following)
    (value,) = judge(agent.critic_networks, batch["obs"], batch["action"])
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], wanted, rtol=1e-5)
    np.testing.assert_allclose(values["q_value"], np.mean(value), rtol=1e-5)


def test_td3_bootstraps_from_the_lesser_of_two_targets():
    agent, batch = some(agents.TD3, target_noise=0.3)
    seed = agent.seed_generator.state.numpy()
    noise = keras.random.normal((4, 2), stddev=0.3, seed=agent.seed_generator)
    agent.seed_generator.state.assign(seed)
    action = agent.target_actor(batch["next_obs"]) + np.clip(noise, -0.5, 0.5)
    following = judge(
        agent.target_critics, batch["next_obs"], np.clip(action, -1, 1)
    )
    wanted = loss_of(agent, batch, lesser(following))
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], wanted, rtol=1e-5)


def test_td3_moves_its_actor_every_second_update():
    envs = rl.envs.make(toy.Reach)
    agent = make(agents.TD3)(envs)
    agent.compile(keras.optimizers.Adam(1e-2))
    step = tf.function(agent.train_step, autograph=False)
    batch = batch_of(envs)
    moved = []
    for _ in range(4):
        before = agent.actor.get_weights()
        step(batch)
        after = agent.actor.get_weights()
        moved.append(not np.array_equal(before[0], after[0]))
    assert moved == [False, True, False, True]


def test_td3_smooths_within_the_clip_and_the_bounds():
    envs = rl.envs.make(toy.Reach)
    agent = make(agents.TD3, target_noise=5.0, target_noise_clip=0.1)(envs)
    # Where nothing is observed, the tanh of the bias is all there is.
    agent.target_actor.copies[-1].assign([-9.0, 9.0])
    smoothed = np.array(agent._smoothed(tf.zeros((200, 2))))
    np.testing.assert_allclose(smoothed.min(axis=0), [-1, 0.9], atol=1e-6)
    np.testing.assert_allclose(smoothed.max(axis=0), [-0.9, 1], atol=1e-6)


def test_sac_steers_its_entropy():
    for target, rises in ((5.0, True), (-50.0, False)):
        agent, batch = some(
            agents.SAC, keras.optimizers.Adam(1e-2), target_entropy=target
        )
        before = float(agent.log_temperature)
        agent.train_step(batch)
        assert (float(agent.log_temperature) > before) == rises


def test_sac_subtracts_the_log_probability():
    agent, batch = some(agents.SAC, temperature=0.5)
    ((action, log_prob),) = draw(agent, batch["next_obs"])
    following = judge(agent.target_critics, batch["next_obs"], action)
    wanted = loss_of(agent, batch, lesser(following) - 0.5 * log_prob)
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], wanted, rtol=1e-5)


# What the critics say together of an action, as actors see it.
JUDGEMENT = {
    agents.DDPG: lambda values: values[0],
    agents.TD3: lambda values: values[0],
    agents.CrossQ: lambda values: tf.reduce_min(values, axis=0),
    agents.SAC: lambda values: tf.reduce_min(values, axis=0),
    agents.TQC: lambda values: tf.reduce_mean(values, axis=(0, 2)),
}


@ALL
def test_an_actor_climbs_what_the_critics_say(kind):
    arguments = {"actor_optimizer": keras.optimizers.SGD(1.0)}
    if kind in (agents.CrossQ, agents.TD3):
        arguments["actor_every"] = 1
    if kind in SOFT:
        arguments["temperature"] = 0.5
    if kind is agents.CrossQ:  # Its critics' statistics would move first.
        arguments |= networks(agents.SAC, rl.envs.make(toy.Reach))
    agent, batch = some(kind, **arguments)
    obs, variables = batch["obs"], agent.actor.trainable_variables
    with tf.GradientTape() as tape:
        action, log_prob = agent.actor(obs), 0.0
        if kind in SOFT:
            _, (action, log_prob) = draw(agent, batch["next_obs"], obs)
        value = JUDGEMENT[kind](judge(agent.critic_networks, obs, action))
        loss = -tf.reduce_mean(value - 0.5 * log_prob)
    gradients = tape.gradient(loss, variables)
    wanted = [v - gradient for v, gradient in zip(variables, gradients)]
    values = agent.train_step(batch)
    for variable, value in zip(variables, wanted):
        np.testing.assert_allclose(variable, value, atol=1e-5)
    if "actor_loss" in values:
        np.testing.assert_allclose(values["actor_loss"], loss, rtol=1e-5)


@pytest.mark.parametrize("kind", [agents.DDPG, agents.TD3])
def test_noise_follows_a_schedule_over_env_steps(kind):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 100, 0.1)
    agent = make(kind, noise=schedule)(rl.envs.make(toy.Reach))
    seen = []
    for env_steps in (0, 50, 1_000):
        agent.env_steps.assign(env_steps)
        seen.append(agent.exploration()["noise"])
    np.testing.assert_allclose(seen, [0.5, 0.3, 0.1], rtol=1e-6)
    copy = kind.from_config(agent.get_config())
    assert copy.noise.get_config() == schedule.get_config()


@pytest.mark.parametrize("kind", KINDS)
def test_what_becomes_a_priority_is_not_weighted(kind):
    seen = []
    for weight in (1.0, 0.25):
        agent, batch = some(kind)
        batch["weight"] = tf.fill([4], weight)
        agent.finish = lambda batch, **values: values
        seen.append(agent.train_step(batch)["td_error"].numpy())
    assert seen[0].shape == (4,) and np.all(seen[0] > 0)
    np.testing.assert_allclose(*seen, rtol=1e-5)


def test_a_step_of_the_temperature_by_hand():
    agent, batch = some(
        agents.SAC,
        temperature=0.5,
        target_entropy=-2.0,
        temperature_optimizer=keras.optimizers.SGD(0.1),
    )
    entropy = agent.train_step(batch)["entropy"]
    # The loss falls with the logarithm: by what the entropy is too large.
    expected = np.log(0.5) - 0.1 * (entropy + 2)
    np.testing.assert_allclose(agent.log_temperature, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", SOFT)
def test_the_usual_target_entropy_is_one_for_each_number(kind):
    for env, size in ((toy.Reach, 2), (Uneven, 6)):
        assert make(kind)(rl.envs.make(env)).target_entropy == -size
