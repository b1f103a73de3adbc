"""A new agent in one file: Expected Sarsa.

Q-learning asks what an action is worth if from then on you play the best. But
an agent that explores does not play the best: with probability epsilon it
takes a random action. Expected Sarsa learns what an action is worth to *this*
agent, its slips included. Where a slip is deadly, that is the wiser question.

We write it as if for the library: the equation as a function, tested by hand;
the agent, a class of a few short methods; then train it where the right
answer is known.

    python tutorials/03_add_an_agent.py
"""

import pathlib
import tempfile

import keras
import numpy as np

import keras_rl2x as rl

# --- The equation -----------------------------------------------------------
# Mathematics comes first, alone: a function of tensors that knows no agent.
# `discount` arrives with the batch: gamma^k after k steps, and 0 where the
# episode has terminated. So neither gamma nor "done" appears in it.


def expected_sarsa_target(reward, discount, q_next, epsilon):
    """`r + discount * sum_a pi(a) Q(s', a)`, for epsilon-greedy `pi`.

    Args:
        reward: Tensor `[B]`.
        discount: Tensor `[B]`.
        q_next: Tensor `[B, A]`, the action values of the successor.
        epsilon: Float, the probability of a random action.

    Returns:
        Tensor `[B]`, with stopped gradient.

    Reference:
     - [van Seijen et al., 2009](https://doi.org/10.1109/ADPRL.2009.4927542)
    """
    greedy = keras.ops.max(q_next, axis=-1)
    anything = keras.ops.mean(q_next, axis=-1)
    value = (1 - epsilon) * greedy + epsilon * anything
    return keras.ops.stop_gradient(reward + discount * value)


# By hand: the best of (1, 3) is 3 and their mean 2, so with epsilon 0.5 the
# successor is worth 2.5; discounted by 0.9 it is 2.25, plus a reward of 1. The
# second transition terminated: the reward is all there is.

targets = expected_sarsa_target(
    reward=np.float32([1, 1]),
    discount=np.float32([0.9, 0]),
    q_next=np.float32([[1, 3], [5, 7]]),
    epsilon=0.5,
)
assert np.allclose(targets, [3.25, 1])

# --- The agent --------------------------------------------------------------
# `__init__` builds every network. `policy` is the network that acting needs,
# and `sampler` turns its outputs into actions; `exploration` says with what
# arguments. `call` is the finished agent's decision. `train_step` learns.
# The decorator and `get_config` let Keras save the agent and load it again.
# Of the base class: `minimize` takes the tape's gradient and a step of the
# optimizer; `finish` runs `TargetUpdate` and other callbacks of the graph, then
# logs what `metric_names` lists, so `train_step` returns it; `targets` pairs
# each target network with its source.


@keras.saving.register_keras_serializable("tutorial")
class ExpectedSarsa(rl.agents.Agent):
    """Learns the values of the epsilon-greedy policy that it plays.

    Args:
        network: A `keras.Model` from observations to features `[B, F]`.
        action_space: A `gymnasium.spaces.Discrete`.
        epsilon: Float, the probability of a random action. Defaults to 0.1.
        seed: Integer seed of the head's initial weights. Defaults to `None`.
        **kwargs: As in `keras.Model`.
    """

    metric_names = ("loss", "q_value")
    sampler = staticmethod(rl.acting.samplers.epsilon_greedy)
    no_exploration = {"epsilon": 0.0}

    def __init__(self, network, action_space, epsilon=0.1, seed=None, **kwargs):
        leaf = rl.spaces.require(action_space, ("discrete",), "ExpectedSarsa")
        super().__init__(action_space, seed, **kwargs)
        self.network = network
        self.epsilon = epsilon
        self.q_network = rl.networks.action_values(
            network, leaf.num_classes[0], seed=seed
        )
        self.target_network = rl.networks.Target(self.q_network)
        self.built = True

    @property
    def policy(self):
        return self.q_network

    @property
    def targets(self):
        return ((self.target_network, self.q_network),)

    def exploration(self):
        return {"epsilon": self.epsilon}

    def call(self, obs):
        best = keras.ops.argmax(self.q_network(obs), axis=-1)
        return rl.spaces.to_env(self.action_spec, best, keras.ops)

    def train_step(self, batch):
        target = expected_sarsa_target(
            batch["reward"],
            batch["discount"],
            self.target_network(batch["next_obs"]),
            self.epsilon,
        )

        def loss_fn():
            q_values = self.q_network(batch["obs"], training=True)
            q_value = rl.ops.take(q_values, batch["action"])
            error = rl.ops.squared(target - q_value)
            return rl.ops.weighted_mean(error, batch["weight"]), q_value

        weights = self.q_network.trainable_variables
        loss, q_value = self.minimize(loss_fn, weights)
        return self.finish(batch, loss=loss, q_value=q_value)

    def get_config(self):
        network = keras.saving.serialize_keras_object(self.network)
        config = {"network": network, "epsilon": self.epsilon}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


