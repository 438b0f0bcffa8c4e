from datetime import UTC, datetime

import numpy as np
import pytest

from mlops_assets.domain.time_blocks import between_blocks, time_blocks, unevenness


def test_a_period_has_seven_blocks_and_a_week_days():
    start, end = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
    hours = np.datetime64("2026-03-02T00:00") + np.arange(7 * 24) * np.timedelta64(1, "h")
    np.testing.assert_array_equal(time_blocks(hours, start, end), np.arange(7 * 24) // 24)
    outside = np.array(["2026-03-01", "2026-03-09"], dtype="datetime64[us]")
    assert time_blocks(outside, start, end).tolist() == [0, 6]


def test_rows_of_one_block_share_all_of_its_fate_and_evenly_spread_ones_a_part():
    rows = np.array([[10.0, 40.0, 0.0], [10.0, 0.0, 0.0], [10.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    assert unevenness(rows) == pytest.approx([0.25, 1.0, 0.0])


def drawn(rng: np.random.Generator, between: float, means: int = 5) -> np.ndarray:
    """The estimates of one drawing: 30 blocks of 50 rows per mean, rows with variance 1."""
    fates = rng.normal(scale=np.sqrt(between), size=(30, means))
    sums = rng.normal(50 * fates, np.sqrt(50))
    rows = np.full((30, means), 50.0)
    return between_blocks(rows, sums, np.ones(means), [slice(0, means)], 60)


def test_a_variance_between_blocks_is_estimated_and_none_is_found_where_there_is_none():
    rng = np.random.default_rng(0)
    assert np.mean([drawn(rng, 0.1)[0] for _ in range(50)]) == pytest.approx(0.1, rel=0.1)
    quiet = [drawn(rng, 0.0)[0] for _ in range(200)]
    assert sum(found > 0 for found in quiet) <= 12
    assert max(quiet) < 0.02


def test_a_group_has_its_own_variance_and_at_least_that_of_all():
    rng = np.random.default_rng(1)
    fates = rng.normal(scale=[0.5] * 3 + [0.0] * 3, size=(30, 6))
    rows = np.full((30, 6), 50.0)
    sums = rng.normal(50 * fates, np.sqrt(50))
    found = between_blocks(rows, sums, np.ones(6), [slice(0, 3), slice(3, 6)], 60)
    assert found[:3] == pytest.approx(0.25, rel=0.3)
    assert found[3:] == pytest.approx(0.125, rel=0.3)


def test_one_block_or_few_rows_tell_nothing():
    assert between_blocks(np.full((1, 2), 90.0), np.ones((1, 2)), np.ones(2), [], 60).tolist() == [
        0,
        0,
    ]
    few = between_blocks(np.full((2, 1), 20.0), np.array([[20.0], [-20.0]]), np.ones(1), [], 60)
    assert few.tolist() == [0]
