import json
from typing import Any

from mlops_assets.domain.timeline import PeriodRow, released, summary


def row(period: str, version: str, action: str = "nothing", **other: Any) -> PeriodRow:
    values = {"loss_live": 0.5, "loss_first": 0.6, "flagged": (), "swap_seconds": None} | other
    return PeriodRow(
        period, 100, values.pop("failed", 0), version, action=action, reason="because", **values
    )


def test_a_release_is_a_change_of_the_version_and_the_first_is_none():
    rows = [row("1", "1"), row("2", "1"), row("3", "2"), row("4", "1"), row("5", "1")]
    assert released(rows) == {"3": "2", "4": "1"}


def test_a_period_without_a_version_is_no_release():
    assert released([row("1", "1"), row("2", ""), row("3", "1")]) == {}


def test_the_summary_adds_up_and_keeps_every_period():
    rows = [
        row("1", "1", "retrain", failed=2, flagged=("a", "b")),
        row("2", "2", "alert", swap_seconds=0.4),
        row("3", "2"),
    ]
    found = summary(rows, "flights", 12.34567)
    assert {key: found[key] for key in found if key != "periods"} == {
        "model": "flights",
        "seconds": 12.346,
        "requests": 300,
        "failed_requests": 2,
        "retrains": 1,
        "releases": 1,
    }
    assert found["periods"][0] == {
        "period": "1",
        "requests": 100,
        "failed": 2,
        "version": "1",
        "loss_live": 0.5,
        "loss_first": 0.6,
        "flagged": ["a", "b"],
        "action": "retrain",
        "reason": "because",
        "swap_seconds": None,
        "served": 0,
    }
    assert found["periods"][1]["swap_seconds"] == 0.4


def test_an_unknown_loss_is_null_in_strict_json():
    found = summary([row("1", "1", loss_live=float("nan"), loss_first=None)], "flights", 1.0)
    text = json.dumps(found, allow_nan=False)
    period = json.loads(text)["periods"][0]
    assert period["loss_live"] is None
    assert period["loss_first"] is None


def test_no_periods_are_a_summary_of_zeros():
    assert summary([], "flights", 0.0)["periods"] == []
    assert summary([], "flights", 0.0)["requests"] == 0
