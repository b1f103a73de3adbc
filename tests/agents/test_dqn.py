"""DQN: the common harness on its variants, and what is its own."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.agents import harness


class Reach(gymnasium.Env):
    """Nested observations, and actions that are counted from 3."""

    observation_space = spaces.Dict(
        at=spaces.Box(-1, 1, (2,), "float64"), goal=spaces.Discrete(4)
    )
    action_space = spaces.Discrete(4, start=3)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action):
        reward = float(action == 3 + self.goal)
        over = bool(self.np_random.random() < 0.1)
        return self._draw(), reward, over, False, {}

    def _draw(self):
        self.goal = int(self.np_random.integers(4))
        return {"at": self.np_random.uniform(-1, 1, 2), "goal": self.goal}


class Pictures(gymnasium.Env):
    """Bright pictures ask for action 1, dark ones for action 0."""

    observation_space = spaces.Box(0, 255, (36, 36, 3), "uint8")
    action_space = spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action):
        reward = float(action == self.bright)
        return self._draw(), reward, False, False, {}

    def _draw(self):
        self.bright = int(self.np_random.integers(2))
        noise = self.np_random.integers(0, 55, (36, 36, 3), "uint8")
        return noise + np.uint8(200 * self.bright)


def mlp(envs, units=16):
    return rl.networks.mlp(envs.single_observation_space, (units,), seed=0)


def dropout_network(envs):
    entries, x = rl.networks.inputs(envs.single_observation_space)
    initializer = keras.initializers.GlorotUniform(seed=0)
    x = keras.layers.Dense(16, "relu", kernel_initializer=initializer)(x)
    x = keras.layers.Dropout(0.5, seed=1)(x)
    return keras.Model(entries, x)


def lambda_network(envs, function):
    entries, x = rl.networks.inputs(envs.single_observation_space)
    x = keras.layers.Lambda(function, output_shape=(4,))(x)
    initializer = keras.initializers.GlorotUniform(seed=0)
    x = keras.layers.Dense(16, "relu", kernel_initializer=initializer)(x)
    return keras.Model(entries, x)


@keras.saving.register_keras_serializable("tests")
def double_it(x):
    return 2 * x


def dqn(make_network=mlp, **kwargs):
    """A `make_agent` of the harness."""

    def make_agent(envs):
        return rl.agents.DQN(
            make_network(envs),
            envs.single_action_space,
            epsilon=0.2,
            seed=0,
            **kwargs,
        )

    return make_agent


def prioritized(envs):
    return rl.data.PrioritizedReplay(envs, 300, gamma=0.9, n_step=3)


# Name -> arguments of the harness, beyond the folder.
VARIANTS = {
    "single": {"make_agent": dqn(double=False)},
    "dueling": {"make_agent": dqn(head="dueling"), "make_data": prioritized},
    "no_head": {"make_agent": dqn(lambda envs: mlp(envs, 4), head=None)},
    "squared": {"make_agent": dqn(loss="squared")},
    "dropout": {"make_agent": dqn(dropout_network)},
    "nested": {"make_agent": dqn(), "env": Reach},
}


def of_variant(name):
    variant = VARIANTS[name]
    return (
        variant["make_agent"],
        variant.get("env", toy.Identity),
        variant.get("make_data", harness.make_replay),
    )


@pytest.mark.parametrize("name", ["dueling", "no_head", "dropout", "nested"])
def test_saved_agent_goes_on_in_a_fresh_process(name, tmp_path):
    trained = harness.save(folder=tmp_path, **VARIANTS[name])
    if name == "dueling":
        harness.check_eager(*of_variant(name), trained)
    harness.resume_in_fresh_process(tmp_path)
    harness.check_resumed(tmp_path)


@pytest.mark.parametrize("name", ["dueling", "nested"])
def test_config_and_actions(name):
    make_agent, env, _ = of_variant(name)
    harness.check_config(make_agent, env)
    harness.check_actions(make_agent, env)


@pytest.mark.parametrize("name", VARIANTS)
def test_loss_falls(name):
    harness.check_loss_falls(*of_variant(name))


@pytest.mark.parametrize("name", ["dueling", "dropout", "nested"])
def test_fit_is_exact_and_traced_once(name):
    harness.check_fit(*of_variant(name))


def test_check_agent(tmp_path):
    # The one call that the test file of a new agent makes.
    harness.check_agent(dqn(), tmp_path)


def batch_of(reward, discount, size=16):
    return {
        "obs": np.arange(size, dtype="int32") % 4,
        "action": np.arange(size, dtype="int32") // 4 % 4,
        "reward": np.full(size, reward, "float32"),
        "discount": np.full(size, discount, "float32"),
        "next_obs": np.arange(size, dtype="int32") % 4,
        "weight": np.ones(size, "float32"),
        "index": np.arange(size, dtype="int32"),
    }


@pytest.mark.parametrize("double", [False, True])
def test_terminal_target_is_the_reward(double):
    agent = harness.compiled(
        dqn(double=double), harness.make_envs(toy.Identity)
    )
    # Were the successor's value added, it would be 1000 times too large.
    agent.target_network.copies[-1].assign([1e3] * 4)
    batch = tf.data.Dataset.from_tensors(batch_of(3.0, 0.0)).repeat()
    agent.fit(
        batch,
        steps_per_epoch=300,
        callbacks=[rl.callbacks.TargetUpdate(10**6)],
        verbose=0,
    )
    q = agent.q_network.predict(np.arange(4), verbose=0)
    np.testing.assert_allclose(q, 3.0, atol=0.05)


def test_double_values_the_online_choice_with_the_target_network():
    # Online: action 0 is best. Target: action 0 is worth 1, action 1 is 5.
    updates, losses = {}, {}
    for double in (False, True):
        network = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(2, kernel_initializer="zeros"),
            ]
        )
        agent = rl.agents.DQN(
            network, spaces.Discrete(2), double=double, head=None
        )
        agent.compile(keras.optimizers.SGD(0.0))
        network.layers[-1].bias.assign([3.0, 2.0])
        agent.target_network.copies[1].assign([1.0, 5.0])
        logs = agent.train_step(
            {
                "obs": np.zeros((1, 1), "float32"),
                "action": np.zeros(1, "int32"),
                "reward": np.zeros(1, "float32"),
                "discount": np.full(1, 0.5, "float32"),
                "next_obs": np.zeros((1, 1), "float32"),
                "weight": np.ones(1, "float32"),
            }
        )
        updates[double] = float(logs["td_error"])
        losses[double] = float(logs["loss"])
    # |0.5 * 5 - 3| against |0.5 * 1 - 3|.
    assert updates == {False: 0.5, True: 2.5}
    # Huber's: half of the square, and what is beyond 1 less a half.
    assert losses == {False: 0.125, True: 2.0}


def train(
    env, make_data, updates, make_agent=None, learning_rate=0.02, **collect
):
    envs = rl.envs.make(env, num_envs=2, seed=0)
    agent = (make_agent or dqn())(envs)
    agent.compile(keras.optimizers.Adam(learning_rate), steps_per_execution=20)
    data = make_data(envs)
    agent.fit(
        data.dataset(32),
        steps_per_epoch=updates,
        callbacks=[
            rl.callbacks.Collect(envs, data, warmup=100, **collect),
            rl.callbacks.TargetUpdate(20),
        ],
        verbose=0,
    )
    return agent


def test_solves_bandit():
    agent = train(
        toy.Bandit, lambda envs: rl.data.Replay(envs, 1_000, 0.9), 300
    )
    q = agent.q_network.predict(np.ones((1, 1)), verbose=0)[0]
    np.testing.assert_allclose(q, [0, 1 / 3, 2 / 3, 1], atol=0.1)
    assert rl.evaluate(agent, toy.Bandit, episodes=4)["min"] == 1


def test_solves_identity():
    agent = train(
        toy.Identity, lambda envs: rl.data.Replay(envs, 1_000, 0.5), 300
    )
    assert rl.evaluate(agent, toy.Identity, episodes=4)["min"] == 10


class Ended(gymnasium.Wrapper):
    """Calls the time limit a termination, as careless code does."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated or truncated, False, info


