import inspect

import gymnasium
import keras
import pytest

import keras_rl2x as rl
from keras_rl2x import compose
from keras_rl2x import presets
from keras_rl2x.envs import toy
from keras_rl2x.presets import ppo

ALL = [(name, env) for name, envs in presets.names().items() for env in envs]


def test_names():
    environments = presets.names()["dqn"]
    assert {"CartPole-v1", "Acrobot-v1"} <= set(environments)
    assert environments == sorted(environments)
    assert all(env in gymnasium.registry for env in environments)


def is_atari(env):
    return env.startswith("ALE/")


CONTROL = {
    "Pendulum-v1",
    "MountainCarContinuous-v0",
    "LunarLanderContinuous-v3",
    "BipedalWalker-v3",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "Ant-v5",
}
GAMES = {
    f"ALE/{game}-v5"
    for game in (
        "Pong",
        "Breakout",
        "SpaceInvaders",
        "Qbert",
        "Seaquest",
        "Freeway",
    )
}


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        *((name, CONTROL) for name in ("sac", "td3", "ddpg", "tqc", "crossq")),
        *(
            (name, GAMES)
            for name in (
                "dqn",
                "c51",
                "qrdqn",
                "iqn",
                "munchausen",
                "rainbow",
                "pqn",
                "ppo",
                "a2c",
            )
        ),
    ],
)
def test_what_has_presets(algorithm, expected):
    assert expected <= set(presets.names()[algorithm])


# The presets of Atari's games are the same, as another test asserts.
ONE_GAME = [
    (name, env) for name, env in ALL if not is_atari(env) or "Pong" in env
]

# What each agent is trained on here: its presets for the other environments
# differ from these by numbers. Of what sees images, four agents are trained.
TRAINED = {
    "CartPole-v1",
    "Pendulum-v1",
    "keras_rl2x/CartPoleNoVelocity-v0",
}
TRAINED_ON_IMAGES = ("dqn", "ppo", "pqn", "rainbow")


def is_repeated(algorithm, env):
    """Whether a preset is like another one, but for numbers."""
    if is_atari(env) or "Bricks" in env:
        return algorithm not in TRAINED_ON_IMAGES
    return env not in TRAINED


def slow_if_repeated(algorithm, env):
    repeated = is_repeated(algorithm, env)
    marks = [pytest.mark.slow] if repeated else []
    return pytest.param(algorithm, env, marks=marks)


def skip_if_not_installed(env):
    if env.startswith(("LunarLander", "BipedalWalker")):
        pytest.importorskip("Box2D")
    if env.endswith("-v5") and not is_atari(env):
        pytest.importorskip("mujoco")


@pytest.mark.parametrize(
    ("algorithm", "env"), [slow_if_repeated(*one) for one in ONE_GAME]
)
def test_preset_trains(algorithm, env, tmp_path, capsys):
    settings = presets.get(algorithm, env)
    skip_if_not_installed(env)
    # All of its numbers but those that make it long.
    short = {"epochs": 1, "evaluate.episodes": 1}
    if is_atari(env):
        short |= {"env.max_frames": 200, "env.num_envs": 2}
    num_envs = short.get("env.num_envs", settings["env"]["num_envs"])
    if "replay" in settings:
        short |= {"replay.capacity": 1_000}
        rows = 8 if is_atari(env) else 64
        env_steps = rows * num_envs + 20
        short |= {"collect.warmup": 20, "collect.env_steps_per_update": 1.0}
    else:
        size = 8 * num_envs
        env_steps = 2 * size
        short |= {"rollout.steps": 8}
        if settings["rollout"]["minibatch_size"] is not None:
            short["rollout.minibatch_size"] = size
    run = rl.train(
        algorithm,
        env,
        env_steps=env_steps,
        log_dir=tmp_path,
        overrides=short,
        evaluation_episodes=1,
        verbose=0,
    )
    assert run.evaluation["episodes"] == 1
    assert type(run.agent).__name__ == presets.agent_name(algorithm)


@pytest.mark.parametrize(
    ("algorithm", "env"), [one for one in ONE_GAME if is_repeated(*one)]
)
def test_preset_composes(algorithm, env):
    skip_if_not_installed(env)
    settings = presets.get(algorithm, env)
    if "replay" in settings:
        presets.override(settings, {"replay.capacity": 1_000})
        settings["collect"]["warmup"] = 100
    settings |= {"seed": 0, "algorithm": algorithm}
    with rl.envs.make(env, **settings["env"]) as envs:
        agent = compose.compose(envs, settings).agent
    assert type(agent).__name__ == presets.agent_name(algorithm)


