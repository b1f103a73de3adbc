import keras
import numpy as np
import pytest
from gymnasium import spaces as gym
from gymnasium.vector.utils import batch_space

import keras_rl2x as rl
from keras_rl2x import networks
from keras_rl2x.acting import Policy

CAMERA = gym.Box(0, 255, (40, 36, 3), "uint8")
GRID = gym.Box(0, 1, (7, 8, 2))
SPEED = gym.Box(-1, 1, (3,))


def kernels(network):
    return {w.shape for w in network.get_weights() if w.ndim == 4}


def kinds(network):
    return [type(one).__name__ for one in network._flatten_layers()]


def sample(space, num_envs=2):
    batch = batch_space(space, num_envs)
    batch.seed(0)
    return batch.sample()


SEEN = gym.Dict(camera=CAMERA, grid=GRID, kind=gym.Discrete(4), speed=SPEED)


def test_images_beside_others_are_convolved():
    network = networks.mlp(SEEN, (8,), seed=0)
    assert kernels(network) == {
        *((8, 8, 3, 32), (4, 4, 32, 64), (3, 3, 64, 64)),
        (3, 3, 2, 16),
    }
    # The numbers, and 256 for each of the images.
    assert network.get_layer("hidden_0").kernel.shape == (4 + 3 + 2 * 256, 8)


def test_every_leaf_counts():
    network = networks.mlp(SEEN, (8,), seed=0)
    obs = sample(SEEN)
    features = network(obs).numpy()
    for name in SEEN:
        other = {**obs, name: obs[name][::-1]}
        assert not np.allclose(network(other).numpy(), features)


def test_images_in_deeper_spaces_are_convolved():
    space = gym.Tuple([gym.Dict(left=CAMERA, right=CAMERA), SPEED])
    network = networks.mlp(space, (8,), seed=0)
    left, right = (
        network.get_layer(f"0__{side}__nature_cnn")
        for side in ("left", "right")
    )
    for one, other in zip(left.weights, right.weights):
        # They are two networks, and do not begin alike.
        assert not one.numpy().any() or not np.array_equal(one, other)
    assert network(sample(space)).shape == (2, 8)


@pytest.mark.parametrize(
    "space",
    [
        CAMERA,
        gym.Dict(a=SPEED, tiny=gym.Box(0, 1, (6, 9, 1))),
        gym.Dict(a=SPEED, table=gym.Box(0, 1, (9, 9))),
        gym.Dict(a=SPEED, bits=gym.MultiBinary((9, 9, 2))),
    ],
)
def test_what_stays_flat(space):
    assert not kernels(networks.mlp(space, (8,)))


def test_a_mask_is_not_looked_at():
    mask = gym.Box(0, 1, (4,), "int8")
    network = networks.mlp(gym.Dict(action_mask=mask, grid=GRID), (8,), seed=0)
    assert kernels(network) == {(3, 3, 2, 16)}
    assert network.get_layer("hidden_0").kernel.shape == (256, 8)


def test_the_seed_decides_how_convolutions_begin():
    one, same, other = (
        networks.mlp(SEEN, (8,), seed=seed).get_weights() for seed in (1, 1, 2)
    )
    assert all(map(np.array_equal, one, same))
    assert not any(
        np.array_equal(x, y) for x, y in zip(one, other) if x.ndim > 1
    )


def test_images_are_not_normalized_by_statistics():
    network = networks.mlp(SEEN, (8,), normalize=True)
    (layer,) = (
        one
        for one in network._flatten_layers()
        if isinstance(one, networks.RunningNormalization)
    )
    assert layer.input.shape == (None, 7)
    images = gym.Dict(camera=CAMERA, grid=GRID)
    network = networks.mlp(images, (8,), normalize=True)
    assert "RunningNormalization" not in kinds(network)


def test_a_critic_sees_images_too():
    actions = gym.Box(-1, 1, (2,))
    network = networks.mlp(SEEN, (8,), action_space=actions)
    inputs = {"action": np.ones((2, 2), "f4"), "observation": sample(SEEN)}
    assert network(inputs).shape == (2, 8)
    assert len(kernels(network)) == 4


def test_a_recurrent_network_sees_images_too():
    network = networks.lstm(SEEN, (8,), memory=4)
    assert networks.memory_size(network) == 8
    assert len(kernels(network)) == 4


@pytest.mark.parametrize("where", ["host", "graph"])
def test_acting_and_saving(where, tmp_path):
    agent = rl.agents.DQN(networks.mlp(SEEN, (8,), seed=0), gym.Discrete(3))
    obs = sample(SEEN, 4)
    q = agent.q_network(obs).numpy()
    policy = Policy(agent, 4, where)
    assert policy.where == where
    np.testing.assert_allclose(policy._network(obs), q, rtol=1e-4, atol=1e-5)
    path = str(tmp_path / "agent.keras")
    agent.save(path)
    keras.backend.clear_session()
    loaded = rl.load(path).q_network(obs).numpy()
    np.testing.assert_array_equal(loaded, q)