class Stay(gymnasium.ActionWrapper):
    """Leaves no choice, as n-step returns count what was chosen later on."""

    def action(self, action):
        return 0


@pytest.mark.parametrize(
    ("env", "n_step", "expected", "tolerance"),
    [
        (toy.Chain, 1, 1 / (1 - 0.9), 0.05),
        (lambda: Stay(toy.Chain()), 3, 1 / (1 - 0.9), 0.05),
        # The control, in which one waiting step of five ends it all:
        # Q = 1 + 0.9 * 4 / 5 * Q, with the noise of which steps are drawn.
        (lambda: Stay(Ended(toy.Chain())), 1, 1 / (1 - 0.72), 0.2),
    ],
)
def test_chain_is_bootstrapped_at_the_time_limit(
    env, n_step, expected, tolerance
):
    def make_data(envs):
        return rl.data.Replay(envs, 1_000, gamma=0.9, n_step=n_step)

    agent = train(env, make_data, 800, dqn(loss="squared"))
    value = agent.q_network.predict(np.zeros(1), verbose=0)[0, 0]
    np.testing.assert_allclose(value, expected, rtol=tolerance)


def test_epsilon_follows_a_schedule_over_env_steps():
    envs = harness.make_envs(toy.Identity)
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 100, 0.1)
    agent = rl.agents.DQN(mlp(envs), envs.single_action_space, schedule)
    seen = []
    for env_steps in (0, 50, 1_000):
        agent.env_steps.assign(env_steps)
        seen.append(agent.exploration()["epsilon"])
    np.testing.assert_allclose(seen, [1.0, 0.55, 0.1], rtol=1e-6)
    copy = rl.agents.DQN.from_config(agent.get_config())
    assert copy.epsilon.get_config() == schedule.get_config()