def test_rainbow_has_the_dense_layers_of_its_head_alone():
    skip_if_not_installed("ALE/Pong-v5")
    settings = presets.get("rainbow", "ALE/Pong-v5")
    presets.override(settings, {"replay.capacity": 1_000})
    settings["collect"]["warmup"] = 100
    settings |= {"seed": 0, "algorithm": "rainbow", "env_id": "ALE/Pong-v5"}
    with rl.envs.make("ALE/Pong-v5", **settings["env"]) as envs:
        agent = compose.compose(envs, settings).agent
    dense = {
        layer.kernel.shape
        for layer in agent.policy._flatten_layers()
        if isinstance(layer, (rl.networks.NoisyDense, keras.layers.Dense))
    }
    # Of the value and of 6 actions, 51 atoms each; all are noisy.
    assert dense == {(3136, 512), (512, 51), (512, 306)}
    assert not any(
        isinstance(layer, keras.layers.Dense)
        for layer in agent.policy._flatten_layers()
    )


@pytest.mark.parametrize(("algorithm", "env"), ALL)
def test_evaluations_are_greedy_but_on_atari(algorithm, env):
    settings = presets.get(algorithm, env)
    assert settings["evaluate"]["greedy"] != is_atari(env)


def test_other_environments_of_a_run_are_of_the_same_kind():
    settings = presets.get("dqn", "ALE/Pong-v5")
    presets.override(settings, {"env.protocol": "sticky"})
    assert presets.env_arguments(settings)["protocol"] == "sticky"
    assert set(settings["env"]) - set(presets.env_arguments(settings)) == {
        "num_envs",
        "vectorization",
    }


FALLING = {"learning_rate": {"from": 1e-3, "to": 0.0, "over": 1.0}}


@pytest.mark.parametrize(
    ("algorithm", "part", "each"),
    [
        ("td3", "actor_optimizer", 1 / 2),
        ("crossq", "temperature_optimizer", 1 / 3),
        ("sac", "actor_optimizer", 1),
        ("ppo", "optimizer", 1),
        # Of 1,024 steps, 8 minibatches, 10 times.
        ("trpo", "optimizer", 80),
    ],
)
def test_learning_rates_fall_over_the_steps_of_their_optimizer(
    algorithm, part, each
):
    settings = presets.get(algorithm, None)
    changes = {"env_steps": 81_920}
    if "replay" in settings:
        changes |= {"replay.capacity": 1_000, "collect.warmup": 1_000}
    if algorithm == "trpo":
        changes |= {
            "env.num_envs": 2,
            "rollout.steps": 512,
            "agent.critic_passes": 10,
            "agent.critic_minibatch_size": 128,
        }
    presets.override(settings, changes)
    settings[part] |= FALLING
    settings |= {"seed": 0, "algorithm": algorithm}
    with rl.envs.make(toy.Reach, **settings["env"]) as envs:
        parts = compose.compose(envs, settings)
    schedule = getattr(parts.agent, part)._learning_rate
    updates = parts.steps_per_epoch * parts.epochs
    assert schedule.decay_steps == int(updates * each)


@pytest.mark.parametrize(("algorithm", "env"), ALL)
def test_preset_is_complete(algorithm, env):
    settings = presets.get(algorithm, env)
    assert isinstance(settings["score"], float)
    collect = settings["collect"]
    if "rollout" in settings:
        size = settings["rollout"]["steps"] * settings["env"]["num_envs"]
        rollouts, epochs = compose._rollout_budget(settings, size)
        taken = rollouts * epochs * size
        assert 0.95 * settings["env_steps"] <= taken <= settings["env_steps"]
        return
    updates, epochs, warmup = compose._replay_budget(settings)
    assert updates % collect["chunk"] == 0
    assert epochs == settings["epochs"]
    # Updates and warm-up together make up the steps that are announced.
    learning = updates * epochs * collect["env_steps_per_update"]
    assert learning + warmup == settings["env_steps"]
    assert warmup >= collect["warmup"]


def test_get_gives_a_copy():
    presets.get("dqn", "CartPole-v1")["agent"]["double"] = None
    assert presets.get("dqn", "CartPole-v1")["agent"]["double"] is True


def test_the_games_of_atari_have_the_same_preset():
    for name, environments in presets.names().items():
        games = {
            env: presets.get(name, env) for env in environments if is_atari(env)
        }
        for game in games.values():
            del game["score"]
        # They were tried, for less than others ask for.
        tried = [games.pop(env) for env in tried_games(name) if games]
        others = list(games.values())
        assert all(game == others[0] for game in others)
        for game in tried:
            assert game["env_steps"] < 0.5 * others[0]["env_steps"]


def tried_games(algorithm):
    pong = ["ALE/Pong-v5"] if algorithm in ("dqn", "ppo", "pqn") else []
    return [*pong, "ALE/Breakout-v5"] if algorithm == "pqn" else pong


def test_other_games_of_atari_have_that_preset_too():
    for name, environments in presets.names().items():
        if "ALE/Qbert-v5" in environments:
            known = presets.get(name, "ALE/Qbert-v5")
            other = presets.get(name, "ALE/Asterix-v5")
            assert other == {**known, "score": None}


