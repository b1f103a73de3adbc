"""Actions that are not allowed: never taken, never learned from."""

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl2x as rl
from keras_rl2x import agents
from tests.agents import harness

ACTIONS = 4


class Doors(gymnasium.Env):
    """Four doors, of which some are open; to run into a closed one fails.

    The number of the door is its reward, and the best is that of the last
    open one. `told` says where the doors that are open are told: in the
    observation, or in `info`.
    """

    def __init__(self, told="observation"):
        self.told = told
        self.action_space = spaces.Discrete(ACTIONS)
        self.observation_space = spaces.Box(0, 1, (1,))
        if told == "observation":
            self.observation_space = spaces.Dict(
                at=self.observation_space,
                action_mask=spaces.MultiBinary(ACTIONS),
            )

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._look()

    def step(self, action):
        assert self.open[action], f"door {action} is closed: {self.open}"
        self.steps += 1
        obs, info = self._look()
        return obs, float(action), False, self.steps == 10, info

    def _look(self):
        self.open = np.zeros(ACTIONS, "int8")
        some = self.np_random.choice(ACTIONS, 2, replace=False)
        self.open[some] = 1
        at = np.zeros(1, "float32")
        if self.told == "observation":
            return {"at": at, "action_mask": self.open.copy()}, {}
        return at, {"action_mask": self.open.copy()}


def make_envs(told, num_envs=3):
    return rl.envs.make(
        Doors, num_envs, seed=0, action_mask=told == "info", told=told
    )


VALUE_BASED = {
    agents.C51: {"v_min": 0.0, "v_max": 6.0},
    agents.DQN: {},
    agents.IQN: {"quantiles": 8, "target_quantiles": 8},
    agents.Munchausen: {},
    agents.QRDQN: {"quantiles": 8},
}
OFF_POLICY = [*VALUE_BASED, agents.DiscreteSAC]
ON_POLICY = [agents.A2C, agents.PPO, agents.PQN]
ALL = pytest.mark.parametrize("kind", [*ON_POLICY, *OFF_POLICY])


def make_agent(kind, envs):
    network, *others = (
        rl.networks.mlp(envs.single_observation_space, (8,), seed=seed)
        for seed in range(3)
    )
    arguments = dict(VALUE_BASED.get(kind, {}))
    if kind in VALUE_BASED or kind is agents.PQN:
        arguments["epsilon"] = 0.5
    if kind is agents.DiscreteSAC:
        fast = keras.optimizers.Adam(1e-2)
        arguments |= {"critics": others, "actor_optimizer": fast}
    agent = kind(network, envs.single_action_space, seed=0, **arguments)
    agent.compile(keras.optimizers.Adam(1e-2), steps_per_execution=4)
    return agent


@pytest.mark.parametrize("told", ["observation", "info"])
@ALL
def test_learns_and_never_runs_into_a_closed_door(kind, told):
    with make_envs(told) as envs:
        agent = make_agent(kind, envs)
        if kind in OFF_POLICY:
            data = rl.data.Replay(envs, 3_000, gamma=0.5)
            dataset, given = data.dataset(32), {"warmup": 100}
            more = [rl.callbacks.TargetUpdate(20)]
        else:
            data, given, more = rl.data.Rollout(envs, 16, gamma=0.5), {}, []
            dataset = data.dataset(12, passes=1)
        history = agent.fit(
            dataset,
            steps_per_epoch=400,
            callbacks=[rl.callbacks.Collect(envs, data, **given), *more],
            verbose=0,
        ).history
    assert np.isfinite(history["loss"]).all()
    with make_envs(told, 10) as envs:
        policy = rl.acting.Policy(agent, 10)
        returns = policy.play(envs, 20, seed=1).returns
    # Two doors of four are open: the mean of the greater number is 7/3.
    assert returns.mean() > 20


@ALL
def test_every_way_to_act_honours_the_mask(kind):
    envs = make_envs("observation")
    agent = make_agent(kind, envs)
    obs = harness.random_obs(envs, 200)
    obs["action_mask"][obs["action_mask"].sum(-1) == 0] = 1
    allowed = obs["action_mask"][np.arange(200), agent.act(obs)]
    np.testing.assert_array_equal(allowed, 1)
    greedy = np.array(agent(obs))
    np.testing.assert_array_equal(obs["action_mask"][np.arange(200), greedy], 1)


def test_targets_do_not_count_what_is_not_allowed():
    envs = make_envs("observation")
    agent = make_agent(agents.DQN, envs)
    obs = harness.random_obs(envs, 50)
    obs["action_mask"][:] = [0, 1, 0, 0]
    values = agent.target_network(obs).numpy()
    np.testing.assert_array_equal(values.argmax(-1), 1)
    assert values[:, 1].max() < 10
    assert (values[:, [0, 2, 3]] < -1e8).all()


def test_entropy_does_not_count_what_is_not_allowed():
    envs = make_envs("observation")
    agent = make_agent(agents.PPO, envs)
    obs = harness.random_obs(envs, 2)
    obs["action_mask"][:] = [[1, 1, 0, 0], [1, 0, 0, 0]]
    entropy = agent.distribution.entropy(agent.policy(obs))
    np.testing.assert_allclose(entropy, [np.log(2), 0], atol=1e-4)


def test_a_mask_of_another_size_is_refused():
    space = spaces.Dict(
        at=spaces.Box(0, 1, (1,)), action_mask=spaces.MultiBinary(3)
    )
    network = rl.networks.mlp(space, (4,))
    with pytest.raises(ValueError, match="one entry for each of the 4 actions"):
        agents.PPO(network, spaces.Discrete(4))


def test_a_mask_that_nobody_reads():
    envs = rl.envs.make(Doors, 2, told="info")
    with pytest.warns(UserWarning, match="make them with `rl.envs.make"):
        rl.acting.Driver(envs).reset(seed=0)


@pytest.mark.parametrize("told", ["info", "observation"])
def test_a_mask_that_is_read(told, recwarn):
    rl.acting.Driver(make_envs(told)).reset(seed=0)
    assert not recwarn.list


def test_no_mask_in_info():
    envs = rl.envs.make("CartPole-v1", action_mask=True)
    with envs, pytest.raises(ValueError, match="gives no `info"):
        envs.reset(seed=0)


def test_info_masks_are_for_discrete_actions():
    with pytest.raises(ValueError, match="`action_mask` needs `Discrete`"):
        rl.envs.make("Pendulum-v1", action_mask=True)
