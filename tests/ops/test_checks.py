import numpy as np
import pytest

from keras_rl2x.ops import checks


def test_right_ranks_pass():
    checks.assert_rank(1, reward=np.zeros(3), discount=np.zeros(3))
    checks.assert_rank(0, loss=np.zeros(()))


def test_wrong_rank_is_named():
    with pytest.raises(ValueError, match=r"`value` must have 1 axes") as error:
        checks.assert_rank(1, reward=np.zeros(3), value=np.zeros((3, 1)))
    assert str(error.value).endswith("Received: value of shape (3, 1)")
