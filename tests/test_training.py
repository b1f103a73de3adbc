import os
import shutil

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium import vector

import keras_rl2x as rl
from keras_rl2x import compose
from keras_rl2x import presets
from keras_rl2x import run_folder
from keras_rl2x.data import state_files
from keras_rl2x.envs import toy

SMALL = {
    "epochs": 2,
    "collect.warmup": 40,
    "collect.chunk": 4,
    "evaluate.episodes": 2,
    "network.units": (8,),
    "replay.capacity": 400,
}


def train(log_dir, env=toy.Identity, overrides=(), **kwargs):
    return rl.train(
        "dqn",
        env,
        log_dir=log_dir,
        overrides={**SMALL, **dict(overrides)},
        **{
            "env_steps": 200,
            "evaluation_episodes": 4,
            "verbose": 0,
            **kwargs,
        },
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"))


def same_weights(one, other):
    pairs = zip(one.agent.get_weights(), other.agent.get_weights())
    return all(np.array_equal(*pair) for pair in pairs)


def test_run(run):
    assert isinstance(run.agent, rl.agents.DQN)
    assert run.history.history["env_steps"] == [120, 200]
    assert run.history.params["steps"] == 80
    summary = {"mean", "std", "min", "max", "episodes"}
    assert set(run.evaluation) == summary | {"returns", "lengths"}
    assert not run.interrupted
    saved = rl.load(os.path.join(run.log_dir, "agent.keras"))
    assert saved.env_steps.numpy() == 200


def test_the_best_agent_is_kept(run):
    history = run.history.history
    epoch = np.argmax(history["val_return"])  # The first of the highest.
    best = rl.load(os.path.join(run.log_dir, "best.keras"))
    assert best.env_steps.numpy() == history["env_steps"][epoch]


def test_same_seed_same_weights(run, tmp_path):
    assert same_weights(run, train(tmp_path / "same"))
    assert not same_weights(run, train(tmp_path / "other", seed=1))


def test_evaluations_are_greedy_or_not(tmp_path):
    learned = {"evaluate.episodes": 20, "network.units": (32,)}
    longer = {"env_steps": 1_500, "evaluation_episodes": 20}
    greedy = train(tmp_path / "greedy", overrides=learned, **longer)
    exploring = train(
        tmp_path / "exploring",
        overrides={**learned, "evaluate.greedy": False, "agent.epsilon": 1.0},
        **longer,
    )
    for run, least, most in ((greedy, 9, 10), (exploring, 1, 5)):
        assert least <= run.evaluation["mean"] <= most
        assert least <= run.history.history["val_return"][-1] <= most


def test_overrides_reach_what_they_name(tmp_path):
    run = train(
        tmp_path,
        overrides={
            "agent.double": False,
            "agent.head": "dueling",
            "agent.epsilon": 0.25,
            "collect.overlap": True,
            "optimizer.learning_rate": {"from": 0.1, "to": 0.0, "over": 0.5},
            "optimizer.global_clipnorm": None,
            "replay.prioritized": True,
            "replay.n_step": 2,
            "target.tau": 0.5,
        },
        num_envs=3,
    )
    agent = run.agent
    assert not agent.double and agent.head == "dueling"
    assert agent.epsilon == 0.25
    assert agent.optimizer.global_clipnorm is None
    # Over half of the updates, it has come down to 0.
    assert float(agent.optimizer.learning_rate.numpy()) == 0
    # Whole rows of three environments; resets are made up for.
    assert abs(run.history.history["env_steps"][-1] - 200) <= 6


class Pictures(toy.Bandit):
    def __init__(self, shape=(36, 36, 1)):
        super().__init__()
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, "uint8")

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape, "uint8"), {}

    def step(self, action):
        return self.reset()[0], *super().step(action)[1:]


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((36, 36, 1), "nature_cnn"),
        ((84, 35, 3), "minatar_cnn"),
        ((7, 7, 3), "minatar_cnn"),
        ((7, 6, 3), "mlp"),
        ((36, 36), "mlp"),
    ],
)
def test_the_network_fits_the_picture(shape, name):
    settings = presets.get("dqn", None)
    settings.update(seed=0, algorithm="dqn")
    with rl.envs.make(lambda **_: Pictures(shape)) as envs:
        network = compose.compose(envs, settings).agent.network
    assert network.name == name


