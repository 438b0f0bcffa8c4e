import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.coded import Coded
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.period_summary import (
    Batch,
    PeriodSummariser,
    PeriodSummary,
    summarise,
)
from mlops_assets.domain.profile import Profile, profile_levels, profile_numbers

NAN = float("nan")
REFERENCE = Profile(
    {
        "x": profile_numbers(np.array([0.0, 1.0, 2.0, 10.0])),
        "c": profile_levels(np.array(["a", "b", "a"], dtype=object)),
    }
)
numbers = st.sampled_from([NAN, float("inf"), -1.0, 0.0, 1.5, 10.0, 11.0])
levels = st.sampled_from(["a", "b", "z", "y", MISSING_CATEGORY])


def columns(rows: list[tuple[float, str]]) -> dict[str, np.ndarray]:
    return {
        "x": np.array([x for x, _ in rows], dtype=float),
        "c": np.array([c for _, c in rows], dtype=object),
    }


def coded(texts: np.ndarray) -> Coded:
    values, codes = np.unique(np.append(texts, "unused").astype(str), return_inverse=True)
    return Coded(codes[:-1], tuple(values.tolist()))


def facts(summary: PeriodSummary) -> list[object]:
    return [
        summary.rows,
        [
            (c.rows, c.missing, c.outside, c.least, c.greatest, c.new, sorted(c.levels.items()))
            for c in summary.columns.values()
        ],
        [repr(c.sample.tolist()) for c in summary.columns.values()],
    ]


@given(
    rows=st.lists(st.tuples(numbers, levels), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    most=st.integers(1, 70),
)
def test_one_batch_or_many_coded_or_not_give_the_same_summary(
    rows: list[tuple[float, str]], cuts: list[int], most: int
):
    whole = columns(rows)
    one = PeriodSummariser(REFERENCE, seed=4, most_rows=most).add(Batch(whole)).summary()
    many = PeriodSummariser(REFERENCE, seed=4, most_rows=most)
    for part in np.split(np.arange(len(rows)), sorted(min(cut, len(rows)) for cut in cuts)):
        many.add(Batch({"x": whole["x"][part], "c": coded(whole["c"][part])}))
    assert facts(one) == facts(many.summary())


@given(st.lists(st.tuples(numbers, levels), min_size=1, max_size=60))
def test_counts_are_those_of_all_rows_though_few_are_sampled(rows: list[tuple[float, str]]):
    summary = PeriodSummariser(REFERENCE, seed=0, most_rows=3).add(Batch(columns(rows))).summary()
    x, c = summary.columns["x"], summary.columns["c"]
    present = [value for value, _ in rows if np.isfinite(value)]
    assert (x.rows, x.present) == (len(rows), len(present))
    assert x.outside == sum(value < 0 or value > 10 for value in present)
    assert (x.least, x.greatest) == (min(present, default=np.inf), max(present, default=-np.inf))
    texts = [text for _, text in rows]
    assert c.missing == texts.count(MISSING_CATEGORY)
    assert c.levels == {name: texts.count(name) for name in "ab" if name in texts}
    assert c.new == texts.count("z") + texts.count("y")
    assert len(x.sample) == len(c.sample) == min(3, len(rows))


def test_keys_make_the_sample_independent_of_the_order_of_rows():
    rng = np.random.default_rng(0)
    x, keys = rng.normal(size=5000), rng.permutation(5000).astype(np.uint64)
    reference = Profile({"x": profile_numbers(x)})
    turned = rng.permutation(5000)
    samples = [
        PeriodSummariser(reference, seed=1, most_rows=100)
        .add(Batch({"x": x[order]}, keys[order]))
        .summary()
        .sample["x"]
        for order in (np.arange(5000), turned)
    ]
    np.testing.assert_array_equal(*samples)


def test_memory_does_not_grow_with_the_rows():
    rng = np.random.default_rng(0)
    reference = Profile({"c": profile_levels(np.array(["a"], dtype=object))})

    def peak(batches: int) -> int:
        tracemalloc.start()
        summarise(
            reference,
            (
                Batch({"c": Coded(np.arange(20_000), tuple(map(str, rng.random(20_000))))})
                for _ in range(batches)
            ),
            seed=0,
        )
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(12) < 1.3 * peak(2)


def test_an_empty_period_has_no_rows():
    assert summarise(REFERENCE, [], seed=0).rows == 0


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        (Batch({"x": np.zeros(2)}), "not in the period: c"),
        (Batch({"x": np.zeros(2), "c": np.array(["a"], dtype=object)}), "same number of rows"),
        (
            Batch(
                {"x": np.zeros(1), "c": np.array(["a"], dtype=object)}, np.zeros(2, dtype=np.uint64)
            ),
            "same number of rows",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch: Batch, told: str):
    with pytest.raises(DataError, match=told):
        summarise(REFERENCE, [batch], seed=0)
