"""What agents refuse, beside networks and spaces."""

import inspect

import keras
import numpy as np
import pytest

import keras_rl2x as rl
from keras_rl2x import agents
from keras_rl2x import arguments as checks
from keras_rl2x.envs import toy
from tests.agents import harness
from tests.agents import test_continuous
from tests.agents import test_discrete_sac
from tests.agents import test_value_based
from tests.agents.test_continuous import make
from tests.agents.test_continuous import networks


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (agents.TD3, {"actor_every": 0}, "an integer >= 1.*actor_every=0"),
        (agents.TD3, {"actor_every": 0.5}, "an integer >= 1.*actor_every=0.5"),
        (agents.CrossQ, {"actor_every": -1}, "an integer >= 1.*actor_every=-1"),
        (agents.TD3, {"target_noise": -0.1}, ">= 0.*target_noise=-0.1"),
        (agents.TD3, {"target_noise_clip": None}, "target_noise_clip=None"),
        (agents.TD3, {"noise": "0.1"}, "`noise` must be a number.*'0.1'"),
        (agents.DDPG, {"noise": float("nan")}, "`noise` must be.*nan"),
        (agents.SAC, {"temperature": "auto"}, "leave it out.*'auto'"),
        (agents.SAC, {"target_entropy": "auto"}, "leave it out.*'auto'"),
    ],
)
def test_numbers(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(kind, **arguments)(rl.envs.make(toy.Reach))


@pytest.mark.parametrize(
    "given", [1_000, 1e3, np.int64(1_000), np.float32(1e3)]
)
def test_whole_numbers_are_integers(given):
    value = checks.integer(steps=given)
    assert value == 1_000 and type(value) is int


@pytest.mark.parametrize("given", [2.5, np.nan, np.inf, "3", None, 0])
def test_what_is_no_integer(given):
    with pytest.raises(ValueError, match="`steps` must be an integer >= 1"):
        checks.integer(steps=given)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (agents.PPO, {"clip": -0.2}, "`clip` must be a number > 0.*-0.2"),
        (agents.PPO, {"clip": "0.2"}, "`clip` must be a number > 0.*'0.2'"),
        (agents.PPO, {"value_clip": -1.0}, "`value_clip` must be.*-1.0"),
        (
            agents.PPO,
            {"lambda_": 95},
            r"`lambda_` must be a number from 0 to 1.*95",
        ),
        (
            agents.A2C,
            {"lambda_": -1},
            r"`lambda_` must be a number from 0 to 1.*-1",
        ),
        (agents.A2C, {"value_weight": -1}, "`value_weight` must be.*-1"),
        (agents.TRPO, {"max_kl": 0}, "`max_kl` must be a number > 0.*0"),
        (agents.TRPO, {"cg_iterations": 0}, "an integer >= 1.*iterations=0"),
        (agents.TRPO, {"line_search_steps": 0}, "an integer >= 1.*steps=0"),
        (
            agents.TRPO,
            {"line_search_shrink": 1.5},
            r"a number from 0 to 1.*1.5",
        ),
        (agents.TRPO, {"critic_minibatch_size": 0}, "an integer >= 1.*=0"),
        (agents.REINFORCE, {"baseline_weight": -1}, "`baseline_weight` must"),
        (agents.ActorCritic, {"value_weight": "1"}, "`value_weight` must"),
        (
            agents.PQN,
            {"lambda_": 2},
            r"`lambda_` must be a number from 0 to 1.*2",
        ),
    ],
)
def test_numbers_of_agents_that_learn_from_rollouts(kind, arguments, message):
    second = {agents.TRPO: "critic"}.get(kind)
    with pytest.raises(ValueError, match=message):
        if kind is agents.PQN:
            envs = rl.envs.make(toy.Identity)
            network = rl.networks.mlp(envs.single_observation_space)
            agents.PQN(network, envs.single_action_space, **arguments)
        else:
            make_agent = harness.on_policy(kind, second, **arguments)
            make_agent(rl.envs.make(toy.Identity))


def test_an_optimizer_may_be_named():
    agent = make(agents.TD3, actor_optimizer="sgd")(rl.envs.make(toy.Reach))
    assert isinstance(agent.actor_optimizer, keras.optimizers.SGD)


def test_an_optimizer_moves_one_part():
    one = keras.optimizers.Adam()
    arguments = {"actor_optimizer": one, "temperature_optimizer": one}
    with pytest.raises(ValueError, match="SAC needs a new optimizer for each"):
        make(agents.SAC, **arguments)(rl.envs.make(toy.Reach))


def test_one_critic_is_not_two():
    envs = rl.envs.make(toy.Reach)
    found = networks(agents.SAC, envs)
    found["critics"] = found["critics"][0]
    with pytest.raises(ValueError, match="SAC needs 2 critics"):
        agents.SAC(action_space=envs.single_action_space, **found)


def test_critics_share_nothing_with_the_actor():
    envs = harness.make_envs(toy.Identity)
    network, other = (
        rl.networks.mlp(envs.single_observation_space) for _ in range(2)
    )
    with pytest.raises(ValueError, match="not the actor's `network`"):
        agents.DiscreteSAC(
            network, envs.single_action_space, critics=[network, other]
        )


def every_agent():
    """One of each kind."""
    reach, identity = rl.envs.make(toy.Reach), rl.envs.make(toy.Identity)
    network = rl.networks.mlp(identity.single_observation_space, (4,))
    return [
        *(make(kind)(reach) for kind in test_continuous.KINDS),
        *(
            test_value_based.make(kind)(identity)
            for kind in (*test_value_based.ARGUMENTS, agents.DQN)
        ),
        test_discrete_sac.make_agent(identity),
        *(
            harness.on_policy(kind, second)(identity)
            for kind, second in (
                (agents.A2C, None),
                (agents.ActorCritic, None),
                (agents.PPO, None),
                (agents.REINFORCE, None),
                (agents.TRPO, "critic"),
            )
        ),
        agents.PQN(network, identity.single_action_space),
    ]


def test_configurations_have_every_argument():
    found = every_agent()
    kinds = {type(agent) for agent in found}
    exported = (getattr(agents, name) for name in agents.__all__)
    assert kinds == {
        kind
        for kind in exported
        if isinstance(kind, type) and kind is not agents.Agent
    }
    for agent in found:
        wanted = inspect.signature(type(agent)).parameters.keys() - {"kwargs"}
        missing = wanted - agent.get_config().keys()
        assert not missing, (type(agent), missing)
