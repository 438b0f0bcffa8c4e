from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.contract import ContractColumn
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.performance import LossReference, PerformanceReport, performance
from mlops_assets.domain.segments import Segments, segment_reference


def rows(rng: np.random.Generator, n: int, flipped: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from honest probabilities, a share of them flipped."""
    p = rng.beta(1, 3, n)
    y = (rng.random(n) < p).astype(int)
    y = np.where(rng.random(n) < flipped, 1 - y, y)
    return y, np.column_stack([1 - p, p])


def release(rng: np.random.Generator, n: int = 3000) -> LossReference:
    return LossReference.of(row_losses("binary", *rows(rng, n)))


def judge(
    y: np.ndarray, outputs: np.ndarray, reference: LossReference, **changes: Any
) -> PerformanceReport:
    limits = {
        "predictions": len(y),
        "min_rows": 200,
        "min_coverage": 0.8,
        "false_alarm_rate": 0.01,
        "previous_losses": None,
        "seed": 0,
    } | changes
    return performance("binary", y, outputs, ("0", "1"), reference=reference, **limits)


@pytest.mark.parametrize("n", [200, 2000])
def test_an_unchanged_world_rarely_looks_harmed(n: int):
    rng = np.random.default_rng(n)
    reports = [judge(*rows(rng, n), release(rng), false_alarm_rate=0.05) for _ in range(500)]
    harmed = sum(report.harmed for report in reports)
    # 5% of 500 is 25; a test that never alarms is as wrong as one that alarms too often.
    assert 8 <= harmed <= 40


@pytest.mark.parametrize(("n", "flipped", "power"), [(500, 0.15, 0.95), (2000, 0.08, 0.95)])
def test_flipped_labels_are_caught(n: int, flipped: float, power: float):
    rng = np.random.default_rng(1)
    reports = [judge(*rows(rng, n, flipped), release(rng)) for _ in range(100)]
    assert np.mean([report.harmed for report in reports]) >= power


def followed(
    rng: np.random.Generator, release_rows: int, n: int, periods: int, decay: float = 0.0
) -> list[PerformanceReport]:
    """A version's reports, each with the samples of those before it."""
    reference, reports = release(rng, release_rows), []
    for period in range(1, periods + 1):
        past = [report.sample for report in reports if report.sample]
        reports.append(judge(*rows(rng, n, decay * period), reference, past=past))
    return reports


def test_labels_that_decay_by_a_point_per_period_are_caught_within_six():
    rng = np.random.default_rng(2)
    caught = [
        any(r.harmed or r.decaying for r in followed(rng, 3000, 2000, 6, 0.01)) for _ in range(40)
    ]
    assert np.mean(caught) >= 0.95


@pytest.mark.parametrize("release_rows", [200, 2_000, 10_000])
@pytest.mark.parametrize("n", [200, 2_000, 10_000])
def test_both_alarms_together_rarely_flag_an_unchanged_world(release_rows: int, n: int):
    rng = np.random.default_rng(release_rows + n)
    found = [
        report.harmed or report.decaying
        for _ in range(30 if n > 2000 else 60)
        for report in followed(rng, release_rows, n, 10)
    ]
    assert np.mean(found) <= 0.02


def test_unharmed_periods_since_the_release_let_a_small_holdout_prove_more():
    rng = np.random.default_rng(21)
    caught, told = {True: 0, False: 0}, 0
    for _ in range(60):
        reference = release(rng, 300)
        past = [p for _ in range(5) if (p := judge(*rows(rng, 500), reference).sample)]
        y, outputs = rows(rng, 500, 0.07)
        for known in (True, False):
            report = judge(y, outputs, reference, past=past if known else ())
            caught[known] += report.harmed
            told += "unharmed period(s) since: p = " in report.reason
    assert caught[True] >= caught[False] + 10
    assert told >= 50


def test_harm_that_lasts_does_not_become_the_standard():
    rng = np.random.default_rng(22)
    reference, past = release(rng), []
    for _ in range(8):
        report = judge(*rows(rng, 1000, 0.2), reference, past=past)
        assert report.harmed
        assert report.sample
        past.append(report.sample)


def test_a_return_to_the_loss_of_the_release_is_no_harm():
    rng = np.random.default_rng(23)
    reference = LossReference(0.5, 0.3, 3000)
    easy = [judge(*rows(rng, 2000), reference).sample for _ in range(6)]
    assert all(sample and sample.mean < 0.48 for sample in easy)
    report = judge(*rows(rng, 2000, 0.03), reference, past=[p for p in easy if p])
    assert report.p_value is not None
    assert report.p_value < 0.008
    assert report.loss is not None
    assert report.loss < 0.51
    assert not report.harmed


def test_slow_decay_does_not_become_the_standard():
    rng = np.random.default_rng(11)
    soon = 0
    for _ in range(20):
        reports = followed(rng, 600, 1000, 8, 0.006)
        soon += any(report.harmed or report.decaying for report in reports)
    assert soon >= 14


def test_a_rise_that_no_period_proves_is_told_with_its_length():
    y, outputs = rows(np.random.default_rng(24), 1000)
    losses = row_losses("binary", y, outputs)
    risen = LossReference.of(losses)
    reference = LossReference(risen.mean - 1.6 * risen.std / 1000**0.5, risen.std, 100_000)
    report = judge(y, outputs, reference, past=[risen] * 7)
    assert not report.harmed
    assert report.decaying
    assert "; decaying: the loss has risen over 8 period(s), CUSUM " in report.reason
    assert not judge(y, outputs, reference, past=[risen] * 2).decaying


def test_a_million_rows_do_not_turn_a_trifle_into_harm():
    rng = np.random.default_rng(12)
    reference = release(rng, 1_000_000)
    report = judge(*rows(rng, 1_000_000, 0.003), reference)
    assert report.p_value is not None
    assert report.p_value < 1e-6
    assert not report.harmed
    assert not report.decaying
    assert "is less than 2.0% above" in report.reason
    assert judge(*rows(rng, 1_000_000, 0.003), reference, min_harm=0.001).harmed
    assert judge(*rows(rng, 1_000_000, 0.02), reference).harmed


def test_an_immature_period_is_reported_and_not_judged():
    rng = np.random.default_rng(13)
    report = judge(*rows(rng, 1000, 0.9), release(rng), immature="labels have until Monday")
    assert not report.judged
    assert not report.harmed
    assert report.reason == "not judged yet: labels have until Monday"
    assert report.loss is not None
    assert report.sample is None


def test_missing_labels_that_may_still_prove_the_model_right_are_told():
    rng = np.random.default_rng(14)
    y, outputs = rows(rng, 1000)
    reference = release(rng)
    report = judge(
        y[:850], outputs[:850], reference, predictions=1000, missing_outputs=outputs[850:]
    )
    assert report.loss_at_best is not None
    assert report.loss is not None
    assert report.loss_at_best < report.loss
    assert f"(at best {report.loss_at_best:.4f}, if the labels to come" in report.reason
    usual = judge(
        y[:850],
        outputs[:850],
        reference,
        predictions=1000,
        missing_outputs=outputs[850:],
        usual_coverage=0.85,
    )
    assert usual.loss_at_best == pytest.approx(usual.loss)


def test_a_better_period_is_no_harm():
    rng = np.random.default_rng(3)
    y, _ = rows(rng, 1000)
    report = judge(y, np.column_stack([1 - y, y]) * 0.98 + 0.01, release(rng))
    assert not report.harmed
    assert report.z is not None
    assert report.z < -5


def test_the_reason_tells_loss_reference_and_p_value_with_its_limit():
    rng = np.random.default_rng(4)
    report = judge(*rows(rng, 1000, 0.5), LossReference(0.45, 0.5, 3000))
    assert report.harmed
    assert f"loss {report.loss:.4f} is surely above 0.4500" in report.reason
    assert "(limit 0.008)" in report.reason
    assert report.metrics["log_loss"] == pytest.approx(report.loss)


@pytest.mark.parametrize(
    ("labels", "predictions", "judged"), [(199, 199, False), (200, 251, False), (200, 250, True)]
)
def test_labels_that_are_few_or_cover_little_are_not_judged(
    labels: int, predictions: int, judged: bool
):
    rng = np.random.default_rng(5)
    report = judge(*rows(rng, labels, 0.9), release(rng), predictions=predictions)
    assert report.judged is judged
    assert report.harmed is judged
    assert ("too few labels" in report.reason) is not judged
    assert report.metrics


def test_a_period_without_labels_is_reported_without_numbers():
    report = judge(
        np.empty(0, dtype=int), np.empty((0, 2)), LossReference(0.4, 0.5, 100), predictions=0
    )
    assert (report.judged, report.loss, report.z, report.metrics) == (False, None, None, {})
    assert report.coverage == 0


def test_the_previous_version_is_better_only_if_surely_so():
    rng = np.random.default_rng(6)
    y, outputs = rows(rng, 1000)
    losses = row_losses("binary", y, outputs)
    for previous, better in ((losses * 0.8, True), (losses, False), (losses * 1.2, False)):
        report = judge(y, outputs, release(rng), previous_losses=previous)
        assert report.previous_is_better is better
    assert not judge(y, outputs, release(rng)).previous_is_better


def test_equal_versions_rarely_call_each_other_better():
    rng = np.random.default_rng(7)
    better = 0
    for seed in range(150):
        y, outputs = rows(rng, 300)
        previous = row_losses("binary", y, outputs) + rng.normal(0, 0.1, 300)
        report = judge(
            y, outputs, release(rng), previous_losses=previous, false_alarm_rate=0.05, seed=seed
        )
        better += report.previous_is_better
    assert better <= 17


def test_a_regression_is_judged_by_its_absolute_error():
    rng = np.random.default_rng(8)
    reference = LossReference.of(np.abs(rng.normal(0, 10, 2000)))
    y = rng.normal(100, 30, 500)
    for spread, harmed in ((10, False), (15, True)):
        report = performance(
            "regression",
            y,
            (y + rng.normal(0, spread, 500))[:, None],
            (),
            predictions=500,
            reference=reference,
            min_rows=200,
            min_coverage=0.8,
            false_alarm_rate=0.01,
            previous_losses=None,
            seed=0,
        )
        assert report.harmed is harmed
        assert "mae" in report.metrics


def test_more_labels_than_predictions_are_refused():
    rng = np.random.default_rng(9)
    with pytest.raises(DataError, match="300 labels for 299 predictions"):
        judge(*rows(rng, 300), release(rng), predictions=299)


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, np.nan]])
def test_a_loss_reference_needs_finite_losses(losses: list[float]):
    with pytest.raises(DataError, match="2 or more finite"):
        LossReference.of(np.array(losses))


