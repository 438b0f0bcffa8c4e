import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import (
    LOWER_IS_BETTER,
    calibration_error,
    metrics,
    paired_interval,
    pinball_losses,
    row_losses,
)
from mlops_assets.spec.metrics import LOWER_IS_BETTER as SPEC_LOWER_IS_BETTER

BINARY = ("0", "1")


def test_binary_metrics_equal_those_of_scikit_learn():
    from sklearn import metrics as reference

    rng = np.random.default_rng(0)
    p = rng.random(500).round(1)  # many ties
    y = (rng.random(500) < p).astype(int)
    outputs = np.column_stack([1 - p, p])
    told = metrics("binary", y, outputs, BINARY)
    label = outputs.argmax(axis=1)
    assert told == pytest.approx(
        {
            "accuracy": reference.accuracy_score(y, label),
            "precision": reference.precision_score(y, label),
            "recall": reference.recall_score(y, label),
            "f1": reference.f1_score(y, label),
            "roc_auc": reference.roc_auc_score(y, p),
            "log_loss": reference.log_loss(y, np.clip(p, 1e-7, 1 - 1e-7)),
            "brier": reference.brier_score_loss(y, p),
        },
        abs=1e-6,
    )


def test_multiclass_metrics_equal_those_of_scikit_learn():
    from sklearn import metrics as reference

    rng = np.random.default_rng(1)
    outputs = rng.dirichlet(np.ones(4), 400)
    y = rng.integers(0, 4, 400)
    label = outputs.argmax(axis=1)
    told = metrics("multiclass", y, outputs, ("a", "b", "c", "d"))
    assert told == pytest.approx(
        {
            "accuracy": reference.accuracy_score(y, label),
            "precision": reference.precision_score(y, label, average="macro"),
            "recall": reference.recall_score(y, label, average="macro"),
            "f1": reference.f1_score(y, label, average="macro"),
            "roc_auc": reference.roc_auc_score(y, outputs, multi_class="ovr"),
            "log_loss": reference.log_loss(y, outputs),
            "brier": ((outputs - np.eye(4)[y]) ** 2).sum(axis=1).mean(),
        }
    )


def test_regression_metrics_equal_those_of_scikit_learn():
    from sklearn import metrics as reference

    rng = np.random.default_rng(2)
    y, value = rng.normal(size=300), rng.normal(size=300)
    assert metrics("regression", y, value[:, None], ()) == pytest.approx(
        {
            "mae": reference.mean_absolute_error(y, value),
            "rmse": reference.root_mean_squared_error(y, value),
            "r2": reference.r2_score(y, value),
        }
    )


def test_metrics_that_are_undefined_on_the_rows_are_left_out():
    outputs = np.array([[0.2, 0.8], [0.6, 0.4]])
    assert "roc_auc" not in metrics("binary", np.array([1, 1]), outputs, BINARY)
    assert "r2" not in metrics("regression", np.array([3.0]), np.array([[2.0]]), ())


def test_a_class_that_the_model_does_not_know_costs_the_largest_loss_and_is_never_right():
    outputs = np.array([[0.1, 0.2, 0.7]])
    told = metrics("multiclass", np.array([-1]), outputs, ("a", "b", "c"))
    assert told["log_loss"] == pytest.approx(-np.log(1e-7))
    assert told["accuracy"] == 0
    assert told["brier"] == pytest.approx(0.01 + 0.04 + 0.49 + 1)


@pytest.mark.parametrize(
    ("task", "y", "outputs", "message"),
    [
        ("binary", [-2], [[0.5, 0.5]], "from -2 to -2"),
        ("binary", [2], [[0.5, 0.5]], "from 2 to 2"),
        ("binary", [1], [[0.5]], "shape"),
        ("binary", [], np.empty((0, 2)), "0 labels"),
        ("binary", [0, 1], [[0.5, 0.5]], "2 labels for 1 outputs"),
        ("binary", [0], [[np.nan, 0.5]], "finite"),
        ("regression", [np.nan], [[0.5]], "finite"),
        ("multiclass", [np.nan], [[0.5, 0.2, 0.3]], "finite"),
    ],
)
def test_impossible_labels_or_outputs_are_refused(
    task: Task, y: list[float], outputs: list[list[float]], message: str
):
    with pytest.raises(DataError, match=message):
        row_losses(task, np.array(y), np.array(outputs))


def test_row_losses_average_to_the_metric():
    rng = np.random.default_rng(3)
    outputs, y = rng.dirichlet([1, 1], 50), rng.integers(0, 2, 50)
    losses = row_losses("binary", y, outputs)
    assert losses.shape == (50,)
    assert losses.mean() == pytest.approx(metrics("binary", y, outputs, BINARY)["log_loss"])
    assert row_losses("regression", np.array([1.0]), np.array([[3.5]])).tolist() == [2.5]


def test_a_certain_and_wrong_prediction_has_a_finite_loss():
    assert np.isfinite(row_losses("binary", np.array([1]), np.array([[1.0, 0.0]]))).all()


def test_the_paired_interval_holds_the_true_difference_as_often_as_promised():
    rng = np.random.default_rng(4)
    held = 0
    for seed in range(400):
        a = rng.exponential(size=200) + 0.1
        interval = paired_interval(a, rng.exponential(size=200), 0.9, seed, 400)
        held += interval.lower <= 0.1 <= interval.upper
    assert 0.84 <= held / 400 <= 0.95