# --- Does it learn? ---------------------------------------------------------
# Toy environments have answers that are known before training. One function
# serves for both.


def train(env, epsilon, epochs):
    with rl.envs.make(env, num_envs=4, seed=0) as envs:
        network = rl.networks.mlp(envs.single_observation_space, [32], seed=0)
        agent = ExpectedSarsa(
            network, envs.single_action_space, epsilon=epsilon, seed=0
        )
        agent.compile(keras.optimizers.Adam(0.01), steps_per_execution=20)
        replay = rl.data.Replay(envs, capacity=10_000, gamma=0.9)
        agent.fit(
            replay.dataset(batch_size=32),
            steps_per_epoch=200,
            epochs=epochs,
            callbacks=[
                rl.callbacks.Collect(envs, replay, warmup=200),
                rl.callbacks.TargetUpdate(every=10),
            ],
            verbose=0,
        )
    return agent


# `Identity` shows one of four numbers, and pays a point for repeating it, ten
# times in an episode. A perfect agent gets 10.

agent = train(rl.envs.toy.Identity, epsilon=0.1, epochs=4)
result = rl.evaluate(agent, rl.envs.toy.Identity, episodes=20)
print(f"Identity: a return of {result['mean']:.1f}, of 10")
assert result["mean"] == 10

# `Chain` shows that the equation matters. Waiting pays 1 a step, but one of the
# two actions ends it all. The best play never ends, and is worth 1 / (1 - 0.9)
# = 10: that is what Q-learning finds. If an agent slips with epsilon = 0.2, it
# ends it all in one step out of ten. With q for staying, and 1 for ending,
#
#     q = 1 + 0.9 (0.9 q + 0.1 * 1), so q = 1.09 / 0.19 = 5.74.

agent = train(rl.envs.toy.Chain, epsilon=0.2, epochs=6)
only_state = np.array([0])
stay, end = agent.q_network(only_state).numpy()[0]
print(f"Chain: staying is worth {stay:.2f}, ending {end:.2f}")
assert abs(stay - 1.09 / 0.19) < 0.1 and abs(end - 1) < 0.1

# --- Save and load ----------------------------------------------------------
# Another program would import this file first: a `.keras` file holds no code,
# only the name under which the class was registered.

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "agent.keras"
    agent.save(path)
    loaded = rl.load(path)
assert isinstance(loaded, ExpectedSarsa) and loaded.epsilon == 0.2
assert np.allclose(loaded.q_network(only_state), [[stay, end]])
assert loaded.predict(only_state, verbose=0) == [np.argmax([stay, end])]

# --- To make it a citizen of the library ------------------------------------
# 1. The equation goes to `ops/value.py`, and the check above to its test.
# 2. The class goes to a file of its own in `agents/`, with one line in
#    `agents/__init__.py`.
# 3. `tests/agents/` gets its test: it solves a toy, and survives saving.
# 4. `presets/` gets a module with its settings, and the score that they must
#    reach, with one line in `presets/__init__.py`: the command line knows it.
#
# What you need not write: n-step returns, prioritised replay, dictionaries of
# observations, checkpoints, videos. They come with the batch and with `fit`.
