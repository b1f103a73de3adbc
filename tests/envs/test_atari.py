"""Atari: its protocols, its two vectorizations, and what it refuses."""

import os

import ale_py
import cv2
import gymnasium
import keras
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv

import keras_rl2x as rl
from keras_rl2x.acting import Driver
from keras_rl2x.acting.driver import play_episodes
from keras_rl2x.envs.ale import PROTOCOLS
from keras_rl2x.envs.ale import rom_of
from keras_rl2x.envs.ale import settings_of
from keras_rl2x.envs.frames import EpisodicLife
from keras_rl2x.envs.frames import FrameStack
from keras_rl2x.envs.frames import episode_over


def play(envs, steps, seed=0):
    """What `reset` and each step returned, with the same random actions."""
    rng = np.random.default_rng(0)
    lived = [(envs.reset(seed=seed)[0],)]
    for _ in range(steps):
        actions = rng.integers(envs.single_action_space.n, size=envs.num_envs)
        lived.append(envs.step(actions))
    return lived


@pytest.mark.parametrize(
    ("game", "changes", "shape"),
    [
        ("Breakout", {}, (84, 84, 4)),
        ("MsPacman", {}, (84, 84, 4)),
        (
            "Breakout",
            {"frame_skip": 2, "size": 42, "frame_stack": 3},
            (42, 42, 3),
        ),
        ("Breakout", {"grayscale": False, "frame_stack": 2}, (84, 84, 6)),
    ],
)
def test_gymnasiums_wrappers_show_the_same_as_c(game, changes, shape):
    lived = []
    for vectorization in ("native", "sync"):
        with rl.envs.atari(
            game, 1, vectorization=vectorization, noop_max=0, **changes
        ) as envs:
            assert envs.single_observation_space.shape == shape
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
    seeds = [4, np.int64(4), [4, 5], np.array([4, 5]), 4 + 2**31 - 2]
    with rl.envs.atari("Pong", num_envs=2) as envs:
        one, *same = (play(envs, 20, seed)[-1][0] for seed in seeds)
        other = play(envs, 20, seed=5)[-1][0]
        both, _ = envs.reset(seed=[2**70, 2**70])
        envs.reset(seed=[None, 7])
    for two in same:
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(both[0], both[1])
    assert np.any(one != other)


@pytest.mark.parametrize("seed", [1.5, "1", [1, 2, 3]])
def test_other_seeds_are_refused(seed):
    with (
        rl.envs.atari("Pong", num_envs=2) as envs,
        pytest.raises(ValueError, match="`seed` must"),
    ):
        envs.reset(seed=seed)


def test_the_numbers_of_the_protocols():
    assert PROTOCOLS == {
        "deepmind": {
            "repeat_action_probability": 0.0,
            "episodic_life": True,
            "fire_reset": True,
            "noop_max": 30,
            "full_action_space": False,
        },
        "sticky": {
            "repeat_action_probability": 0.25,
            "episodic_life": False,
            "fire_reset": False,
            "noop_max": 0,
            "full_action_space": False,
        },
    }


@pytest.mark.parametrize("vectorization", ["native", "sync"])
@pytest.mark.parametrize("probability", [0.0, 0.25])
def test_sticky_actions_are_what_seeds_change(vectorization, probability):
    with rl.envs.atari(
        "Breakout",
        vectorization=vectorization,
        noop_max=0,
        repeat_action_probability=probability,
    ) as envs:
        one, two = (play(envs, 30, seed)[-1][0] for seed in (0, 1))
    assert np.any(one != two) == (probability > 0)


@pytest.mark.parametrize(
    ("vectorization", "changes", "num_envs", "least", "most"),
    [
        # FIRE is one of the frames in C++; the wrappers add it.
        ("native", {}, 5, 1, 29),
        ("sync", {}, 5, 2, 31),
        ("native", {"noop_max": 0}, 1, 1, 1),
        ("sync", {"noop_max": 0}, 1, 1, 1),
        ("native", {"protocol": "sticky"}, 1, 0, 0),
        ("sync", {"protocol": "sticky"}, 1, 0, 0),
    ],
)
def test_with_how_many_frames_a_game_begins(
    vectorization, changes, num_envs, least, most
):
    with rl.envs.atari(
        "Breakout", num_envs, vectorization=vectorization, **changes
    ) as envs:
        frames = envs.reset(seed=0)[1]["episode_frame_number"]
    assert least <= frames.min() and frames.max() <= most
    # Drawn for each, and from all of them.
    assert frames.max() - frames.min() >= (most - least) / 2