def test_the_paired_interval_of_many_rows_is_as_wide_as_theory_says_and_needs_little_memory():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=300_000), np.zeros(300_000)
    tracemalloc.start()
    interval = paired_interval(a, b, 0.95, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert interval.upper - interval.lower == pytest.approx(2 * 1.96 / np.sqrt(3e5), rel=0.15)
    assert interval.lower < interval.mean < interval.upper
    assert peak < 200e6


def test_the_paired_interval_is_wider_where_neighbouring_rows_resemble_each_other():
    rng = np.random.default_rng(6)
    alike = np.repeat(rng.normal(size=1000), 100)
    interval = paired_interval(alike, np.zeros(100_000), 0.95, 0)
    shuffled = paired_interval(rng.permutation(alike), np.zeros(100_000), 0.95, 0)
    assert interval.upper - interval.lower > 2 * (shuffled.upper - shuffled.lower)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(0, 2**31))
def test_the_paired_interval_depends_on_nothing_but_its_arguments(values: list[float], seed: int):
    a, b = np.array(values), np.zeros(len(values))
    first = paired_interval(a, b, 0.9, seed, 50)
    assert first == paired_interval(a, b, 0.9, seed, 50)
    slack = 1e-9 * (1 + np.abs(a).max())
    assert a.min() - slack <= first.lower <= first.upper <= a.max() + slack


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0])])
def test_an_interval_of_unpaired_absent_or_nan_losses_is_refused(a: list[float], b: list[float]):
    with pytest.raises(DataError):
        paired_interval(np.array(a), np.array(b), 0.95, 0)


def test_calibration_error_is_near_zero_for_honest_probabilities_and_large_for_bold_ones():
    rng = np.random.default_rng(7)
    p = rng.random(20_000)
    y = (rng.random(20_000) < p).astype(int)
    bold = np.where(p > 0.5, 0.99, 0.01)
    assert calibration_error(y, np.column_stack([1 - p, p])) < 0.02
    assert calibration_error(y, np.column_stack([1 - bold, bold])) == pytest.approx(0.24, abs=0.02)


def test_a_constant_honest_probability_is_calibrated_even_when_labels_come_sorted():
    y = np.repeat([0, 1], 500)
    assert calibration_error(y, np.full((1000, 2), 0.5)) == pytest.approx(0)


def test_calibration_of_several_classes_is_that_of_the_predicted_class():
    y = np.array([0] * 50 + [1] * 50)
    assert calibration_error(y, np.tile([0.9, 0.05, 0.05], (100, 1))) == pytest.approx(0.4)


def test_the_spec_and_the_gates_agree_on_which_metrics_are_losses():
    assert LOWER_IS_BETTER == SPEC_LOWER_IS_BETTER


def test_the_pinball_loss_charges_an_underestimate_of_a_high_quantile_more():
    y, outputs = np.array([10.0, 10.0]), np.array([[8.0], [12.0]])
    found = pinball_losses(y, outputs, (0.5, 0.9))
    assert found["pinball_0.5"] == pytest.approx(1.0)
    assert found["pinball_0.9"] == pytest.approx((0.9 * 2 + 0.1 * 2) / 2)
    assert pinball_losses(y, y.reshape(-1, 1) - 2, (0.9,))["pinball_0.9"] == pytest.approx(1.8)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["binary", "multiclass", "regression"]), st.integers(0, 10_000))
def test_a_row_of_weight_three_counts_like_three_rows(task: Task, seed: int):
    draw = np.random.default_rng(seed)
    k = {"binary": 2, "multiclass": 3, "regression": 1}[task]
    times = draw.integers(1, 4, 40)
    again = np.repeat(np.arange(40), times)
    if task == "regression":
        y, outputs = draw.normal(size=40), draw.normal(size=(40, 1))
    else:
        y, outputs = draw.integers(-1 if k > 2 else 0, k, 40), draw.dirichlet([1] * k, 40).round(2)
        outputs[:, -1] = 1 - outputs[:, :-1].sum(axis=1)
    classes = tuple("abc"[:k]) if k > 1 else ()
    # Only proportions count.
    weights = times * 0.7
    found = metrics(task, y, outputs, classes, weights)
    assert found == pytest.approx(metrics(task, y[again], outputs[again], classes))
    weighted = row_losses(task, y, outputs, weights).mean()
    assert weighted == pytest.approx(row_losses(task, y[again], outputs[again]).mean())
    if task == "regression":
        told = pinball_losses(y, outputs, [0.1, 0.9], weights)
        assert told == pytest.approx(pinball_losses(y[again], outputs[again], [0.1, 0.9]))


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, np.nan], [1.0, -2.0], [1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]):
    y, outputs = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(DataError, match="2 rows need as many weights above 0"):
        metrics("binary", y, outputs, BINARY, np.array(weights))


def test_the_calibration_error_counts_rows_by_their_weight():
    y, outputs = np.array([1, 0]), np.array([[0.2, 0.8], [0.6, 0.4]])
    assert calibration_error(y, outputs, bins=2) == pytest.approx((0.2 + 0.4) / 2)
    told = calibration_error(y, outputs, bins=2, weights=np.array([3.0, 1.0]))
    assert told == pytest.approx((3 * 0.2 + 0.4) / 4)
