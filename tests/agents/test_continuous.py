"""Agents of real actions: what SAC, TD3, DDPG, TQC and CrossQ share."""

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
    found = {"network": rl.networks.mlp(space, units, seed=0)}
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
ALL = pytest.mark.parametrize("kind", [agents.DDPG, agents.TD3, *SOFT])


@ALL
def test_check_agent(kind, tmp_path):
    harness.check_agent(make(kind), tmp_path, env=toy.Reach)


@ALL
def test_solves_reach(kind):
    with rl.envs.make(toy.Reach, num_envs=4, seed=0) as envs:
        fast = {"actor_optimizer": keras.optimizers.Adam(1e-2)}
        if kind in SOFT:
            fast |= {
                "temperature": 0.1,
                "temperature_optimizer": keras.optimizers.Adam(1e-2),
            }
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


@pytest.mark.parametrize("kind", [agents.SAC, agents.TD3, agents.TQC])
def test_critics_are_in_training_only_where_they_are_fitted(kind):
    envs = rl.envs.make(toy.Reach)
    agent = make(kind, **networks(agents.CrossQ, envs))(envs)
    agent.compile(keras.optimizers.Adam(1e-2))
    agent.train_step(batch_of(envs))
    norm = rl.networks.BatchRenormalization
    layers = [x for c in agent.critics for x in c.layers if type(x) is norm]
    assert [int(layer.batches) for layer in layers] == [1, 1, 1, 1]


def batch_of(envs, size=4):
    rng = np.random.default_rng(0)
    shape = envs.single_action_space.shape
    return {
        "obs": tf.constant(rng.uniform(-1, 1, (size, *shape)), "float32"),
        "action": tf.constant(rng.uniform(-1, 1, (size, *shape)), "float32"),
        "reward": tf.constant([1.0, 2, 3, 4]),
        "discount": tf.constant([0.9, 0.9, 0, 0.9]),
        "next_obs": tf.constant(rng.uniform(-1, 1, (size, *shape)), "float32"),
        "weight": tf.ones(size),
    }


def test_ddpg_regresses_on_the_value_of_the_target_actor():
    envs = rl.envs.make(toy.Reach)
    agent = make(agents.DDPG)(envs)
    agent.compile(keras.optimizers.SGD(0.0))
    batch = batch_of(envs)
    action = agent.actor(batch["next_obs"])
    critic = agent.critic_networks[0]
    following = critic({"action": action, "observation": batch["next_obs"]})
    target = batch["reward"] + batch["discount"] * following
    value = critic({"action": batch["action"], "observation": batch["obs"]})
    values = agent.train_step(batch)
    wanted = np.mean(0.5 * np.square(target - value))
    np.testing.assert_allclose(values["loss"], wanted, rtol=1e-5)
    np.testing.assert_allclose(values["q_value"], np.mean(value), rtol=1e-5)


def test_td3_bootstraps_from_the_lesser_of_two_targets():
    envs = rl.envs.make(toy.Reach)
    agent = make(agents.TD3, target_noise=0.0)(envs)
    agent.compile(keras.optimizers.SGD(0.0))
    batch = batch_of(envs)
    action = agent.actor(batch["next_obs"])
    following = [
        critic({"action": action, "observation": batch["next_obs"]})
        for critic in agent.critic_networks
    ]
    target = batch["reward"] + batch["discount"] * np.minimum(*following)
    losses = [
        np.mean(
            0.5
            * np.square(
                target
                - critic(
                    {"action": batch["action"], "observation": batch["obs"]}
                )
            )
        )
        for critic in agent.critic_networks
    ]
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], sum(losses), rtol=1e-5)


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


def test_td3_smooths_within_the_clip():
    envs = rl.envs.make(toy.Reach)
    agent = make(agents.TD3, target_noise=5.0, target_noise_clip=0.1)(envs)
    obs = tf.zeros((200, 2))
    away = np.abs(agent._smoothed(obs) - agent.target_actor(obs))
    assert 0.09 < away.max() <= 0.1 + 1e-6


def test_sac_steers_its_entropy():
    envs = rl.envs.make(toy.Reach)
    for target, rises in ((5.0, True), (-50.0, False)):
        agent = make(agents.SAC, target_entropy=target)(envs)
        agent.compile(keras.optimizers.Adam(1e-2))
        before = float(agent.log_temperature)
        agent.train_step(batch_of(envs))
        assert (float(agent.log_temperature) > before) == rises


def test_sac_subtracts_the_log_probability():
    envs = rl.envs.make(toy.Reach)
    agent = make(agents.SAC, temperature=0.5)(envs)
    agent.compile(keras.optimizers.SGD(0.0))
    batch = batch_of(envs)
    seed = agent.seed_generator.state.numpy()
    action, log_prob = agent.distribution.sample_and_log_prob(
        agent.actor(batch["next_obs"]), agent.seed_generator
    )
    agent.seed_generator.state.assign(seed)
    following = [
        critic({"action": action, "observation": batch["next_obs"]})
        for critic in agent.critic_networks
    ]
    soft = np.minimum(*following) - 0.5 * log_prob
    target = batch["reward"] + batch["discount"] * soft
    inputs = {"action": batch["action"], "observation": batch["obs"]}
    losses = [
        np.mean(0.5 * np.square(target - critic(inputs)))
        for critic in agent.critic_networks
    ]
    values = agent.train_step(batch)
    np.testing.assert_allclose(values["loss"], sum(losses), rtol=1e-5)
