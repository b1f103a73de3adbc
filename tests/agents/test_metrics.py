import numpy as np

from keras_rl2x.agents.metrics import Means


def test_means_of_several_numbers():
    means = Means(["loss", "q"])
    means.update_state({"loss": 1.0, "q": np.array([2.0, 4.0]), "other": 9.0})
    means.update_state({"loss": 2.0, "q": np.array([[5.0], [7.0]])})
    result = {name: float(value) for name, value in means.result().items()}
    assert result == {"loss": 1.5, "q": 4.5}
    assert list(result) == ["loss", "q"]


def test_reset():
    means = Means(["loss"])
    means.update_state({"loss": 3.0})
    means.reset_state()
    assert float(means.result()["loss"]) == 0.0
    means.update_state({"loss": 5.0})
    assert float(means.result()["loss"]) == 5.0
