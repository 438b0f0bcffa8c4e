import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.flights import scored_flights
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.estimation import (
    Curve,
    Estimator,
    estimate,
    fit_estimator,
    mean_absolute_error,
    probabilities,
    uncalibrated,
)
from mlops_assets.domain.evaluation import metrics, row_losses


def overconfident(
    rng: np.random.Generator, n: int, a: float = 1.0, b: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a world whose model tells too extreme probabilities; beta(a, b) draws the rows."""
    chance = rng.beta(a, b, n)
    y = (rng.random(n) < chance).astype(int)
    odds = (chance / (1 - chance)) ** 1.7
    told = odds / (1 + odds)
    return y, np.column_stack([1 - told, told])


def test_calibrated_probabilities_are_those_of_scikit_learns_isotonic_regression():
    from sklearn.isotonic import IsotonicRegression

    y, outputs = overconfident(np.random.default_rng(0), 20_000)
    ours = fit_estimator("binary", y, outputs).curves[1]
    theirs = IsotonicRegression(out_of_bounds="clip").fit(outputs[:, 1], y)
    at = np.quantile(outputs[:, 1], np.linspace(0.02, 0.98, 50))
    apart = np.abs(ours.at(at) - theirs.predict(at))
    assert apart.max() < 0.08
    assert apart.mean() < 0.01
    assert len(ours.x) <= 100


def test_on_the_holdout_the_estimate_is_what_the_labels_said():
    y, outputs = overconfident(np.random.default_rng(1), 6_000)
    found = estimate(fit_estimator("binary", y, outputs), outputs)
    expected = metrics("binary", y, outputs, ("0", "1"))
    assert found.loss == pytest.approx(row_losses("binary", y, outputs).mean())
    for name in ("accuracy", "precision", "recall", "f1"):
        assert found.metrics[name] == pytest.approx(expected[name], abs=0.02), name
    assert found.calibrated


def test_calibration_repairs_what_raw_probabilities_promise():
    rng = np.random.default_rng(2)
    estimator = fit_estimator("binary", *overconfident(rng, 6_000))
    y, outputs = overconfident(rng, 20_000)
    truth = row_losses("binary", y, outputs).mean()
    raw = uncalibrated("binary", 2)
    assert raw is not None
    told = estimate(raw, outputs)
    assert not told.calibrated
    assert told.loss < truth * 0.9
    assert estimate(estimator, outputs).loss == pytest.approx(truth, rel=0.04)


def test_under_covariate_shift_the_estimate_follows_the_loss():
    rng = np.random.default_rng(3)
    y, outputs = overconfident(rng, 8_000)
    released = row_losses("binary", y, outputs).mean()
    estimator = fit_estimator("binary", y, outputs)
    for a, b in ((1.0, 8.0), (2.0, 2.0)):
        y, outputs = overconfident(rng, 20_000, a, b)
        realised = row_losses("binary", y, outputs).mean()
        assert abs(realised - released) > 0.09
        assert abs(estimate(estimator, outputs).loss - realised) < abs(realised - released) / 4


@pytest.mark.parametrize("shift", ["evening", "long", "fog", "rain"])
def test_under_covariate_shift_of_real_flights_the_error_is_below_the_change_of_the_loss(
    shift: str,
):
    flights = scored_flights()
    holdout, rest = slice(0, 12_000), slice(12_000, None)
    estimator = fit_estimator("binary", flights.y[holdout], flights.outputs[holdout])
    released = row_losses("binary", flights.y[holdout], flights.outputs[holdout]).mean()
    x = {name: values[rest] for name, values in flights.frame.items()}
    rows = {
        "evening": x["sched_dep_minute"] > 17 * 60,
        "long": x["distance"] > 1800,
        "fog": x["visib"] < 3,
        "rain": x["precip"] > 0,
    }[shift]
    y, outputs = flights.y[rest][rows], flights.outputs[rest][rows]
    realised = row_losses("binary", y, outputs).mean()
    found = estimate(estimator, outputs)
    assert abs(realised - released) > 0.02
    assert abs(found.loss - realised) < abs(realised - released)


def test_the_interval_holds_what_the_labels_say_later():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        estimator = fit_estimator("binary", *overconfident(rng, 4_000))
        y, outputs = overconfident(rng, 1_000)
        found = estimate(estimator, outputs)
        held += found.lower <= row_losses("binary", y, outputs).mean() <= found.upper
    assert 178 <= held <= 199


def test_several_classes_are_calibrated_one_against_the_rest():
    rng = np.random.default_rng(5)
    outputs = rng.dirichlet([1, 2, 3], 9_000)
    sharp = outputs**0.6 / (outputs**0.6).sum(axis=1, keepdims=True)
    y = (sharp.cumsum(axis=1) > rng.random((9_000, 1))).argmax(axis=1)
    estimator = fit_estimator("multiclass", y, outputs)
    chance = probabilities(estimator, outputs)
    np.testing.assert_allclose(chance.sum(axis=1), 1)
    found = estimate(estimator, outputs)
    assert found.loss == pytest.approx(row_losses("multiclass", y, outputs).mean())
    assert found.metrics.keys() == {"accuracy"}


def test_a_regressions_error_is_expected_from_its_prediction():
    rng = np.random.default_rng(6)

    def rows(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        told = rng.uniform(low, high, 6_000)
        return told + rng.normal(0, 1 + told / 10), told[:, None]

    y, outputs = rows(0, 100)
    estimator = fit_estimator("regression", y, outputs)
    released = np.abs(y - outputs[:, 0]).mean()
    y, outputs = rows(60, 100)
    realised = np.abs(y - outputs[:, 0]).mean()
    found = estimate(estimator, outputs)
    assert realised > released * 1.4
    assert found.loss == found.metrics["mae"] == pytest.approx(realised, rel=0.05)
    assert found.lower < realised < found.upper
    assert uncalibrated("regression", 0) is None


def test_an_estimator_is_the_same_after_it_was_written():
    for task, y, outputs in (
        ("binary", *overconfident(np.random.default_rng(7), 500)),
        ("regression", np.arange(50.0), np.arange(50.0)[:, None] + 1),
    ):
        estimator = fit_estimator(task, y, outputs)  # type: ignore[arg-type]
        assert Estimator.from_json(estimator.to_json()) == estimator
    with pytest.raises(DataError, match="format 9"):
        Estimator.from_json(estimator.to_json().replace(b'"format": 1', b'"format": 9'))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=200),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_any_holdout_gives_rising_chances_within_0_and_1(
    holdout: list[tuple[float, bool]], asked: list[float]
):
    told = np.array([chance for chance, _ in holdout])
    y = np.array([int(right) for _, right in holdout])
    estimator = fit_estimator("binary", y, np.column_stack([1 - told, told]))
    curve = estimator.curves[1]
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in curve.y)
    assert all(a <= b + 1e-9 for a, b in zip(curve.y, curve.y[1:], strict=False))
    new = np.array(asked)
    found = estimate(estimator, np.column_stack([1 - new, new]))
    assert found.lower <= found.loss <= found.upper
    assert np.isfinite(found.loss)


def test_what_does_not_fit_is_refused():
    y, outputs = overconfident(np.random.default_rng(8), 100)
    estimator = fit_estimator("binary", y, outputs)
    with pytest.raises(DataError, match="n > 0"):
        estimate(estimator, np.empty((0, 2)))
    with pytest.raises(DataError, match=r"\(n, 2\)"):
        estimate(estimator, np.ones((5, 3)) / 3)
    with pytest.raises(DataError, match="2 or more labelled rows, not 1"):
        fit_estimator("binary", y[:1], outputs[:1])
    with pytest.raises(DataError, match="rising x"):
        Curve((1.0, 1.0), (0.0, 1.0))


def test_the_error_of_past_estimates_is_their_mean_distance():
    assert mean_absolute_error([0.4, 0.5], [0.5, 0.3]) == pytest.approx(0.15)
    assert mean_absolute_error([], []) is None