def test_the_button_is_pressed_before_the_no_ops():
    with rl.envs.atari("Breakout", 3) as envs:
        obs, info = envs.reset(seed=0)
    env = ale_py.AtariEnv("breakout", frameskip=1, repeat_action_probability=0)
    fire = env.get_action_meanings().index("FIRE")
    for picture, frames in zip(obs, info["episode_frame_number"]):
        env.reset(seed=0)
        for frame in range(frames):
            env.step(0 if frame else fire)
        screen = env.ale.getScreenGrayscale()
        shrunk = cv2.resize(screen, (84, 84), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(picture[..., -1], shrunk)


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


@pytest.mark.parametrize("vectorization", ["native", "sync"])
@pytest.mark.parametrize("frame_skip", [1, 4])
def test_games_are_cut(vectorization, frame_skip):
    with rl.envs.atari(
        "Pong",
        2,
        vectorization=vectorization,
        noop_max=0,
        max_frames=100,
        frame_skip=frame_skip,
    ) as envs:
        steps = play(envs, 110 // frame_skip)[1:]
    (cut,) = np.flatnonzero([step[3].all() for step in steps])
    assert np.sum([step[3] for step in steps]) == 2
    # The button takes a frame before the first step, or none.
    assert 98 <= frame_skip * (cut + 1) <= 100


def test_c_has_so_many_threads(monkeypatch):
    made = []

    def init(self, *args, num_threads, **kwargs):
        made.append(num_threads)
        original(self, *args, num_threads=num_threads, **kwargs)

    original = AtariVectorEnv.__init__
    monkeypatch.setattr(AtariVectorEnv, "__init__", init)
    for num_threads in (0, 3):
        rl.envs.atari("Pong", 2, num_threads=num_threads).close()
    assert made == [os.cpu_count(), 3]


@pytest.mark.parametrize("frame_skip", [1, 4])
def test_videos_run_as_fast_as_the_game(frame_skip):
    with rl.envs.make(
        "ALE/Pong-v5", render_mode="rgb_array", frame_skip=frame_skip
    ) as envs:
        assert envs.metadata["render_fps"] == 60 / frame_skip
        assert ale_py.AtariEnv.metadata["render_fps"] == 30


def test_every_game_of_gymnasium_has_its_file():
    ids = [name for name in gymnasium.registry if name.startswith("ALE/")]
    assert len(ids) > 100 and "ALE/UpNDown-v5" in ids
    for name in ids:
        rom = gymnasium.registry[name].kwargs["game"]
        assert rom_of(name) == rom_of(rom.replace("_", " ")) == rom


def test_make_knows_the_ids_of_atari():
    with rl.envs.make("ALE/MsPacman-v5", num_envs=2) as envs:
        assert envs.num_envs == 2 and envs.frame_stack == 4
    with rl.envs.make("ALE/Pong-v5", render_mode="rgb_array") as envs:
        envs.reset(seed=0)
        assert envs.render()[0].shape == (210, 160, 3)


@pytest.mark.parametrize(
    "name", ["PongNoFrameskip-v4", "PongNoFrameskip-v0", "Pong-v0"]
)
def test_make_refuses_the_old_ids_of_atari(name):
    assert name in gymnasium.registry
    with pytest.raises(ValueError, match='"Pong", and its protocol'):
        rl.envs.make(name)


def test_what_is_none_is_as_in_the_protocol():
    for protocol, settings in PROTOCOLS.items():
        nothing = dict.fromkeys(settings)
        assert settings_of(protocol, nothing) == settings
        assert settings_of(protocol, {"noop_max": 7})["noop_max"] == 7


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
        ({"frameskip": 2}, "no argument 'frameskip'.*`frame_skip`"),
        ({"seed": 1.5}, "`seed` must be an integer >= 0"),
        ({"game": "UpNDwn"}, "no Atari game.*Close to it: .'up_n_down'"),
        ({"game": "Pong-v5", "vectorization": "c"}, "'native'.*'c'"),
        *(
            ({"game": old}, f'"Pong".*protocol="deepmind".*{old}')
            for old in ("PongNoFrameskip-v4", "PongDeterministic-v0", "Pong-v4")
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        rl.envs.atari(**{"game": "Pong", **arguments})


@pytest.mark.parametrize("vectorization", ["native", "sync"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_envs", 0, "an integer >= 1"),
        ("num_envs", -1, "an integer >= 1"),
        ("num_envs", 2.5, "an integer >= 1"),
        ("size", 0, "an integer >= 1"),
        ("size", (84, 84), "an integer >= 1"),
        ("frame_skip", 0, "an integer >= 1"),
        ("frame_stack", 0, "an integer >= 1"),
        ("frame_stack", None, "an integer >= 1"),
        ("max_frames", 0, "an integer >= 1"),
        ("num_threads", -1, "an integer >= 0"),
        ("noop_max", -1, "an integer >= 0"),
        ("repeat_action_probability", 2.0, "a number from 0 to 1"),
        ("repeat_action_probability", "0.5", "a number from 0 to 1"),
        ("repeat_action_probability", float("nan"), "a number from 0 to 1"),
        ("episodic_life", "no", "`True` or `False`"),
        ("fire_reset", 0, "`True` or `False`"),
        ("grayscale", "no", "`True` or `False`"),
        ("full_action_space", 1, "`True` or `False`"),
    ],
)
def test_bad_values_do_not_reach_c(
    monkeypatch, vectorization, name, value, message
):
    # Of some of them it would not return.
    monkeypatch.setattr(AtariVectorEnv, "__init__", None)
    message = f"`{name}` must be {message}.*Received: {name}="
    with pytest.raises(ValueError, match=message):
        rl.envs.atari("Pong", vectorization=vectorization, **{name: value})


@pytest.mark.parametrize("vectorization", ["native", "sync"])
def test_the_integers_of_numpy_are_integers(vectorization):
    names = ("num_envs", "size", "frame_skip", "max_frames", "frame_stack")
    changes = {name: np.int64(20) for name in (*names, "noop_max")}
    changes |= {"num_envs": np.int32(2), "num_threads": np.uint8(1)}
    with rl.envs.atari(
        "Pong",
        vectorization=vectorization,
        repeat_action_probability=np.float32(0.5),
        **changes,
    ) as envs:
        assert envs.reset(seed=0)[0].shape == (2, 20, 20, 20)


@pytest.mark.parametrize("actions", [[0, 99], [-1, 0], [0], [0.0, 1.0]])
def test_bad_actions_do_not_reach_c(monkeypatch, actions):
    # It would wait for ever.
    monkeypatch.setattr(AtariVectorEnv, "step", None)
    with rl.envs.atari("Pong", num_envs=2) as envs:
        envs.reset(seed=0)
        with pytest.raises(ValueError, match="from 0 to 5. Received: actions"):
            envs.step(np.array(actions))


def test_actions_may_be_a_list():
    with rl.envs.atari("Pong", num_envs=2) as envs:
        envs.reset(seed=0)
        assert envs.step([0, 5])[1].tolist() == [0, 0]


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


def test_what_is_played_are_whole_games():
    class Paying(Lives):
        def step(self, actions):
            obs, reward, *rest = super().step(actions)
            return obs, reward + 1, *rest

    envs = FrameStack(EpisodicLife(Paying()), 2)
    played = play_episodes(envs, lambda *_: None, episodes=2, seed=0)
    assert played.returns.tolist() == played.lengths.tolist() == [3, 5]


def test_the_last_life_ends_with_the_game():
    class Lingering(Lives):
        """Its games end a step after the last life."""

        def step(self, actions):
            obs, reward, over, no, info = super().step(actions)
            return obs, reward, no, no, info

    envs = EpisodicLife(Lingering())
    envs.reset()
    for _ in range(2):
        *_, info = envs.step(None)
        assert info["life_lost"].all()
    _, _, terminated, truncated, info = envs.step(None)
    assert info["life_lost"].tolist() == [False, True]
    assert episode_over(terminated, truncated, info).tolist() == [False] * 2


def test_an_environment_may_tell_of_lives_itself():
    yes, no = np.ones(2, "bool"), np.zeros(2, "bool")
    for info in ({"life_lost": yes}, {"life_lost": yes, "lives": np.zeros(2)}):
        assert episode_over(yes, no, info).all()


class Truncated(Lives):
    """Games of 3 lives, in which two are won: then they are truncated."""

    def reset(self, seed=None, options=None):
        return np.ones((2, 2, 2), "uint8"), {"lives": np.array([3, 3])}

    def step(self, actions):
        obs, no = np.ones((2, 2, 2), "uint8"), np.zeros(2, "bool")
        over = np.array([actions == "win"] * 2)
        lives = np.where(over, 5, 3)
        return obs, np.zeros(2), no, over, {"lives": lives}


def test_a_game_that_begins_with_less_lives_has_lost_none():
    envs = EpisodicLife(Truncated())
    envs.reset()
    for actions in ("play", "win", "begin", "play"):
        _, _, terminated, truncated, info = envs.step(actions)
        assert not info["life_lost"].any() and not terminated.any()
        assert truncated.all() == (actions == "win")


def test_without_lives_none_can_be_lost():
    envs = EpisodicLife(gymnasium.make_vec("CartPole-v1", 2))
    with pytest.raises(ValueError, match="leave `EpisodicLife` out.*Received"):
        envs.reset(seed=0)


def learn(folder, epochs):
    """The weights of a small DQN after so many epochs, saved after each."""
    with rl.envs.atari(
        "Pong", num_envs=2, size=36, seed=0, protocol="sticky"
    ) as envs:
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
                rl.callbacks.Collect(envs, replay, 4, warmup=20, overlap=True),
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
