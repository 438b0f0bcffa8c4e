"""Bins of many features at once, against a binary search in each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.threshold_bins import ThresholdBins

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
FEATURES = st.lists(st.sets(FLOATS, min_size=1, max_size=30), min_size=1, max_size=4)


@given(FEATURES, st.lists(st.floats(width=32), min_size=1, max_size=10), st.booleans())
def test_a_value_has_the_bin_that_a_search_finds_and_nan_the_one_after_the_last(
    features: list[set[float]], others: list[float], is_strict: bool
):
    thresholds = [np.unique(np.array([*one], dtype=np.float32)) for one in features]
    # Some thresholds among the values: what matters is which side they fall on.
    values = np.array([[*others, *(next(iter(one)) for one in features)]] * len(features))
    values = values.astype(np.float32)
    found = ThresholdBins(thresholds, is_strict).of(values)
    side = "right" if is_strict else "left"
    for one, row, bins in zip(thresholds, values, found, strict=True):
        searched = np.searchsorted(one, row, side=side)  # type: ignore[call-overload]
        assert bins.tolist() == np.where(np.isnan(row), len(one) + 1, searched).tolist()
