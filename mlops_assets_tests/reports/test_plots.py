from typing import Any

import pytest

from mlops_assets.domain.drift import ColumnDrift, DriftReport
from mlops_assets.reports.canvas import BLUE, VERMILLION
from mlops_assets.reports.plots import columns_drift, loss_history, png
from mlops_assets_tests.reports.pictures import assert_has_content, share_of


def outcome(column: str, effect: float, flagged: bool = False, p: float = 0.2) -> ColumnDrift:
    return ColumnDrift(column, "kolmogorov-smirnov", 1.0, p, effect, 0.001, flagged, "reason")


def report(*tests: ColumnDrift) -> DriftReport:
    return DriftReport(5_000, True, tests, tuple(t.column for t in tests if t.flagged), "why")


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_flagged_columns_are_red_first_and_named():
    found = report(outcome("calm", 0.3), outcome("hot", 0.2, flagged=True, p=0.0))
    figure = columns_drift(found, min_effect=0.1)
    assert [label.split()[0] for label in labels(figure)] == ["hot", "calm"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.20  flagged", "0.30"]
    assert share_of(png(figure), VERMILLION) > 0.02
    assert share_of(png(figure), BLUE) > 0.02


def test_without_drift_nothing_is_red():
    assert (
        share_of(png(columns_drift(report(outcome("a", 0.05), outcome("b", 0.01)))), VERMILLION)
        == 0
    )


def test_a_column_has_one_bar_of_its_most_telling_test():
    figure = columns_drift(report(outcome("a", 0.5, p=0.9), outcome("a", 0.2, flagged=True, p=0.0)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.20  flagged"]


def test_the_least_effect_that_counts_is_a_line():
    lines = columns_drift(report(outcome("a", 0.5)), min_effect=0.125).axes[0].lines
    assert list(lines[0].get_xdata()) == [0.125, 0.125]
    assert not columns_drift(report(outcome("a", 0.5))).axes[0].lines


def test_many_columns_are_cut_and_the_picture_says_how_many():
    figure = columns_drift(report(*(outcome(f"c{index}", 0.01) for index in range(60))))
    assert len(labels(figure)) == 25
    assert "35 smaller ones not shown" in figure.axes[0].get_xlabel()
    assert_has_content(png(figure))


def test_a_report_that_was_not_judged_is_drawn_with_its_reason():
    figure = columns_drift(DriftReport(3, False, (), (), "too few rows to judge: 3 of 200"))
    assert figure.axes[0].texts[0].get_text() == "too few rows to judge: 3 of 200"


@pytest.mark.parametrize("periods", [1, 6, 200])
def test_loss_history_shows_losses_gaps_and_releases(periods: int):
    names = [f"2013-{index:03d}" for index in range(periods)]
    losses = [0.4 + 0.001 * index if index % 7 != 3 else None for index in range(periods)]
    figure = loss_history(names, losses, 0.39, {names[-1]: "2"})
    assert_has_content(png(figure))
    assert {"v2", "holdout at release 0.390"} <= {t.get_text() for t in figure.axes[0].texts}


def test_loss_history_without_any_label_says_so():
    figure = loss_history(["1", "2"], [None, None], None, {})
    assert figure.axes[0].texts[0].get_text() == "No period has known labels yet"