def test_act_explores():
    envs = harness.make_envs(toy.Identity)
    agent = rl.agents.DQN(
        mlp(envs), envs.single_action_space, epsilon=1.0, seed=0
    )
    obs = np.zeros(400, "int32")
    counts = np.bincount(agent.act(obs), minlength=4)
    assert counts.min() > 60  # 100 each, of deviation 9.
    assert len(set(agent.act(obs, explore=False))) == 1


def test_python_lambda_trains_and_saves_but_is_not_loaded(tmp_path):
    path = str(tmp_path / "agent.keras")
    envs = harness.make_envs(toy.Identity)

    def network(envs):
        return lambda_network(envs, lambda x: 2 * x)

    agent = harness.compiled(dqn(network), envs)
    batches = harness.fixed_batches(envs, harness.make_replay(envs))
    harness.train_on(agent, batches)
    agent.save(path)
    with pytest.raises(Exception, match="(?s)Lambda.*arbitrary code"):
        keras.saving.load_model(path)
    with pytest.raises(ValueError, match="(?s)cannot be loaded.*Lambda"):
        rl.load(path)


def test_lambda_of_a_registered_function_round_trips(tmp_path):
    def network(envs):
        return lambda_network(envs, double_it)

    harness.save(dqn(network), tmp_path)
    harness.resume(tmp_path)
    harness.check_resumed(tmp_path)


def test_keras_applications(tmp_path):
    envs = harness.make_envs(Pictures)
    space = envs.single_observation_space
    network = keras.applications.MobileNet(
        space.shape, 0.25, include_top=False, weights=None, pooling="avg"
    )
    agent = rl.agents.DQN(network, envs.single_action_space, double=False)
    agent.compile(keras.optimizers.Adam(1e-3))
    replay = rl.data.Replay(envs, 300, gamma=0.9)
    harness.train_on(agent, harness.fixed_batches(envs, replay, 2))
    # Batch normalisation learnt, and the target's statistics followed.
    statistics = [
        (copy, source)
        for copy, source in zip(
            agent.target_network.copies, agent.q_network.variables
        )
        if "moving_mean" in source.path
    ]
    for copy, source in statistics:
        assert np.any(source.numpy() != 0)
        np.testing.assert_array_equal(copy.numpy(), source.numpy())
    assert len(statistics) == 27
    agent.save(tmp_path / "agent.keras")
    copy = rl.load(tmp_path / "agent.keras")
    obs = harness.random_obs(envs, 4)
    np.testing.assert_array_equal(copy(obs), agent(obs))


def test_wrong_arguments():
    envs = harness.make_envs(toy.Identity)
    network, actions = mlp(envs), envs.single_action_space
    with pytest.raises(TypeError, match="DQN acts in a `Discrete` space only"):
        rl.agents.DQN(network, spaces.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match="(?s)'mlp'.*each of the 4 actions"):
        rl.agents.DQN(network, actions, head=None)
    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="one vector for each observation"):
        rl.agents.DQN(flat, actions)
    with pytest.raises(ValueError, match="'huber', 'squared'.*loss='hubris'"):
        rl.agents.DQN(network, actions, loss="hubris")
    with pytest.raises(ValueError, match="head='duelling'"):
        rl.agents.DQN(network, actions, head="duelling")
    with pytest.raises(TypeError, match="must be a `keras.Model`"):
        rl.agents.DQN((64, 64), actions)


def test_sequential_network_without_a_head():
    def network(envs):
        return keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(4, kernel_initializer="ones"),
            ]
        )

    make_agent = dqn(network, head=None)
    harness.check_config(make_agent, toy.Bandit)
    harness.check_actions(make_agent, toy.Bandit)