def test_losses_without_any_spread_do_not_divide_by_zero():
    y, outputs = np.ones(300, dtype=int), np.tile([0.5, 0.5], (300, 1))
    same = LossReference(float(-np.log(0.5)), 0.0, 300)
    assert not judge(y, outputs, same).harmed
    assert judge(y, outputs, LossReference(0.1, 0.0, 300)).harmed


def in_a_world_with(shifts: Sequence[float], rng: np.random.Generator) -> list[PerformanceReport]:
    """Reports of periods in which this share of the labels of one store of four is flipped."""
    columns = (ContractColumn("store", "category", True),)

    def drawn(n: int, share: float) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        y, outputs = rows(rng, n)
        store = rng.choice(np.array(["a", "b", "c", "d"], dtype=object), n)
        y = np.where((store == "b") & (rng.random(n) < share), 1 - y, y)
        return {"store": store}, y, outputs

    held, y, outputs = drawn(800, 0.0)
    reference = LossReference.of(row_losses("binary", y, outputs))
    cut = segment_reference("binary", y, outputs, held, columns, blocks=np.zeros(800, dtype=int))
    reports = []
    for share in shifts:
        inputs, y, outputs = drawn(500, share)
        reports.append(
            judge(y, outputs, reference, segments=Segments(cut, inputs, np.zeros(500, dtype=int)))
        )
    return reports


def test_harm_in_a_part_of_the_rows_is_harm_that_the_mean_of_all_does_not_prove():
    rng = np.random.default_rng(20)
    reports = [in_a_world_with([0.3], rng)[0] for _ in range(40)]
    hidden = [one for one in reports if one.p_value is not None and one.p_value > 0.007]
    found = [one for one in hidden if one.harmed]
    assert len(found) >= 0.6 * len(hidden) >= 9
    assert all(one.segment and one.segment.segment == "store = b" for one in found)
    assert "is not surely above" in found[0].reason
    assert "with store = b" in found[0].reason


def test_segments_take_their_false_alarms_from_the_same_budget():
    rng = np.random.default_rng(21)
    reports = [one for _ in range(60) for one in in_a_world_with([0.0] * 5, rng)]
    assert np.mean([one.harmed or one.decaying for one in reports]) <= 0.03
    assert "(limit 0.007)" in reports[0].reason


def test_versions_without_a_reference_of_segments_are_judged_as_before():
    rng = np.random.default_rng(22)
    report = judge(*rows(rng, 500), release(rng))
    assert report.segment is None
    assert "(limit 0.008)" in report.reason
