from typing import Any

import pytest

from mlops_assets.domain.card import ColumnFacts
from mlops_assets.domain.card_caveats import caveats, poor_slices
from mlops_assets_tests.domain.cards import facts, interval

SPARSE = (ColumnFacts("weight", "number", "", "", 0.4, ""),)


def test_a_version_without_weaknesses_still_says_where_its_evaluation_ends():
    good = facts(slices=(), columns=(), importances=())
    assert [text[:20] for text in caveats(good)] == ["What came after 2026"]


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"fitted_from": "2025-12-01T00:00:00+00:00"}, "span 42 days, less than a year"),
        ({"guess": {"log_loss": 0.46}}, "not surely better than a constant guess"),
        ({"guess": {"roc_auc": 0.79}, "primary_metric": "roc_auc"}, "not surely better"),
        ({"calibration": 0.3}, "(it says 30.0%, and 29.0% came true): do not take"),
        ({"label_coverage": 0.5}, "Only 50.0% of the holdout (2026-01-12 to 2026-01-18)"),
        ({"unseen": {"zone = moon": 0.2}}, "never fitted on zone = moon (20.0% of the holdout)"),
        ({"columns": SPARSE}, "often missing: weight (40%)"),
        ({"warning": "through skops"}, "Warning of the training: through skops"),
    ],
)
def test_each_weakness_is_told(changes: dict[str, Any], warning: str):
    assert warning in " ".join(caveats(facts(**changes)))
    assert warning not in " ".join(caveats(facts(columns=())))


def test_a_better_score_is_a_higher_one():
    assert "constant guess" not in " ".join(caveats(facts(primary_metric="roc_auc")))


def test_parts_are_poor_when_their_whole_interval_is_above_the_average():
    assert [one.value for one in poor_slices(facts())] == ["far"]
    assert poor_slices(facts(metrics={"log_loss": interval(0.69)})) == ()
    told = " ".join(caveats(facts()))
    assert "surely above the average of 0.45 where zone = far (0.7)" in told
    assert "Too few rows to judge: zone = abroad" in told
    assert "No use could be shown of zone" in told
