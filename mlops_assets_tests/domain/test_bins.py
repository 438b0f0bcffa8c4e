import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.bins import Bins

NAN = float("nan")
numbers = st.floats(allow_infinity=False)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float).reshape(-1, 1)


def test_a_value_on_an_edge_is_above_it_and_a_missing_one_is_apart():
    found = Bins([0.0, 10.0]).fit_transform(column(-1, 0, 9.9, 10, 99, NAN))
    assert found.ravel().tolist() == [0, 1, 1, 2, 2, -1]


def test_one_hot_has_a_column_for_each_bin_and_for_missing_values():
    step = Bins([0.0, 10.0], one_hot=True).fit(column(0))
    found = step.transform(column(NAN, -1, 5, 10))
    np.testing.assert_array_equal(found, np.eye(4))
    names = step.get_feature_names_out(["a"]).tolist()
    assert names == ["bin(a)_missing", "bin(a)_0", "bin(a)_1", "bin(a)_2"]


def test_quantiles_are_equally_full_and_learned_once():
    step = Bins(quantiles=4).fit(column(*range(100)))
    found = step.transform(column(*range(100))).ravel()
    _, counts = np.unique(found, return_counts=True)
    assert counts.max() - counts.min() <= 2
    assert step.transform(column(-50, 500)).ravel().tolist() == [0, 3]


@pytest.mark.parametrize("values", [(5.0, 5.0, 5.0), (NAN, NAN)])
def test_columns_of_one_value_or_none_have_few_bins(values: tuple[float, ...]):
    step = Bins(quantiles=4).fit(column(*values))
    assert len(step.edges_) <= 1
    assert len(np.unique(step.transform(column(*values)))) == 1


@given(
    edges=st.lists(numbers.filter(lambda x: x == x), unique=True, max_size=8),
    values=st.lists(numbers, min_size=1),
)
def test_bins_are_what_searching_sorted_edges_gives(edges: list[float], values: list[float]):
    found = Bins(sorted(edges)).fit_transform(column(*values)).ravel()
    expected = np.searchsorted(np.sort(edges), values, side="right").astype(float)
    expected[np.isnan(values)] = -1
    np.testing.assert_array_equal(found, expected)
