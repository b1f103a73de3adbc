import gymnasium
import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x.envs import toy
from tests.callbacks.living import Living


def prefer(living, action):
    """Makes one action the greedy one, everywhere."""
    bias = living.agent.q_network.weights[-1]
    bias.assign(100.0 * np.eye(4, dtype="float32")[action])


@pytest.fixture(scope="module")
def living():
    # With a rate of 0, the agent stays as the test has made it.
    return Living(toy.Bandit, optimizer="sgd", epsilon=1.0)


@pytest.mark.parametrize(("action", "expected"), [(3, 1.0), (1, 1 / 3)])
def test_greedy_return(living, action, expected):
    living.agent.optimizer.learning_rate = 0.0
    prefer(living, action)
    logs = living.fit(rl.callbacks.Evaluate(toy.Bandit, episodes=5), epochs=2)
    np.testing.assert_allclose(logs["val_return"], [expected] * 2)
    assert logs["val_length"] == [1, 1]


def test_exploring_return(living):
    living.agent.optimizer.learning_rate = 0.0
    prefer(living, 3)
    evaluate = rl.callbacks.Evaluate(toy.Bandit, episodes=200, greedy=False)
    logs = living.fit(evaluate)
    assert abs(logs["val_return"][0] - 0.5) < 0.1


def test_the_same_episodes_every_time():
    seen = []

    class Seen(gymnasium.Wrapper):
        def reset(self, **kwargs):
            obs, info = self.env.reset(**kwargs)
            seen.append(obs)
            return obs, info

    living = Living()
    evaluate = rl.callbacks.Evaluate(
        lambda: Seen(toy.Identity(limit=2)), episodes=12, num_envs=3
    )
    logs = living.fit(evaluate, epochs=3)
    assert logs["val_length"] == [2, 2, 2]
    parts = np.split(np.array(seen), 3)
    np.testing.assert_array_equal(parts[0], parts[1])
    np.testing.assert_array_equal(parts[0], parts[2])
    assert len(set(parts[0])) > 1


class Goal(gymnasium.Wrapper):
    """A goal is reached where one of the last arms ends the episode."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        told = {"is_success": bool(action >= 2)}
        return obs, reward, terminated, truncated, {**info, **told}


@pytest.mark.parametrize(("action", "expected"), [(3, 1.0), (1, 0.0)])
def test_success(living, action, expected):
    living.agent.optimizer.learning_rate = 0.0
    prefer(living, action)
    evaluate = rl.callbacks.Evaluate(
        lambda: Goal(toy.Bandit()), episodes=5, num_envs=2
    )
    assert living.fit(evaluate)["val_success"] == [expected]


def test_where_no_success_is_told_there_is_none(living):
    logs = living.fit(rl.callbacks.Evaluate(toy.Bandit, episodes=2))
    assert "val_return" in logs and "val_success" not in logs


def test_several_have_names_of_their_own(living):
    living.agent.optimizer.learning_rate = 0.0
    prefer(living, 3)
    seen = keras.callbacks.EarlyStopping("other_return", mode="max")
    logs = living.fit(
        rl.callbacks.Evaluate(toy.Bandit, episodes=2),
        rl.callbacks.Evaluate(
            lambda: gymnasium.wrappers.TransformReward(
                toy.Bandit(), lambda reward: -reward
            ),
            episodes=2,
            name="other",
        ),
        seen,
    )
    assert logs["val_return"] == [1] and logs["other_return"] == [-1]
    assert logs["other_length"] == [1] and seen.best == -1


def test_several_of_one_name(living):
    twice = [rl.callbacks.Evaluate(toy.Bandit, episodes=2) for _ in range(2)]
    with pytest.raises(
        ValueError,
        match=r"write \['val_length', 'val_return', 'val_success'\] into.*"
        r'name="hard"',
    ):
        living.fit(*twice)


def test_wrong_name():
    for name in ("", 3):
        with pytest.raises(ValueError, match=f"name={name!r}"):
            rl.callbacks.Evaluate(toy.Bandit, name=name)


def test_does_not_disturb_learning():
    states = []
    for others in ((), (rl.callbacks.Evaluate(toy.Identity, episodes=3),)):
        living = Living()
        living.fit(*others, epochs=3)
        states.append(living.agent.get_state())
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key])


def test_environments_of_the_user(living):
    with rl.envs.make(toy.Bandit, num_envs=2) as envs:
        evaluate = rl.callbacks.Evaluate(envs, episodes=5)
        assert evaluate.envs is envs
        assert "val_return" in living.fit(evaluate)


def test_a_vector_environment_is_taken_as_it_is(living):
    envs = gymnasium.vector.SyncVectorEnv(
        [toy.Bandit] * 3,
        autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP,
    )
    evaluate = rl.callbacks.Evaluate(envs, episodes=5)
    assert evaluate.envs.num_envs == 3
    assert "val_return" in living.fit(evaluate)


def test_follows_the_agent(living):
    # One callback, two agents: not the first one's network is evaluated.
    evaluate = rl.callbacks.Evaluate(toy.Bandit, episodes=1)
    other = Living(toy.Bandit, optimizer="sgd")
    for one, action in ((living, 3), (other, 0), (living, 3)):
        one.agent.optimizer.learning_rate = 0.0
        prefer(one, action)
        logs = one.fit(evaluate)
        assert logs["val_return"] == [action / 3]


def test_another_environment(living):
    with pytest.raises(ValueError, match=r"takes observations of shape \(1,\)"):
        living.fit(rl.callbacks.Evaluate(toy.Identity))


def test_wrong_episodes():
    for episodes in (0, 2.5):
        with pytest.raises(ValueError, match=f"episodes={episodes}"):
            rl.callbacks.Evaluate(toy.Bandit, episodes=episodes)


def test_environment_that_raises(living):
    class Broken(toy.Bandit):
        def step(self, action):
            raise OSError("the simulator is gone")

    with pytest.raises(
        RuntimeError,
        match=r"`Evaluate` could not be played: OSError: the simulator is gone "
        r"\(.*test_evaluate.py, line \d+, in step: `raise",
    ):
        living.fit(rl.callbacks.Evaluate(Broken))
