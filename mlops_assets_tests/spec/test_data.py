"""Ten and more ways in which a table can be broken, each told at its place in the spec."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mlops_assets.domain.draft_choices import Asked
from mlops_assets.domain.draft_text import render
from mlops_assets.domain.drafting import draft
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.spec.data import findings
from mlops_assets.spec.findings import Finding, Table
from mlops_assets_tests.churn import NOW, churn

WEEKS = 12


def model(**changes: Any) -> Model:
    """A model on the churn table, as drafted, with some sections replaced."""
    frame = churn(WEEKS)
    drafted = draft(frame, frame["snapshot_at"], Asked("snapshot_at", "left"), NOW)
    text = render(drafted, {"kind": "csv", "path": "churn.csv"}, "churn.csv")
    attributes = yaml.safe_load(text)["attributes"]
    for name, value in changes.items():
        old = attributes.get(name)
        attributes[name] = {**old, **value} if isinstance(old, dict) else value
    return Model("churn", ModelSpec.model_validate(attributes), Path())


def found(frame: pd.DataFrame, wanted: Model | None = None) -> dict[str, Finding]:
    rows = frame.sort_values("snapshot_at", kind="stable").reset_index(drop=True)
    table = Table(wanted or model(), rows, rows["snapshot_at"], NOW)
    return {finding.code: finding for finding in findings(table)}


def spoilt(share: float = 0.1, **values: Any) -> pd.DataFrame:
    """The table with other values in a share of its rows."""
    frame = churn(WEEKS)
    some = frame.index[: int(share * len(frame))]
    for name, value in values.items():
        if frame[name].dtype.kind in "iuf" and isinstance(value, str):
            frame[name] = frame[name].astype(object)
        frame.loc[some, name] = value
    return frame


def test_a_table_as_it_was_drafted_has_nothing_wrong():
    assert not found(churn(WEEKS))


def test_a_history_that_begins_before_1980_is_no_mistake():
    early = churn(WEEKS).assign(
        snapshot_at=lambda f: pd.date_range("1969-01-01", periods=len(f), freq="7D", tz="UTC")
    )
    assert "old_time" not in found(early)


# What is broken, the code it is told by, its level, its place, and words of the message.
BROKEN: dict[str, tuple[Callable[[], pd.DataFrame], str, str, tuple, str]] = {
    "times in the future": (
        lambda: spoilt(0.9, snapshot_at=pd.Timestamp("2031-01-01", tz="UTC")),
        *("future_time", "problem", ("event_time",), "after now, up to 2031-01-01 00:00"),
    ),
    "numbers that were read as times": (
        lambda: spoilt(0.9, snapshot_at=pd.Timestamp(1_700_000_000, tz="UTC")),
        *("old_time", "problem", ("event_time",), "in the first weeks of 1970, from 1970-01-01"),
    ),
    "times that stand for none": (
        lambda: spoilt(0.01, snapshot_at=pd.Timestamp("1900-01-01", tz="UTC")),
        *("old_time", "warning", ("event_time",), "before 1980, from 1900-01-01 00:00, and then"),
    ),
    "a label with one class": (
        lambda: spoilt(1, left="no"),
        *("one_class", "problem", ("label", "column"), "'no' in all 1,800 rows"),
    ),
    "a label with too many classes": (
        lambda: spoilt(0.1, left="maybe"),
        *("many_classes", "problem", ("label", "column"), "has 3 values, a binary label has two"),
    ),
    "classes that differ only in case": (
        lambda: spoilt(0.1, left="YES"),
        *("twin_classes", "problem", ("label", "column"), "'YES' and 'yes' differ only in case"),
    ),
    "no label": (
        lambda: spoilt(1, left=None),
        *("no_label", "problem", ("label", "column"), "missing in every row"),
    ),
    "few labels": (
        lambda: spoilt(0.5, left=None),
        *("label_missing", "warning", ("monitoring", "min_label_coverage"), "50.00%"),
    ),
    "labels of the future": (
        lambda: spoilt(0.1, decided_at=pd.Timestamp("2031-01-01", tz="UTC")),
        *("future_label", "problem", ("label", "known_at"), "up to 2031-01-01"),
    ),
    "labels that are known before the event": (
        lambda: spoilt(0.1, decided_at=pd.Timestamp("2026-01-01", tz="UTC")),
        *("early_label", "problem", ("label", "known_at"), "is before snapshot_at"),
    ),
    "duplicate keys": (
        lambda: pd.concat([churn(WEEKS), churn(WEEKS)[:90]]),
        *("duplicate_keys", "problem", ("entity",), "90 of 1,890 rows"),
    ),
    "text among numbers": (
        lambda: spoilt(0.1, usage_hours="unknown"),
        *("rejected", "problem", ("columns", "usage_hours"), "'unknown' is no number"),
    ),
    "a few texts among numbers": (
        lambda: spoilt(0.001, usage_hours="unknown"),
        *("rejected", "warning", ("columns", "usage_hours"), "1 of 1,800 rows"),
    ),
    "a value out of range": (
        lambda: spoilt(0.1, tickets=9999),
        *("rejected", "problem", ("columns", "tickets"), "'9999.0' is outside"),
    ),
    "a new level": (
        lambda: spoilt(0.1, plan="gold"),
        *("rejected", "problem", ("columns", "plan"), "'gold' is outside isin"),
    ),
    "a column with nothing in it": (
        lambda: spoilt(1, age=pd.NA),
        *("all_missing", "problem", ("columns", "age"), "missing in every row"),
    ),
    "a column that began late": (
        lambda: spoilt(0.5, age=pd.NA),
        *("late_column", "warning", ("columns", "age"), "has no value before 2026-06-15: a tra"),
    ),
    "a column with one value": (
        lambda: spoilt(1, usage_hours=1.5),
        *("constant", "warning", ("columns", "usage_hours"), "the same in every row"),
    ),
    "ten thousand levels": (
        lambda: spoilt().assign(plan=lambda f: [f"p{i}" for i in range(len(f))]),
        *("many_levels", "problem", ("columns", "plan"), "1,800 levels in 1,800 rows, too many"),
    ),
    "empty periods": (
        lambda: churn(WEEKS).query(
            "snapshot_at < '2026-06-01T00Z' or snapshot_at >= '2026-06-15T00Z'"
        ),
        *("empty_periods", "warning", ("period",), "2 of 12 periods have no row: 2026-06-01"),
    ),
    "little history": (
        lambda: churn(6),
        *("short_history", "problem", ("training", "window", "min"), "6 periods that are over"),
    ),
    "a column that gives the answer away": (
        lambda: churn(WEEKS).assign(usage_hours=lambda f: f["refund"]),
        *("leak", "warning", ("columns", "usage_hours"), "predicts the label of later rows"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_told_with_its_place_and_its_figures(case: str):
    make, code, level, place, words = BROKEN[case]
    finding = found(make())[code]
    assert (finding.level, finding.place) == (level, place)
    assert words in finding.message


def test_everything_is_told_at_once():
    codes = set(found(spoilt(0.1, usage_hours="unknown", plan="gold", left="maybe")))
    assert {"rejected", "many_classes", "refused_periods"} <= codes


def test_the_periods_that_would_be_refused_are_named():
    message = found(spoilt(0.05, usage_hours="unknown"))["refused_periods"].message
    assert "1 of 12 periods would be refused, with up to 60.0% of their rows" in message
    assert "2026-05-04" in message


def test_rows_outside_the_history_are_counted():
    wanted = model(period={"start": "2026-05-11", "end": "2026-07-20"})
    messages = found(churn(WEEKS), wanted)
    assert "150 of 1,800 rows (8.33%) are older" in messages["before_start"].message
    assert "150 of 1,800 rows (8.33%) are after" in messages["after_end"].message


def test_rows_that_are_never_read_are_not_judged():
    rows = spoilt(0.05, usage_hours="unknown")
    assert "refused_periods" in found(rows)
    later = found(rows, model(period={"start": "2026-05-11", "end": "2026-07-20"}))
    assert set(later) == {"before_start", "after_end"}


def test_a_history_without_any_row_is_the_only_thing_that_is_told():
    finding = found(churn(WEEKS), model(period={"start": "2027-01-04"}))
    assert {name: one.level for name, one in finding.items()} == {"before_start": "problem"}


def test_a_label_of_text_cannot_be_a_number():
    finding = found(churn(WEEKS), model(task="regression", gates={"minimum": {}}))["label_type"]
    assert finding.place == ("label", "column")
    assert "such as '" in finding.message


def test_a_rule_that_cannot_be_evaluated_is_told():
    rules = {"checks": [{"name": "sane", "expression": "usage > 0"}]}
    finding = found(churn(WEEKS), model(validation=rules))["rule"]
    assert finding.place == ("validation", "checks")


def test_an_empty_table_is_told():
    assert found(churn(WEEKS)[:0])["no_rows"].level == "problem"


def test_labels_that_mature_next_week_are_no_problem():
    rows = churn(WEEKS)
    late = model(label={"column": "left", "known_at": "", "known_after": "P7D"})
    table = Table(late, rows, rows["snapshot_at"], NOW)
    early = replace(table, now=rows["snapshot_at"].max().to_pydatetime() + timedelta(days=1))
    wanted = {finding.code: finding.level for finding in findings(early)}
    assert wanted == {"future_label": "note"}
