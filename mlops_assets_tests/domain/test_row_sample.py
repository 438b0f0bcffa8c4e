import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.coded import Coded
from mlops_assets.domain.row_sample import RowSample, row_numbers

KEYS = np.random.default_rng(0).choice(2**62, 400, replace=False).astype(np.uint64)
NUMBERS = np.arange(400.0)
TEXTS = np.array([f"t{i}" for i in range(400)], dtype=object)


def sampled(order: np.ndarray, cuts: list[int], most: int, seed: int = 0) -> dict[str, np.ndarray]:
    sample = RowSample(most, seed)
    for rows in np.split(order, sorted(cuts)):
        coded = Coded(rows, tuple(TEXTS.tolist()))
        sample.add(KEYS[rows], {"x": NUMBERS[rows], "t": TEXTS[rows], "coded": coded})
    return sample.columns()


@given(
    order=st.permutations(range(400)),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    most=st.integers(1, 450),
)
def test_the_sample_is_the_same_in_any_order_and_any_batches(
    order: list[int], cuts: list[int], most: int
):
    whole = sampled(np.arange(400), [], most)
    other = sampled(np.array(order), cuts, most)
    assert len(whole["x"]) == min(most, 400) == len(set(whole["x"]))
    for name, values in whole.items():
        np.testing.assert_array_equal(values, other[name])


def test_rows_stay_together():
    found = sampled(np.arange(400), [70, 200], 50)
    assert [f"t{int(x)}" for x in found["x"]] == found["t"].tolist() == found["coded"].tolist()


def test_the_seed_decides_and_every_row_has_the_same_chance():
    drawn = np.zeros(400)
    for seed in range(400):
        drawn[sampled(np.arange(400), [], 100, seed)["x"].astype(int)] += 1
    # Binomial(400, 1/4): standard deviation 8.7, and 400 rows stay within 4.5 of them.
    assert abs(drawn - 100).max() < 40
    assert 7 < drawn.std() < 10.5


def test_neighbouring_row_numbers_are_sampled_independently():
    sample = RowSample(1000, 3)
    sample.add(row_numbers(5, 100_000), {"x": np.arange(100_000.0)})
    found = np.sort(sample.columns()["x"])
    assert abs(found.mean() - 50_000) < 4 * 100_000 / np.sqrt(12 * 1000)
    gaps = np.diff(found)
    # Gaps of uniform points are exponential: as wide as their spread.
    assert 0.9 < gaps.std() / gaps.mean() < 1.1
