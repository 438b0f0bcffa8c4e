import numpy as np

from mlops_assets.domain.coded import Coded


def test_codes_and_their_table_are_the_texts():
    assert Coded(np.array([1, 0, 1]), ("a", "b")).texts().tolist() == ["b", "a", "b"]
