import numpy as np
import pytest

from mlops_assets.domain.evaluation import Floats
from mlops_assets.domain.gates import (
    SliceRule,
    calibrated,
    documented,
    minimum_quality,
    not_worse_than_champion,
    serves_as_trained,
    slices_hold,
)
from mlops_assets.domain.parity import ParityResult


def losses(seed: int, rows: int = 2000) -> np.ndarray:
    return np.random.default_rng(seed).exponential(0.4, rows)


def against(challenger: Floats, champion: Floats | None, margin: float = 0.02):
    return not_worse_than_champion(challenger, champion, margin, 0.95, 0)


def test_a_floor_is_for_scores_and_a_ceiling_for_losses():
    metrics = {"accuracy": 0.8, "log_loss": 0.5}
    assert minimum_quality(metrics, {"accuracy": 0.8, "log_loss": 0.5}).passed
    assert not minimum_quality(metrics, {"accuracy": 0.81}).passed
    assert not minimum_quality(metrics, {"log_loss": 0.49}).passed


def test_the_reason_of_a_failed_minimum_names_metric_value_and_limit():
    result = minimum_quality({"accuracy": 0.8123}, {"accuracy": 0.9})
    assert result.reason == "accuracy 0.8123 (at least 0.9)"
    assert result.evidence == {"accuracy": 0.8123}


@pytest.mark.parametrize("metrics", [{}, {"roc_auc": float("nan")}, {"log_loss": float("nan")}])
def test_a_metric_that_is_absent_or_nan_fails_its_minimum(metrics: dict[str, float]):
    assert not minimum_quality(metrics, {"roc_auc": 0.0} | dict.fromkeys(metrics, 1.0)).passed


def test_without_minimum_quality_passes_and_says_so():
    result = minimum_quality({"accuracy": 0.1}, {})
    assert result.passed
    assert result.reason == "no limits are set"


def test_a_tie_with_the_champion_passes_even_without_margin():
    assert against(losses(0), losses(0), margin=0.0).passed


def test_a_clearly_worse_challenger_fails_with_the_numbers():
    result = against(losses(0) * 1.2, losses(0))
    assert not result.passed
    assert result.evidence["lower"] > 0
    assert "above the margin" in result.reason


def test_a_slightly_worse_challenger_passes_within_the_margin_so_the_gate_is_no_bare_comparison():
    champion = losses(0)
    assert against(champion * 1.01, champion).passed
    assert not against(champion * 1.01, champion, margin=0.0).passed


def test_a_better_average_on_few_noisy_rows_is_not_enough():
    champion, challenger = losses(0, 60), losses(5, 60)
    challenger *= champion.mean() / challenger.mean() * 0.99
    assert challenger.mean() < champion.mean()
    assert not against(challenger, champion).passed


def test_a_challenger_worse_by_twice_the_margin_rarely_passes_and_an_equal_one_mostly_does():
    rng = np.random.default_rng(1)
    passed = {1.0: 0, 1.04: 0}
    for _ in range(60):
        champion = rng.exponential(0.4, 4000)
        noise = rng.normal(0, 0.05, 4000)
        for factor in passed:
            passed[factor] += against(champion * factor + noise, champion).passed
    assert passed[1.0] >= 57
    assert passed[1.04] <= 2


def test_the_first_release_passes_for_want_of_a_champion_and_says_so():
    assert "no champion" in against(losses(0), None).reason
    assert against(losses(0), None).passed
    assert slices_hold({}, losses(0), None, [SliceRule("carrier", 10, 1.1)], 0.95, 0).passed


def test_too_few_rows_cannot_prove_a_challenger():
    result = against(losses(0, 29), losses(0, 29))
    assert not result.passed
    assert "29 rows are too few" in result.reason


def carriers(rows: int = 2000) -> dict[str, np.ndarray]:
    return {"carrier": np.resize(np.array(["AA", "B6", "UA", "WN"], dtype=object), rows)}


def judge_slices(
    challenger: Floats,
    champion: Floats | None,
    rules: list[SliceRule],
    values: dict[str, np.ndarray] | None = None,
):
    return slices_hold(values or carriers(), challenger, champion, rules, 0.95, 0)


def test_a_slice_that_is_sacrificed_for_the_average_fails_by_name():
    champion = losses(0)
    worse = carriers()["carrier"] == "UA"
    challenger = np.where(worse, champion * 1.5, champion * 0.5)
    assert challenger.mean() < champion.mean()
    result = judge_slices(challenger, champion, [SliceRule("carrier", 200, 1.1)])
    assert not result.passed
    assert "carrier=UA 1.500 (limit 1.1)" in result.reason
    assert "carrier=AA" not in result.reason


def test_slices_below_their_least_number_of_rows_are_not_judged():
    champion = losses(0)
    result = judge_slices(champion * 3, champion, [SliceRule("carrier", 501, 1.1)])
    assert result.passed
    assert result.reason == "no slice is large enough to judge"


def test_equal_models_with_many_noisy_slices_rarely_fail():
    rng = np.random.default_rng(2)
    failed = 0
    for seed in range(25):
        values = {"airport": rng.integers(0, 15, 2250)}
        a, b = rng.exponential(size=2250), rng.exponential(size=2250)
        rules = [SliceRule("airport", 30, 1.0)]
        failed += not slices_hold(values, a, b, rules, 0.9, seed).passed
    assert failed <= 5


def test_without_declared_slices_the_gate_says_so():
    assert judge_slices(losses(0), losses(1), []).reason == "no slices are declared"


def test_calibration_is_judged_only_where_both_an_error_and_a_limit_exist():
    assert calibrated(0.04, 0.05).passed
    assert not calibrated(0.06, 0.05).passed
    assert "0.0600 (above 0.05)" in calibrated(0.06, 0.05).reason
    assert calibrated(0.9, None).reason == "expected calibration error 0.9000; no limit is set"
    assert "regression" in calibrated(None, 0.05).reason


@pytest.mark.parametrize(
    ("holds", "latency", "passed"), [(True, 9.0, True), (False, 9.0, False), (True, 11.0, False)]
)
def test_serving_must_be_both_faithful_and_fast(holds: bool, latency: float, passed: bool):
    parity = ParityResult(100, 1.0, 2e-7, holds, "100% of 100 rows")
    result = serves_as_trained(parity, latency, 10.0)
    assert result.passed is passed
    assert "100% of 100 rows" in result.reason
    assert f"{latency:.3g} ms" in result.reason


def test_a_card_is_asked_for_only_where_it_is_required():
    assert documented((), required=True).passed
    found = documented(("owner", "card.limits"), required=True)
    assert not found.passed
    assert "fill in owner, card.limits in defs.yaml" in found.reason
    assert documented(("owner",), required=False).reason == "not filled in, and not required: owner"
    assert documented(("owner",), required=False).passed
