import numpy as np

from mlops_assets.domain.coded import Coded


def test_codes_and_their_table_are_the_texts():
    assert Coded(np.array([1, 0, 1]), ("a", "b")).texts().tolist() == ["b", "a", "b"]


def test_rows_are_taken_as_from_an_array():
    texts = ["b", "a", "b", "c"]
    coded, array = Coded.of(texts), np.array(texts, dtype=object)
    for rows in (slice(1, 3), np.array([3, 0, 0]), array == "b", slice(0, 0)):
        taken = coded[rows]
        assert len(taken) == len(array[rows])
        assert taken.tolist() == taken.texts().tolist() == array[rows].tolist()
