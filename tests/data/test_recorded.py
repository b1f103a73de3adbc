"""Tests for keras_rl2x.data.recorded."""

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl2x as rl
from tests.data import lives

PLACES = spaces.Dict(
    at=spaces.Discrete(9, start=1), image=spaces.Box(0, 255, (2,), "uint8")
)


def drawn(replay):
    """All transitions of a replay: its entries, in the order they came."""
    batch = next(iter(replay.dataset(500)))
    obs = keras.tree.flatten(batch["obs"])[0].numpy().reshape(500, -1)[:, 0]
    _, first = np.unique(obs, return_index=True)
    return keras.tree.map_structure(lambda x: x.numpy()[first], batch)


@pytest.mark.parametrize("n_step", [1, 2])
def test_two_episodes(n_step):
    envs = lives.environments(1, action=spaces.Box(-2, 2, (1,)))
    replay = rl.data.Replay(envs, 10, gamma=0.5, n_step=n_step)
    actions = [[-2.0], [0.0], [2.0]]
    rl.data.add_episode(replay, envs, [1, 2, 3, 4], actions, [1, 2, 4], True)
    rl.data.add_episode(replay, envs, [5, 6, 7], [[1.0]] * 2, [8, 16], False)
    assert replay.size == 5
    batch = drawn(replay)
    assert batch["obs"].tolist() == [1, 2, 3, 5, 6]
    assert batch["action"][:, 0].tolist() == [-1, 0, 1, 0.5, 0.5]
    if n_step == 1:
        assert batch["next_obs"].tolist() == [2, 3, 4, 6, 7]
        assert batch["reward"].tolist() == [1, 2, 4, 8, 16]
        assert batch["discount"].tolist() == [0.5, 0.5, 0, 0.5, 0.5]
    else:
        assert batch["next_obs"].tolist() == [3, 4, 4, 7, 7]
        assert batch["reward"].tolist() == [2, 4, 4, 16, 16]
        assert batch["discount"].tolist() == [0.25, 0, 0, 0.25, 0.5]


def test_structures_and_categories():
    envs = lives.environments(1, PLACES, spaces.Discrete(3, start=5))
    replay = rl.data.Replay(envs, 10, gamma=0.5)
    obs = [{"image": np.full(2, i, "uint8"), "at": i} for i in (1, 2, 3)]
    rl.data.add_episode(replay, envs, obs, [5, 7], [0.0, 1.0], True)
    batch = drawn(replay)
    assert batch["obs"]["at"].tolist() == [1, 2]
    assert batch["next_obs"]["image"].tolist() == [[2, 2], [3, 3]]
    assert batch["action"].tolist() == [0, 2]


def test_collecting_goes_on_from_there():
    with rl.envs.make("CartPole-v1", seed=0) as envs:
        replay = rl.data.Replay(envs, 1_000, gamma=0.99)
        with gymnasium.make("CartPole-v1") as env:
            obs, actions = [env.reset(seed=0)[0]], []
            for _ in range(5):
                actions.append(int(obs[-1][2] > 0))
                obs.append(env.step(actions[-1])[0])
        rl.data.add_episode(replay, envs, obs, actions, [1.0] * 5, False)
        network = rl.networks.mlp(envs.single_observation_space, (4,))
        agent = rl.agents.DQN(network, envs.single_action_space)
        agent.compile(keras.optimizers.Adam(1e-3))
        targets = rl.callbacks.TargetUpdate(8)
        agent.fit(
            replay.dataset(4), steps_per_epoch=3, callbacks=[targets], verbose=0
        )
        assert agent.optimizer.iterations.numpy() == 3
        assert replay.size == 5
        agent.fit(
            replay.dataset(4),
            steps_per_epoch=3,
            callbacks=[rl.callbacks.Collect(envs, replay), targets],
            verbose=0,
        )
        assert replay.size == 8
        stream = replay.stream
        np.testing.assert_array_equal(stream.read("obs", range(6))[:, 0], obs)
        assert stream.read("truncated", range(6))[:, 0].tolist() == [
            *[False] * 4,
            True,
            False,
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obs": [1], "actions": [], "rewards": []}, "a step at least"),
        ({"rewards": [1, np.nan]}, "rewards are finite numbers.*nan"),
        ({"actions": [1, 10]}, "`actions` must be .*, and of .*from 1 to 10"),
        ({"obs": [1, 2]}, "`obs` must be 3. Received: 2"),
        ({"actions": [1, 1, 1]}, "`actions` must be 2. Received: 3"),
        ({"obs": [1, 2, np.nan]}, "`obs` must be finite"),
        ({"obs": [[1], [2], [3]]}, r"of shape \(3, 1\), from 1 to 3"),
    ],
)
def test_what_is_no_episode(change, message):
    envs = lives.environments(1)
    replay = rl.data.Replay(envs, 10, gamma=0.5)
    episode = {"obs": [1, 2, 3], "actions": [1, 1], "rewards": [1, 1]}
    with pytest.raises(ValueError, match=message):
        rl.data.add_episode(
            replay, envs, terminated=True, **{**episode, **change}
        )
    assert replay.is_empty


def test_one_environment():
    envs = lives.environments(2)
    replay = rl.data.Replay(envs, 10, gamma=0.5)
    with pytest.raises(ValueError, match="with `num_envs=1`"):
        rl.data.add_episode(replay, envs, [1, 2], [1], [1], True)
