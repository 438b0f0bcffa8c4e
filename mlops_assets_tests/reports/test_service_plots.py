import numpy as np
import pytest

from mlops_assets.domain.evaluation import Interval
from mlops_assets.reports.plots import estimate_history, label_arrival, png, slice_losses
from mlops_assets_tests.reports.pictures import assert_has_content


@pytest.mark.parametrize("labels", [1, 40, 100_000])
def test_the_arrival_of_labels_rises_to_their_coverage(labels: int):
    hours = np.random.default_rng(0).exponential(5, labels)
    figure = label_arrival(hours, labels * 2, float(np.median(hours)))
    assert_has_content(png(figure))
    x, share = figure.axes[0].lines[0].get_data()
    assert share[-1] == pytest.approx(0.5)
    assert list(x) == sorted(x)
    assert len(x) <= 500


def test_estimates_stand_beside_what_the_labels_said_later():
    periods = ["2026-01-05", "2026-01-12", "2026-01-19"]
    estimated = [Interval(0.4, 0.35, 0.45), Interval(0.42, 0.4, 0.44), Interval(0.5, 0.4, 0.6)]
    figure = estimate_history(periods, estimated, [0.41, 0.44, None], 0.39)
    assert_has_content(png(figure))
    _, realised = figure.axes[0].lines[-2].get_data()
    assert realised[:2] == pytest.approx([0.41, 0.44])
    assert np.isnan(realised[2])


def test_each_slice_is_drawn_with_its_interval_and_user_text_is_plain():
    slices = {f"origin = <b>{n}$": Interval(0.4 + n / 100, 0.3, 0.6) for n in range(40)}
    figure = slice_losses(slices, 0.45)
    assert_has_content(png(figure))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 30
    assert names[0] == r"origin = <b>0\$"


@pytest.mark.parametrize(
    ("figure", "says"),
    [
        (label_arrival(np.empty(0), 10, None), "No label is known yet"),
        (estimate_history([], [], [], 0.4), "Nothing has been estimated yet"),
        (slice_losses({}, 0.4), "No slice has enough labels"),
    ],
)
def test_without_anything_to_show_the_picture_says_so(figure: object, says: str):
    assert figure.axes[0].texts[-1].get_text() == says  # type: ignore[attr-defined]
    assert_has_content(png(figure))