def test_no_memory_of_pictures():
    env_id = "keras_rl2x/CartPoleNoVelocity-v0"
    settings = presets.get("ppo", env_id)
    settings.update(seed=0, algorithm="ppo", env_id=env_id)
    envs = rl.envs.make(
        lambda **_: Pictures((36, 36, 1)), settings["env"]["num_envs"]
    )
    with pytest.raises(ValueError, match="stack frames.*36, 36, 1"):
        compose.compose(envs, settings)


def test_network_kinds(tmp_path):
    usual = {"network.units": presets.get("dqn", None)["network"]["units"]}
    run = train(tmp_path / "auto", Pictures, env_steps=60, overrides=usual)
    assert run.agent.network.name == "nature_cnn"
    run = train(
        tmp_path / "nips",
        Pictures,
        env_steps=60,
        overrides={
            **usual,
            "network.kind": "nips_cnn",
            "network.dtype": "mixed_bfloat16",
        },
    )
    assert run.agent.network.name == "nips_cnn"
    layer = run.agent.network.get_layer(index=2)
    assert layer.compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("algorithm", "name", "value"),
    [
        ("dqn", "units", [256]),
        ("dqn", "kernel_initializer", "he_normal"),
        ("ppo", "normalize", True),
    ],
)
def test_settings_of_dense_networks_are_not_of_pictures(
    algorithm, name, value, tmp_path
):
    with pytest.raises(
        ValueError, match=f"'network.{name}'.* of dense.*'nature_cnn'.*36, 3"
    ):
        rl.train(
            algorithm,
            Pictures,
            log_dir=tmp_path,
            overrides={f"network.{name}": value},
        )


def test_critics_may_be_wider_and_normalized(tmp_path):
    run = rl.train(
        "crossq",
        toy.Reach,
        env_steps=60,
        log_dir=tmp_path,
        overrides={
            "epochs": 1,
            "collect.warmup": 20,
            "network.units": (4,),
            "network.critic_units": (6,),
        },
        evaluation_episodes=1,
        verbose=0,
    )
    assert run.agent.network.output.shape == (None, 4)
    for critic in run.agent.critics:
        assert critic.output.shape == (None, 6)
    for network in (run.agent.network, *run.agent.critics):
        kinds = [type(layer) for layer in network.layers]
        assert kinds.count(rl.networks.BatchRenormalization) == 2


def test_an_unknown_normalization(tmp_path):
    with pytest.raises(ValueError, match=r"`network.normalization` must be on"):
        rl.train(
            "crossq",
            toy.Reach,
            log_dir=tmp_path / "run",
            overrides={"network.normalization": "batch"},
        )


