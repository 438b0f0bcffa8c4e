"""The tests' error rates are measured: fixed seeds, and enough repeats to see a broken test."""

import numpy as np
import pytest

from mlops_assets.domain.answer_columns import PREDICTED, SCORE, answer_columns
from mlops_assets.domain.contract import MISSING_CATEGORY, ContractColumn
from mlops_assets.domain.drift import ColumnDrift, DriftReport, drift
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.profile import Profile, build, profile_levels, profile_numbers

CONTRACT = (
    ContractColumn("temperature", "number", True),
    ContractColumn("seats", "integer", False),
    ContractColumn("night", "boolean", False),
    ContractColumn("carrier", "category", True),
    ContractColumn("airport", "category", False),
    ContractColumn("tail", "category", False),
)
ZIPF = 1 / np.arange(1, 51)


def period(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Six inputs, among them 50 uneven levels and thousands of near-unique ones, and a score."""
    temperature = rng.normal(60, 18, rows)
    temperature[rng.random(rows) < 0.02] = np.nan
    carriers = np.array(["AA", "B6", "UA", MISSING_CATEGORY], dtype=object)
    airports = np.array([f"A{i}" for i in range(50)], dtype=object)
    tails = np.array([f"N{i}" for i in range(4000)], dtype=object)
    score = rng.beta(2, 5, rows)
    return {
        "temperature": temperature,
        "seats": rng.choice([50.0, 100.0, 180.0, 300.0], rows),
        "night": (rng.random(rows) < 0.3).astype(float),
        "carrier": rng.choice(carriers, rows, p=[0.5, 0.3, 0.17, 0.03]),
        "airport": rng.choice(airports, rows, p=ZIPF / ZIPF.sum()),
        "tail": tails[(4000 * rng.random(rows) ** 2).astype(int)],
        **answers(score),
    }


def answers(score: np.ndarray) -> dict[str, np.ndarray]:
    return answer_columns(np.column_stack([1 - score, score]), ("0", "1"))


def reference(rng: np.random.Generator, rows: int = 5000) -> Profile:
    columns = period(rng, rows)
    score = columns.pop(SCORE)
    return build(columns, CONTRACT, np.column_stack([1 - score, score]), ("0", "1"))


def told(report: DriftReport, column: str, test: str) -> ColumnDrift:
    (found,) = [one for one in report.columns if (one.column, one.test) == (column, test)]
    return found


def judge(profile: Profile, current: dict[str, np.ndarray], **limits: float) -> DriftReport:
    chosen = {"false_alarm_rate": 0.01, "min_effect": 0.1, "min_rows": 100, "seed": 0} | limits
    return drift(profile, current, **chosen)  # type: ignore[arg-type]


def worst(report: DriftReport) -> str:
    return report.by_column[report.flagged[0]].test


@pytest.mark.parametrize("rows", [200, 2000])
def test_unchanged_data_raise_no_more_alarms_than_the_budget(rows: int):
    rng = np.random.default_rng(rows)
    reports = [
        judge(reference(rng), period(rng, rows), false_alarm_rate=0.05, min_effect=0)
        for _ in range(150)
    ]
    # 5% of 150 is 7.5; more than 16 has a probability below 0.2%.
    assert sum(bool(report.flagged) for report in reports) <= 16
    # With the effect's limit, and the budget that is usual, there are none.
    limited = [judge(reference(rng), period(rng, rows)) for _ in range(60)]
    assert not any(report.flagged for report in limited)


def test_chi_square_keeps_its_rate_with_50_levels_and_uses_it():
    rng = np.random.default_rng(1)
    levels = np.array([f"A{i}" for i in range(50)], dtype=object)
    below = 0
    for _ in range(300):
        profile = Profile({"airport": profile_levels(rng.choice(levels, 5000))})
        report = judge(profile, {"airport": rng.choice(levels, 2000)}, min_effect=0)
        below += told(report, "airport", "chi-square").p_value < 0.05
    # The reference is a sample too: a test that takes it as exact alarms in about all of these.
    assert 4 <= below <= 28


def test_the_distance_and_p_value_are_those_of_the_two_sample_test_on_all_rows():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(2)
    for shift in (0.0, 0.1, 0.5):
        old, new = rng.normal(size=3000), rng.normal(shift, 1, size=800)
        report = judge(Profile({"x": profile_numbers(old)}), {"x": new})
        ours = told(report, "x", "kolmogorov-smirnov")
        truth = ks_2samp(old, new, method="asymp")
        assert ours.statistic == pytest.approx(truth.statistic, abs=0.002)
        assert np.log10(ours.p_value) == pytest.approx(np.log10(truth.pvalue), rel=0.1, abs=0.05)


def test_a_unit_change_is_caught():
    rng = np.random.default_rng(3)
    current = period(rng, 500)
    current["temperature"] = (current["temperature"] - 32) * 5 / 9
    report = judge(reference(rng), current)
    assert report.flagged == ("temperature",)
    assert worst(report) == "kolmogorov-smirnov"
    assert "temperature: moved by 2." in report.reason


@pytest.mark.parametrize("rows", [200, 2000])
def test_a_new_level_is_caught(rows: int):
    rng = np.random.default_rng(4)
    current = period(rng, rows)
    current["carrier"][rng.random(rows) < 0.2] = "ZZ"
    report = judge(reference(rng), current)
    assert report.flagged == ("carrier",)


def test_new_levels_that_are_each_rare_are_caught_together():
    rng = np.random.default_rng(5)
    current = period(rng, 2000)
    current["airport"] = np.array([f"X{i}" for i in range(2000)], dtype=object)
    report = judge(reference(rng), current)
    assert report.flagged == ("airport",)
    assert {t.test for t in report.columns if t.flagged} >= {"new levels"}


def test_a_column_that_is_nine_tenths_missing_is_caught():
    rng = np.random.default_rng(6)
    for name, missing in (("seats", np.nan), ("carrier", MISSING_CATEGORY)):
        current = period(rng, 500)
        current[name][rng.random(500) < 0.9] = missing
        report = judge(reference(rng), current)
        assert report.flagged == (name,)
        assert worst(report) == "missing rate"


def test_a_column_that_is_wholly_missing_is_caught():
    rng = np.random.default_rng(7)
    current = period(rng, 500)
    current["seats"] = np.full(500, np.nan)
    current["airport"] = np.full(500, MISSING_CATEGORY, dtype=object)
    assert judge(reference(rng), current).flagged == ("airport", "seats")


def test_a_column_that_was_wholly_missing_at_the_release_is_caught_when_it_comes_back():
    profile = Profile({"x": profile_numbers(np.full(1000, np.nan))})
    assert judge(profile, {"x": np.ones(300)}).flagged == ("x",)
    assert judge(profile, {"x": np.full(300, np.nan)}).flagged == ()


def test_a_shifted_share_of_a_boolean_and_of_a_score_is_caught():
    rng = np.random.default_rng(8)
    current = period(rng, 2000)
    current["night"] = (rng.random(2000) < 0.5).astype(float)
    current |= answers(rng.beta(3, 4, 2000))
    assert set(judge(reference(rng), current).flagged) == {"night", SCORE, PREDICTED}


def test_a_trifling_shift_of_a_huge_period_is_not_flagged_though_it_is_significant():
    rng = np.random.default_rng(9)
    profile = Profile(
        {
            "x": profile_numbers(rng.normal(size=300_000)),
            "c": profile_levels(rng.choice(np.array(["a", "b"], dtype=object), 300_000)),
        }
    )
    current = {
        "x": rng.normal(0.08, 1, 300_000),
        "c": rng.choice(np.array(["a", "b"], dtype=object), 300_000, p=[0.55, 0.45]),
    }
    report = judge(profile, current)
    distributions = [told(report, "x", "kolmogorov-smirnov"), told(report, "c", "chi-square")]
    assert all(test.p_value < test.threshold for test in distributions)
    assert report.flagged == ()
    assert judge(profile, current, min_effect=0.01).flagged == ("c", "x")


def test_one_outlier_does_not_flag_its_column():
    rng = np.random.default_rng(10)
    current = period(rng, 2000)
    current["temperature"][0] = 1e12
    assert judge(reference(rng), current).flagged == ()


def test_a_period_of_a_million_rows_is_sampled_the_same_way_each_time():
    rng = np.random.default_rng(11)
    profile = Profile({"x": profile_numbers(rng.normal(size=5000))})
    current = {"x": rng.normal(0.3, 1, 1_000_000)}
    first, again, other = (judge(profile, current, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.rows == 1_000_000
    assert first != other


def test_too_few_rows_are_not_judged_and_the_report_says_so():
    rng = np.random.default_rng(12)
    report = judge(reference(rng), period(rng, 99))
    assert not report.judged
    assert report.reason == "too few rows to judge: 99 of 100"
    assert report.flagged == ()


def test_the_budget_is_shared_among_all_tests_of_the_report():
    rng = np.random.default_rng(13)
    report = judge(reference(rng), period(rng, 500))
    assert len(report.columns) > len(CONTRACT)
    assert {test.threshold for test in report.columns} == {0.01 / len(report.columns)}


def test_an_absent_column_or_one_of_other_length_is_refused():
    rng = np.random.default_rng(14)
    current = period(rng, 500)
    with pytest.raises(DataError, match="same number of rows"):
        judge(reference(rng), current | {"seats": np.ones(3)})
    del current["seats"]
    with pytest.raises(DataError, match="seats"):
        judge(reference(rng), current)


def test_the_worst_test_of_a_column_is_the_flagged_one():
    rng = np.random.default_rng(15)
    current = period(rng, 500)
    current["temperature"][rng.random(500) < 0.9] = np.nan
    report = judge(reference(rng), current)
    assert report.by_column["temperature"].flagged
    assert set(report.by_column) == {test.column for test in report.columns}


def test_a_rare_missing_value_is_chance_and_twenty_where_there_were_none_are_not():
    rng = np.random.default_rng(16)
    old = rng.normal(size=5000)
    for missing_before, missing_now, chance in ((2, 1, True), (0, 20, False)):
        before, now = old.copy(), rng.normal(size=200)
        before[:missing_before], now[:missing_now] = np.nan, np.nan
        report = judge(Profile({"x": profile_numbers(before)}), {"x": now}, min_effect=0)
        rate = told(report, "x", "missing rate")
        # A normal approximation would call one missing value of 200 unlikely (p = 0.008).
        assert (rate.p_value > 0.1) is chance
        assert rate.flagged is not chance
