from typing import Any

import numpy as np
import pytest

from mlops_assets.reports.plots import (
    calibration,
    confusion_matrix,
    png,
    predicted_against_actual,
    residuals,
    roc_curves,
)
from mlops_assets_tests.reports.pictures import assert_has_content

ROWS = 600
RNG = np.random.default_rng(7)


def classified(k: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    logits = RNG.normal(size=(ROWS, k)) * 1.5
    outputs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (outputs.cumsum(axis=1) > RNG.random((ROWS, 1))).argmax(axis=1)
    return y, outputs, [f"class {index} $" for index in range(k)]


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("k", [2, 3, 9, 20])
def test_every_number_of_classes_makes_full_pictures(k: int):
    y, outputs, classes = classified(k)
    for figure in (
        confusion_matrix(y, outputs.argmax(axis=1), classes),
        roc_curves(y, outputs, classes),
        calibration(y, outputs, classes),
    ):
        assert_has_content(png(figure))


def test_rows_of_a_class_that_the_model_does_not_know_are_not_in_the_confusion_matrix():
    y, predicted = np.array([-1, 0, -1, 1]), np.array([0, 0, 1, 1])
    figure = confusion_matrix(y, predicted, ["no", "yes"])
    assert texts(figure) == texts(confusion_matrix(y[y >= 0], predicted[y >= 0], ["no", "yes"]))


def test_the_confusion_matrix_counts_true_classes_in_rows():
    y, predicted = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])
    assert texts(confusion_matrix(y, predicted, ["no", "yes"])) == [
        "1\n33%",
        "2\n67%",
        "0\n0%",
        "1\n100%",
    ]


def test_classes_beyond_the_twelfth_are_counted_as_other():
    y = np.arange(20)
    figure = confusion_matrix(y, y, [str(index) for index in range(20)])
    assert texts(figure)[-1] == "9"
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "other"


def test_the_area_under_the_curve_agrees_with_scikit_learn_under_ties():
    from sklearn.metrics import roc_auc_score

    y, outputs, classes = classified(2)
    outputs = outputs.round(1)
    legend = roc_curves(y, outputs, classes).axes[0].get_legend()
    assert f"(AUC {roc_auc_score(y, outputs[:, 1]):.3f})" in legend.get_texts()[0].get_text()


def test_the_calibration_points_are_the_means_of_equal_bins():
    chance = np.linspace(0.05, 0.95, 100)
    y = (chance > 0.5).astype(int)
    figure = calibration(y, np.c_[1 - chance, chance], ["no", "yes"])
    x, share = figure.axes[0].lines[1].get_data()
    assert x == pytest.approx(chance.reshape(10, 10).mean(axis=1))
    assert list(share) == [0] * 5 + [1] * 5


@pytest.mark.parametrize(
    "figure",
    [
        confusion_matrix(np.array([], int), np.array([], int), ["a", "b"]),
        roc_curves(np.array([], int), np.empty((0, 2)), ["a", "b"]),
        calibration(np.array([], int), np.empty((0, 2)), ["a", "b"]),
        predicted_against_actual(np.array([]), np.array([])),
        residuals(np.array([]), np.array([])),
        roc_curves(np.ones(5, int), np.full((5, 2), 0.5), ["a", "b"]),
    ],
)
def test_without_usable_rows_the_picture_says_so(figure: Any):
    assert texts(figure)[-1] in ("No labelled rows", "Every labelled row has the same class")
    assert_has_content(png(figure))


@pytest.mark.parametrize("rows", [1, 3, 50_000])
def test_regression_pictures_show_few_and_many_rows(rows: int):
    y = RNG.normal(size=rows)
    values = y + RNG.normal(size=rows)
    assert_has_content(png(predicted_against_actual(y, values)))
    figure = residuals(y, values)
    assert_has_content(png(figure))
    assert len(figure.axes[0].collections[0].get_offsets()) <= 2_000