def test_callbacks_of_the_user(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.seen = logs["val_return"]
            self.model.stop_training = True

    stop = Stop()
    run = train(tmp_path, callbacks=[stop])
    assert run.history.history["val_return"] == [stop.seen]


def test_arguments_of_the_environment(tmp_path):
    run = train(tmp_path, overrides={"env.limit": 3})
    assert run.history.history["length"] == [3, 3]
    assert run.history.history["val_length"] == [3, 3]
    with pytest.raises(TypeError, match="unexpected keyword argument 'limits'"):
        train(tmp_path / "limits", overrides={"env.limits": 3})
    with pytest.raises(ValueError, match="did you mean 'env.vectorization'"):
        train(tmp_path / "typo", overrides={"env.vectorisation": "sync"})


def test_a_resumed_run_has_the_settings_that_it_had(run, tmp_path):
    shutil.copytree(run.log_dir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "epoch_000002")
    resumed = rl.train(
        "dqn",
        toy.Identity,
        log_dir=tmp_path / "run",
        resume=True,
        evaluation_episodes=4,
        verbose=0,
    )
    assert same_weights(resumed, run)


@pytest.mark.parametrize(
    ("env_steps", "epochs"), [(50, 1), (99, 7), (1000, 20)]
)
def test_short_runs_have_fewer_epochs(tmp_path, env_steps, epochs):
    overrides = {"epochs": 20, "collect.chunk": 8}
    run = train(tmp_path, env_steps=env_steps, overrides=overrides)
    assert len(run.history.history["loss"]) == epochs
    assert run.agent.env_steps.numpy() == env_steps


def test_short_runs_of_rollouts_have_fewer_epochs(tmp_path):
    run = rl.train(
        "a2c",
        toy.Identity,
        env_steps=130,
        log_dir=tmp_path,
        verbose=0,
        overrides={"epochs": 20, "rollout.steps": 5},
    )
    assert 1 <= len(run.history.history["loss"]) <= 3


def test_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [train(None, env_steps=60, evaluation_episodes=1) for _ in range(2)]
    folders = [run.log_dir for run in runs]
    assert folders == ["runs/dqn-env-seed0", "runs/dqn-env-seed0-1"]
    with pytest.raises(ValueError, match="holds a run already"):
        train(folders[0])


def test_a_run_that_could_not_begin_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="hubris"):
        train(tmp_path / "run", overrides={"agent.loss": "hubris"})
    assert not (tmp_path / "run").exists()


def test_a_run_that_failed_at_once_may_be_begun_again(tmp_path):
    class Broken(toy.Identity):
        def step(self, action):
            raise OSError("the simulator is gone")

    with pytest.raises(RuntimeError, match="simulator is gone"):
        train(tmp_path, env=Broken)
    run = train(tmp_path)
    assert run.evaluation
    # But a run that is resumed keeps what tells of it.
    (tmp_path / "history.csv").unlink()

    class Gone(toy.Identity):
        def __init__(self):
            raise OSError("the simulator is gone")

    with pytest.raises(OSError, match="simulator is gone"):
        train(tmp_path, env=Gone, resume=True)
    assert run_folder.read_settings(tmp_path) is not None


def test_vector_environment(tmp_path):
    envs = vector.SyncVectorEnv([toy.Identity])
    with pytest.raises(ValueError, match="function that returns one"):
        train(tmp_path, envs)


class Loaded(gymnasium.Wrapper):
    """An environment whose first copy's episodes are worth 1, others 0.

    Its episodes last for one step in the first copy and for five elsewhere.
    """

    copies = 0

    def __init__(self):
        super().__init__(toy.Identity())
        self.first = Loaded.copies == 0
        Loaded.copies += 1

    def step(self, action):
        obs, _, _, _, info = self.env.step(action)
        over = self.first or self.env.steps == 5
        return obs, float(self.first), over, False, info


def test_evaluate_does_not_prefer_short_episodes(run):
    Loaded.copies = 0
    result = rl.evaluate(run.agent, Loaded, episodes=10, num_envs=2)
    assert result == {
        "mean": 0.5,
        "std": 0.5,
        "min": 0.0,
        "max": 1.0,
        "episodes": 10,
        "returns": [1, 1, 1, 0, 1, 1, 0, 0, 0, 0],  # As they ended.
        "lengths": [1, 1, 1, 5, 1, 1, 5, 5, 5, 5],
    }


class Goal(gymnasium.Wrapper):
    """Of one copy, the episodes reach their goal."""

    copies = 0

    def __init__(self):
        super().__init__(toy.Identity(limit=3))
        self.reached = Goal.copies == 0
        Goal.copies += 1

    def step(self, action):
        *step, info = self.env.step(action)
        return *step, {"is_success": self.reached}


def test_evaluate_tells_successes(run):
    Goal.copies = 0
    result = rl.evaluate(run.agent, Goal, episodes=7, num_envs=2)
    assert result["success"] == 4 / 7


