"""Atari: its protocols, its two vectorizations, and what it refuses."""

import gymnasium
import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x.acting import Driver
from keras_rl2x.envs.frames import EpisodicLife
from keras_rl2x.envs.frames import FrameStack


def play(envs, steps, seed=0):
    """What `reset` and each step returned, with random actions."""
    rng = np.random.default_rng(seed)
    lived = [(envs.reset(seed=seed)[0],)]
    for _ in range(steps):
        actions = rng.integers(envs.single_action_space.n, size=envs.num_envs)
        lived.append(envs.step(actions))
    return lived


@pytest.mark.parametrize("game", ["Breakout", "MsPacman"])
def test_gymnasiums_wrappers_show_the_same_as_c(game):
    lived = []
    for vectorization in ("native", "sync"):
        with rl.envs.atari(
            game, 1, vectorization=vectorization, noop_max=0
        ) as envs:
            assert envs.single_observation_space.shape == (84, 84, 4)
            lived.append(play(envs, 200))
    native, sync = lived
    # What resets after an end is seeded in ways of their own.
    ends = [step[2] | step[3] for step in native[1:]]
    lost = [step[4]["life_lost"] for step in native[1:]]
    assert sum(lost) and not any(e & ~one for e, one in zip(ends, lost))
    for one, other in zip(native, sync):
        np.testing.assert_array_equal(one[0], other[0])
        for mine, theirs in zip(one[1:4], other[1:4]):
            np.testing.assert_array_equal(mine, theirs)


def test_same_seed_same_games():
    with rl.envs.atari("Pong", num_envs=3) as envs:
        one, two = (play(envs, 50, seed=4)[-1][0] for _ in range(2))
        other = play(envs, 50, seed=5)[-1][0]
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)


def test_a_lost_life_terminates_and_the_game_goes_on():
    with rl.envs.atari("Breakout", num_envs=4) as envs:
        driver = Driver(envs)
        driver.reset(0)
        rng = np.random.default_rng(0)
        chunk = driver.run(400, lambda *_: rng.integers(4, size=4))
    rows = chunk.rows
    # Five lives make up a game; only its end is followed by a dead row.
    assert len(chunk.episodes) == rows["dead"].sum() > 4
    assert rows["terminated"].sum() > 3 * len(chunk.episodes)
    total = sum(score for score, _ in chunk.episodes)
    assert 0 < total <= rows["reward"].sum()


def test_scores_are_not_clipped():
    with rl.envs.atari("SpaceInvaders", num_envs=4) as envs:
        rewards = [step[1] for step in play(envs, 200)[1:]]
    assert np.max(rewards) > 1


def test_protocols_and_their_arguments():
    with rl.envs.atari("Breakout", protocol="sticky") as envs:
        lived = play(envs, 300)
        assert "life_lost" not in lived[-1][4]
    with rl.envs.atari(
        "Pong", full_action_space=True, size=42, frame_stack=2
    ) as envs:
        assert envs.single_action_space.n == 18
        assert envs.single_observation_space.shape == (42, 42, 2)
        assert envs.frame_stack == 2
    with rl.envs.atari("Pong", 2, noop_max=0, max_frames=100) as envs:
        truncated = [step[3] for step in play(envs, 30)[1:]]
        assert np.sum(truncated) == 2


def test_make_knows_the_ids_of_atari():
    with rl.envs.make("ALE/MsPacman-v5", num_envs=2) as envs:
        assert envs.num_envs == 2 and envs.frame_stack == 4
    with rl.envs.make("ALE/Pong-v5", render_mode="rgb_array") as envs:
        envs.reset(seed=0)
        assert envs.render()[0].shape == (210, 160, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"game": "Pongg"}, "no Atari game 'Pongg'. Close to it: .'pong'"),
        ({"protocol": "dopamine"}, "one of .'deepmind', 'sticky'.*'dopamine'"),
        ({"vectorization": "threads"}, "'sync', 'async'.*'threads'"),
        (
            {"vectorization": "native", "render_mode": "rgb_array"},
            'vectorization="sync"',
        ),
        ({"sticky": 0.25}, "repeat_action_probability.*Received: .'sticky'"),
        ({"frame_stack": 0}, "must be an integer >= 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        rl.envs.atari(**{"game": "Pong", **arguments})


def test_atari_has_no_action_mask():
    with pytest.raises(ValueError, match="leave it out"):
        rl.envs.make("ALE/Pong-v5", action_mask=True)


class Lives(gymnasium.vector.VectorEnv):
    """Two environments with three lives, of which each step takes one."""

    num_envs = 2
    single_observation_space = gymnasium.spaces.Box(0, 255, (2, 2), "uint8")

    def reset(self, seed=None, options=None):
        self.lives = np.array([3, 5])
        return np.ones((2, 2, 2), "uint8"), {"lives": self.lives}

    def step(self, actions):
        self.lives = self.lives - 1
        over = self.lives == 0
        obs = np.full((2, 2, 2), 10 - self.lives.max(), "uint8")
        no = np.zeros(2, "bool")
        return obs, np.zeros(2), over, no, {"lives": self.lives}


def test_lives_and_frames_by_hand():
    envs = FrameStack(EpisodicLife(Lives()), 2)
    first, _ = envs.reset()
    assert first[0, 0, 0].tolist() == [0, 1]
    kept = first.copy()
    terminated, lost, newest = [], [], []
    for _ in range(4):
        obs, _, term, _, info = envs.step(None)
        terminated.append(term.tolist())
        lost.append(info["life_lost"].tolist())
        newest.append(obs[0, 0, 0].tolist())
    assert terminated[:3] == [[True, True]] * 3
    assert lost[:3] == [[True, True], [True, True], [False, True]]
    # The step behind the end of the first one's game begins another.
    assert newest == [[1, 6], [6, 7], [7, 8], [0, 9]]
    np.testing.assert_array_equal(first, kept)


def learn(folder, epochs):
    """The weights of a small DQN after so many epochs, saved after each."""
    with rl.envs.atari("Pong", num_envs=2, size=36, seed=0) as envs:
        space = envs.single_observation_space
        agent = rl.agents.DQN(
            rl.networks.nature_cnn(space, 8, seed=0),
            envs.single_action_space,
            seed=0,
        )
        agent.compile(keras.optimizers.Adam(1e-3), steps_per_execution=4)
        replay = rl.data.Replay(envs, 60, gamma=0.99, clip_rewards=True)
        agent.fit(
            replay.dataset(8),
            steps_per_epoch=16,
            epochs=epochs,
            callbacks=[
                rl.callbacks.Collect(envs, replay, 4, warmup=20),
                rl.callbacks.TargetUpdate(every=8),
                rl.callbacks.Checkpoint(folder),
            ],
            verbose=0,
        )
    return agent.get_weights()


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    whole = learn(tmp_path / "whole", 3)
    learn(tmp_path / "cut", 1)
    for one, other in zip(whole, learn(tmp_path / "cut", 3)):
        np.testing.assert_array_equal(one, other)