def test_all_arguments_of_atari_can_be_set():
    known = inspect.signature(rl.envs.atari).parameters
    settings = presets.get("dqn", "ALE/Pong-v5")["env"]
    elsewhere = {"game", "seed", "num_threads", "render_mode", "changes"}
    assert known.keys() - elsewhere < settings.keys()
    usual = {name: known[name].default for name in known.keys() & settings}
    del usual["num_envs"]
    assert {name: settings[name] for name in usual} == usual
    presets.override({"env": settings}, {"env.noop_max": 0, "env.size": 42})
    with rl.envs.make("ALE/Pong-v5", **settings) as envs:
        assert envs.single_observation_space.shape == (42, 42, 4)


def test_no_two_settings_are_one():
    settings = presets.get("sac", None)
    presets.override(settings, {"actor_optimizer.learning_rate": 0.5})
    assert settings["optimizer"]["learning_rate"] == 3e-4
    assert settings["temperature_optimizer"]["learning_rate"] == 3e-4
    critics, actor = (
        presets.get("sac", "LunarLanderContinuous-v3")[name]["learning_rate"]
        for name in ("optimizer", "actor_optimizer")
    )
    assert critics == actor and critics is not actor


def test_an_environment_without_a_preset_gets_the_defaults():
    settings = presets.get("dqn", "Nothing-v0")
    assert settings == presets.get("dqn", None)
    assert settings["score"] is None


def test_an_environment_replaces_an_initializer(monkeypatch):
    monkeypatch.setitem(
        ppo.ENVS, "Some-v0", {"network": {"kernel_initializer": HE}}
    )
    settings = presets.get("ppo", "Some-v0")
    assert settings["network"]["kernel_initializer"] == HE
    assert settings["network"]["kernel_initializer"] is not HE


def test_unknown_algorithm():
    with pytest.raises(ValueError, match="did you mean 'dqn'.*'dqnn'"):
        presets.get("dqnn", None)
    with pytest.raises(ValueError, match=r"this name. Received: 'zzz'"):
        presets.get("zzz", None)


@pytest.fixture
def settings():
    return {
        "flag": True,
        "count": 3,
        "rate": 0.5,
        "learning_rate": 0.5,
        "word": "max",
        "units": (8, 8),
        "kernel_initializer": {"class_name": "Orthogonal", "config": {}},
        "score": None,
        "agent": {
            "clip": 0.2,
            "epsilon": {"from": 1.0, "to": 0.1, "over": 0.5},
        },
    }


SCHEDULE = {"from": 0.5, "to": 0, "over": 1}
HE = {"class_name": "HeNormal", "config": {"seed": 0}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flag", False),
        ("count", 4),
        ("rate", 1),
        ("rate", 0.1),
        ("rate", None),
        ("learning_rate", SCHEDULE),
        ("word", "min"),
        ("word", None),
        ("units", [4]),
        ("kernel_initializer", "he_normal"),
        ("kernel_initializer", HE),
        ("score", 475.0),
        ("agent.epsilon", 0.1),
        ("agent.epsilon", SCHEDULE),
        ("agent.epsilon.to", 0.01),
        ("agent.clip", SCHEDULE),
    ],
)
def test_override(settings, name, value):
    presets.override(settings, {name: value})
    *path, last = name.split(".")
    for key in path:
        settings = settings[key]
    assert settings[last] == value


def test_a_whole_number_may_be_written_as_a_float(settings):
    presets.override(settings, {"count": 1e5})
    assert settings["count"] == 100_000
    assert isinstance(settings["count"], int)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flag", 1),
        ("flag", "false"),
        ("flag", None),
        ("count", True),
        ("count", 2.5),
        ("count", "3"),
        ("count", None),
        ("count", float("nan")),
        ("count", SCHEDULE),
        ("rate", True),
        ("rate", "fast"),
        ("rate", SCHEDULE),
        ("learning_rate", {"from": 1}),
        ("word", 3),
        ("units", 8),
        ("units", "8"),
        ("kernel_initializer", 8),
        ("kernel_initializer", {"from": 1}),
        ("agent", {}),
        ("agent", None),
        ("agent.epsilon", "none"),
        ("agent.epsilon", {"start": 1}),
    ],
)
def test_override_of_another_type(settings, name, value):
    with pytest.raises(ValueError, match=f"'{name}' must be .*, like"):
        presets.override(settings, {name: value})


@pytest.mark.parametrize("name", ["flags", "agent.epsilom", "agent.flag.x", ""])
def test_override_of_nothing(settings, name):
    with pytest.raises(ValueError, match="no setting of this name"):
        presets.override(settings, {name: 1})
    with pytest.raises(ValueError, match="did you mean 'agent.epsilon'"):
        presets.override(settings, {"agent.epsilom": 1})