def test_evaluate_takes_a_file_or_an_agent(run):
    path = os.path.join(run.log_dir, "agent.keras")
    results = [
        rl.evaluate(agent, toy.Identity, episodes=7, seed=3)
        for agent in (run.agent, path)
    ]
    assert results[0] == results[1]
    assert results[0]["episodes"] == 7
    with pytest.raises(ValueError, match="episodes=0"):
        rl.evaluate(run.agent, toy.Identity, episodes=0)
    with pytest.raises(ValueError, match="made for other actions"):
        rl.evaluate(run.agent, lambda: toy.Identity(categories=5))


def test_evaluate_takes_a_vector_environment(run):
    envs = rl.envs.make(toy.Identity, num_envs=3)
    result = rl.evaluate(run.agent, envs, episodes=7, seed=3)
    assert result["episodes"] == 7
    alike = rl.evaluate(run.agent, toy.Identity, 7, seed=3, num_envs=3)
    assert result == alike


def test_evaluate_is_greedy(run):
    run.agent.epsilon, before = 1.0, run.agent.epsilon
    exploring = rl.evaluate(run.agent, toy.Identity, episodes=20)
    run.agent.epsilon = before
    assert exploring == rl.evaluate(run.agent, toy.Identity, episodes=20)


def test_evaluate_with_exploration(run):
    run.agent.epsilon, before = 1.0, run.agent.epsilon
    exploring = rl.evaluate(run.agent, toy.Identity, episodes=20, greedy=False)
    greedy = rl.evaluate(run.agent, toy.Identity, episodes=20)
    run.agent.epsilon = before
    assert exploring["mean"] != greedy["mean"]


class Unregistered(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4)

    def call(self, obs):
        return self.dense(obs)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Unregistered(),
            "class 'Unregistered'.*import its module.*custom_object_scope",
        ),
        (
            keras.Sequential([keras.layers.Lambda(lambda x: 2 * x)]),
            "holds a Python lambda.*registered.*safe_mode=False",
        ),
    ],
)
def test_load_of_a_network_that_keras_cannot_make(network, message, tmp_path):
    network(np.zeros((1, 1), "float32"))
    with rl.envs.make(toy.Bandit) as envs:
        agent = rl.agents.DQN(network, envs.single_action_space)
    agent.save(tmp_path / "agent.keras")
    with pytest.raises(ValueError, match=f"(?s){message}.*Received: .*") as got:
        rl.load(tmp_path / "agent.keras")
    assert len(str(got.value)) < 1_000


def test_full_disk_leaves_the_agent(monkeypatch, tmp_path):
    def full(state, path):
        raise OSError("no space left")

    monkeypatch.setattr(state_files, "write", full)
    with (
        pytest.warns(UserWarning, match="No checkpoint could be saved into"),
        pytest.raises(OSError, match="checkpoints: no space left"),
    ):
        train(tmp_path)
    agent = rl.load(tmp_path / "agent.keras")
    assert agent.env_steps.numpy() >= 199  # It was trained to the end.


@pytest.mark.parametrize("seed", [-1, 1.5])
def test_a_seed_is_a_natural_number(run, seed, tmp_path):
    message = f"`seed` must be an integer >= 0. Received: seed={seed}"
    with pytest.raises(ValueError, match=message):
        train(tmp_path, seed=seed)
    with pytest.raises(ValueError, match=message):
        rl.evaluate(run.agent, toy.Bandit, seed=seed)


def test_load_gives_a_compiled_agent(run):
    agent = rl.load(os.path.join(run.log_dir, "agent.keras"))
    assert agent.compiled
    updates = agent.optimizer.iterations.numpy()
    assert updates == run.agent.optimizer.iterations.numpy() > 0
    with pytest.raises(ValueError, match="no such file.*'missing.keras'"):
        rl.load("missing.keras")


def test_load_of_something_else(tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    with pytest.raises(ValueError, match="does not hold an agent"):
        rl.load(path)
    (tmp_path / "text.keras").write_text("not a model")
    with pytest.raises(ValueError, match="text.keras cannot be loaded"):
        rl.load(tmp_path / "text.keras")
