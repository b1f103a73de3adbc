"""Noise that explores, in DQN and in Rainbow; and what Rainbow is."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x import compose_networks
from keras_rl2x import presets
from keras_rl2x.acting import Policy
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.agents.test_value_based import ARGUMENTS
from tests.agents.test_value_based import batch_of

KINDS = {
    "dqn": {"kind": agents.DQN, "epsilon": 0.0},
    "rainbow": {
        "kind": agents.Rainbow,
        "v_min": -1.0,
        "v_max": 3.0,
        "atoms": 21,
    },
}
ALL = pytest.mark.parametrize("name", KINDS)


def make(name, seed=0, noisy=True, **changed):
    """A `make_agent` of the harness; a noisy one is noisy in all layers."""

    def make_agent(envs):
        arguments = {**KINDS[name], "noisy": noisy, **changed}
        kind = arguments.pop("kind")
        network = rl.networks.mlp(
            envs.single_observation_space, (16,), noisy=noisy, seed=seed
        )
        return kind(network, envs.single_action_space, seed=seed, **arguments)

    return make_agent


def compiled(name, learning_rate=0.01, **changed):
    agent = make(name, **changed)(rl.envs.make(toy.Identity))
    agent.compile(keras.optimizers.SGD(learning_rate))
    return agent


def loud(name):
    """An agent whose best actions are lost in the noise."""
    agent = compiled(name)
    for layer in agent.policy.layers:
        if isinstance(layer, rl.networks.NoisyDense):
            layer.kernel_sigma.assign(10 + 0 * layer.kernel_sigma)
    return agent


def noise(agent):
    """Arrays: all noise of the online network, and of the target."""
    ((target, source),) = agent.targets
    found = [rl.networks.noise_variables(one) for one in (source, target)]
    return [np.concatenate([v.numpy() for v in one]) for one in found]


def prioritized(envs):
    return rl.data.PrioritizedReplay(envs, 300, gamma=0.9, n_step=3)


@ALL
def test_check_agent(name, tmp_path):
    harness.check_agent(make(name), tmp_path, make_data=prioritized)


@ALL
def test_every_update_draws_both_networks_noise(name):
    agent = compiled(name)
    seen = noise(agent)
    assert not np.any(seen)  # Nothing is drawn yet.
    for _ in range(2):
        agent.train_step(batch_of())
        seen += noise(agent)
    drawn = np.concatenate(seen[2:])
    assert len(np.unique(drawn)) == len(drawn) == 4 * len(seen[0])


@pytest.mark.parametrize("kind", [agents.DQN, *ARGUMENTS])
def test_the_network_alone_may_be_noisy(kind):
    network = rl.networks.mlp(gym.Discrete(4), (16,), noisy=True, seed=0)
    agent = kind(network, gym.Discrete(4), seed=0, **ARGUMENTS.get(kind, {}))
    agent.compile(keras.optimizers.SGD(0.01))
    agent.train_step(batch_of())
    for drawn in noise(agent):
        assert len(drawn) == 4 + 16 and np.all(drawn)


@ALL
@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_moving_the_target_leaves_all_noise_alone(name, tau):
    agent = compiled(name)
    agent.train_step(batch_of())
    before = noise(agent)
    ((target, source),) = agent.targets
    rl.networks.track(target, source, tau)
    np.testing.assert_array_equal(noise(agent), before)


@ALL
def test_the_best_actions_are_those_without_noise(name):
    agent, obs = loud(name), np.arange(4)
    best = np.argmax(agent.policy(obs), axis=-1)
    policies = [Policy(agent, 4, where) for where in ("host", "graph")]
    explored = []
    for _ in range(10):
        acted = agent.act(obs)
        # By noise that it has drawn for this.
        noisy = np.argmax(agent.policy(obs), axis=-1)
        np.testing.assert_array_equal(acted, noisy)
        host, graph = (policy.explore(obs) for policy in policies)
        np.testing.assert_array_equal(host, graph)  # Of the same seed.
        explored.append([acted, host])
        for policy in policies:
            np.testing.assert_array_equal(policy.greedy(obs), best)
        np.testing.assert_array_equal(agent(obs), best)
        np.testing.assert_array_equal(agent.predict(obs, verbose=0), best)
        np.testing.assert_array_equal(agent.act(obs, explore=False), best)
    assert np.all(np.mean(explored != best, axis=(0, 2)) > 0.3)


def test_an_exported_agent_has_no_noise(tmp_path):
    agent, obs = loud("dqn"), np.arange(4, dtype="int32")
    best = np.array(agent(obs))
    rl.networks.resample_noise(agent.policy, agent.seed_generator)
    agent.export(
        tmp_path / "agent",
        input_signature=[tf.TensorSpec((None,), "int32")],
        verbose=False,
    )
    assert np.any(np.argmax(agent.policy(obs), axis=-1) != best)
    loaded = tf.saved_model.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.serve(obs), best)


@ALL
def test_another_seed_is_another_run(name):
    def live(seed):
        return harness.fit(make(name, seed), toy.Identity, prioritized)[0]

    one, same, other = live(0), live(0), live(1)
    harness.assert_same(one, same)
    assert any(np.any(one[key] != other[key]) for key in one)


class Corridor(gymnasium.Env):
    """Going on, action 1, pays 1 at the end; to leave pays 0.1 at once."""

    observation_space = gym.Discrete(4)
    action_space = gym.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, action):
        if action == 0:
            return self.at, 0.1, True, False, {}
        self.at += 1
        over = self.at == 4
        return min(self.at, 3), float(over), over, False, {}


def best_of_corridor(name, seed, **changed):
    """The return that an agent finds without epsilon, or does not."""
    with rl.envs.make(Corridor, num_envs=2, seed=seed) as envs:
        agent = make(name, seed, **changed)(envs)
        agent.compile(keras.optimizers.Adam(0.005), steps_per_execution=4)
        replay = rl.data.Replay(envs, 5_000, gamma=0.95)
        agent.fit(
            replay.dataset(32),
            steps_per_epoch=800,
            callbacks=[
                rl.callbacks.Collect(envs, replay, warmup=8),
                rl.callbacks.TargetUpdate(20),
            ],
            verbose=0,
        )
    return rl.evaluate(agent, Corridor, episodes=1)["mean"]


# Seeds on which what is best in the end is not tried at the beginning.
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_explores(seed):
    assert best_of_corridor("dqn", seed) == 1
    np.testing.assert_allclose(best_of_corridor("dqn", seed, noisy=False), 0.1)


def test_rainbow_solves_the_corridor():
    assert best_of_corridor("rainbow", seed=0) == 1


def test_rainbow_is_c51_with_all_of_it():
    agent = compiled("rainbow")
    assert type(agent) is agents.C51
    config = agent.get_config()
    assert config["double"] is True and config["noisy"] is True
    assert config["head"] == "dueling" and config["epsilon"] == 0
    plain = compiled("rainbow", double=False, head="q_values", epsilon=0.1)
    config = plain.get_config()
    assert config["double"] is False and config["noisy"] is True
    assert config["head"] == "q_values" and config["epsilon"] == 0.1


def test_the_preset_is_the_agent():
    settings = presets.get("rainbow", None)
    assert settings["network"]["noisy"] and settings["replay"]["prioritized"]
    ours = dict(settings["agent"])
    network = rl.networks.mlp(gym.Discrete(4))
    one = agents.C51(network, gym.Discrete(4), name="same", **ours)
    support = {key: ours[key] for key in ("v_min", "v_max", "atoms")}
    same = agents.Rainbow(network, gym.Discrete(4), name="same", **support)
    assert one.get_config() == same.get_config()


@pytest.mark.parametrize(
    "space", [gym.Box(-1, 1, (2,)), gym.Box(0, 255, (36, 36, 1), "uint8")]
)
def test_settings_make_networks_noisy(space):
    for noisy in (False, True):
        network = compose_networks._make_one(space, 0, "auto", noisy=noisy)
        kinds = [type(layer) for layer in network.layers]
        assert (rl.networks.NoisyDense in kinds) == noisy
        assert (keras.layers.Dense in kinds) != noisy
