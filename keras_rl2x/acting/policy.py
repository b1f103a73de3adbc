"""An agent's behaviour while collecting: a snapshot of it, for N envs."""

import warnings

import keras
import numpy as np

from keras_rl2x import spaces
from keras_rl2x.acting import export
from keras_rl2x.acting.driver import play_episodes
from keras_rl2x.acting.faults import finite
from keras_rl2x.acting.graph import GraphNetwork
from keras_rl2x.acting.host import HostNetwork
from keras_rl2x.acting.host import available
from keras_rl2x.acting.noise import OrnsteinUhlenbeck
from keras_rl2x.acting.noise import factors

WHERE = ("auto", "host", "graph")


class Policy:
    """Acts as the agent did when it was made, or `snapshot` was last called.

    Its actions are in the agent's units, which `spaces.to_env` turns into the
    environments'.

    Args:
        agent: An `Agent`.
        num_envs: Integer, the number of observations in a batch.
        where: `"host"` computes the network with LiteRT on one thread,
            `"graph"` with a `tf.function`; `"auto"` chooses the host unless
            LiteRT is missing or cannot convert the network, there is a GPU,
            or it is a convolution of many images at once. Both compute in
            `float32`. Defaults to `"auto"`.
        seed: Integer seed of the exploration. Defaults to 0.

    Raises:
        ValueError: If there is no such `where`.

    Attributes:
        where: `"host"` or `"graph"`: what was chosen.
        rng: The `numpy.random.Generator` that explores.
        memory: Array `[N, M]`, what a recurrent network remembers; `None` if
            it does not.
    """

    def __init__(self, agent, num_envs, where="auto", seed=0):
        if where not in WHERE:
            raise ValueError(
                f"The policy must run in one of {WHERE}. Received: {where!r}"
            )
        self.agent = agent
        self._begin(seed)
        self._network = self._make_network(num_envs, where)
        variables = export.weights(agent.policy)
        self._read = export.reader(variables)
        # Layers that explore say which of their weights are noise.
        self._widths = [
            v.shape[0] if getattr(v, "is_noise", False) else None
            for v in variables
        ]
        self.memory = None
        if agent.memory_size:
            self.memory = np.zeros((num_envs, agent.memory_size), "float32")
        self.snapshot()

    def _make_network(self, num_envs, where):
        network = export.in_float32(self.agent.policy)
        if where == "auto":
            where = _choose(network, num_envs)
            may_fail = True
        else:
            may_fail = False
        if where == "host":
            try:
                self.where = "host"
                return HostNetwork(export.flatbuffer(network, num_envs))
            except Exception as error:  # The converter raises what it likes.
                if not may_fail:
                    raise
                warnings.warn(
                    f"LiteRT cannot run the network '{network.name}' ({error})"
                    ": acting in the graph instead, which is slower for small "
                    'networks. where="graph" does so without this warning.',
                    stacklevel=2,
                )
        self.where = "graph"
        return GraphNetwork(network, num_envs)

    def _begin(self, seed):
        """Explores anew, from a seed."""
        self.rng = np.random.default_rng(seed)
        self._noise = None
        if self.agent.noise_correlation:
            self._noise = OrnsteinUhlenbeck(
                self.rng, self.agent.noise_correlation
            )

    def snapshot(self):
        """Copies the agent's weights and exploration, as they are now."""
        self._network.set_weights(self._read())
        self._exploration = self.agent.exploration()

    def _set_noise(self, draw):
        """Sets the noise in the weights: `draw` is called with each width."""
        if any(self._widths):
            self._network.set_weights(
                [width and draw(width) for width in self._widths]
            )

    def explore(self, obs, begins=None):
        """Actions, as the agent's exploration and its noise have them.

        Noise of weights is drawn anew in each call, one for all observations.

        Args:
            obs: Array `[N, ...]` (or a structure of such).
            begins: Boolean array `[N]`, whose episodes begin here; elsewhere a
                memory goes on, and noise. Defaults to `None`: nowhere.

        Returns:
            Array `[N, ...]`, in the agent's units.
        """
        rng = self.rng
        self._set_noise(lambda width: factors(rng, width))
        outputs = self._compute(obs, begins)
        if self._noise is not None:
            self._noise.begin(begins)
            rng = self._noise
        return self.agent.sampler(outputs, rng, **self._exploration)

    def greedy(self, obs, begins=None):
        """The same, the best actions that the agent knows, without noise."""
        self._set_noise(lambda width: np.zeros(width, "float32"))
        outputs = self._compute(obs, begins)
        return self.agent.sampler(
            outputs, self.rng, **self.agent.no_exploration
        )

    def _compute(self, obs, begins):
        if self.memory is None:
            return self._network(obs)
        if begins is not None:
            self.memory = np.where(begins[:, None], 0, self.memory)
        outputs, self.memory = self._network(
            {"memory": self.memory, "observation": obs}
        )
        return outputs

    def play(self, envs, episodes, seed, greedy=True, on_step=None):
        """Plays whole episodes with the agent as it is now.

        Args:
            envs: A vector environment of this policy's `num_envs`.
            episodes: Integer.
            seed: Integer seed of the environments and of the exploration.
            greedy: Boolean. Defaults to `True`.
            on_step: As in `acting.play_episodes`.

        Returns:
            `Episodes`; see `acting.play_episodes`.

        Raises:
            Diverged: If an action is not finite.
        """
        self.snapshot()
        self._begin(seed)
        act = self.greedy if greedy else self.explore
        spec = self.agent.action_spec
        return play_episodes(
            envs,
            lambda obs, begins: spaces.to_env(spec, finite(act(obs, begins))),
            episodes,
            seed,
            on_step,
        )


def _choose(network, num_envs):
    if not available() or _has_gpu():
        return "graph"
    layers = list(network._flatten_layers(include_self=False))
    images = any(isinstance(layer, keras.layers.Conv2D) for layer in layers)
    # Measured: one thread of LiteRT loses to two of TensorFlow from here on.
    return "graph" if images and num_envs >= 8 else "host"


def _has_gpu():
    return any("gpu" in device for device in keras.distribution.list_devices())
