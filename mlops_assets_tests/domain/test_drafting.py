from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_assets.domain.draft_choices import Asked
from mlops_assets.domain.drafting import Draft, draft
from mlops_assets.domain.errors import DataError
from mlops_assets_tests.churn import NOW, churn


def drafted(frame: pd.DataFrame | None = None, **asked: Any) -> Draft:
    rows = churn() if frame is None else frame
    wanted = Asked(**{"event_time": "snapshot_at", "label": "left", **asked})
    return draft(rows, rows["snapshot_at"], wanted, NOW)


def test_a_table_never_seen_gets_task_entity_label_time_and_inputs():
    found = drafted()
    assert found.task == "binary"
    assert found.entity == "customer_id"
    assert found.known_at == "decided_at"
    assert found.wait == timedelta(days=2)
    kept = {column.name for column in found.columns if column.kept}
    assert kept == {"age", "plan", "usage_hours", "tickets"}
    left_out = {column.name: column.reason for column in found.columns if not column.kept}
    assert left_out["country"] == "the same in every row"
    assert left_out["plan_name"] == "the same as plan"
    assert left_out["note"].startswith("free text")
    assert left_out["refund"].startswith("suspected leak: predicts the label")


def test_every_choice_has_a_reason():
    found = drafted()
    assert all(choice.reason for choice in found.choices)
    assert found.choice("entity").reason == "150 subjects; unique together with snapshot_at"
    assert found.choice("label").reason.startswith("no 6")


def test_the_gate_is_what_always_answering_the_shares_costs():
    share = (churn()["left"] == "yes").mean()
    assert share == pytest.approx(0.31, abs=0.02)
    assert drafted().minimum["log_loss"] == pytest.approx(0.64, abs=0.02)


def test_where_the_shares_of_the_classes_move_the_gate_is_what_they_cost_at_the_worst():
    at = pd.Series(pd.date_range("2026-01-05", periods=2000, freq="h", tz="UTC"))
    late = at.index >= 1800
    frame = pd.DataFrame(
        {
            "at": at,
            "who": [f"w{i}" for i in range(2000)],
            "size": at.index % 7 + 0.5,
            "left": (at.index % np.where(late, 2, 10) == 0).astype(int),
        }
    )
    found = draft(frame, at, Asked("at", "left"), NOW)
    # 14% of all rows: 0.41 on average, 1.04 where half of them leave.
    assert found.minimum["log_loss"] == pytest.approx(1.06, abs=0.02)


@pytest.mark.parametrize(
    ("label", "task"),
    [("left", "binary"), ("plan", "multiclass"), ("tickets", "multiclass"), ("age", "regression")],
)
def test_the_task_follows_from_the_labels_values(label: str, task: str):
    found = drafted(label=label)
    assert found.task == task
    assert found.choice("task").warns == (label == "tickets")


def test_a_threshold_makes_the_label_binary():
    found = drafted(label="usage_hours", above=20)
    assert found.task == "binary"
    assert found.choice("label").chosen == "2 classes"


def test_where_nothing_tells_when_the_label_is_known_a_person_is_asked():
    found = drafted(churn().drop(columns="decided_at"))
    assert not found.known_at
    assert found.choice("label.known_after").warns


def test_a_time_that_is_missing_where_there_is_a_label_is_not_when_it_was_known():
    frame = churn()
    frame.loc[::10, "decided_at"] = pd.NaT
    assert not drafted(frame).known_at


def test_a_history_that_ended_has_an_end_and_a_gap_is_told():
    frame = churn(40)
    assert drafted(frame).end is None
    at = frame["snapshot_at"]
    gap = (at >= "2026-06-01") & (at < "2026-06-08")
    found = drafted(frame[~gap & (at < "2026-08-01")], every="weekly")
    assert str(found.end) == "2026-08-03"
    assert found.choice("gaps").chosen == "1 periods"


REFUSED = {
    "--time when: the source has no such column; it has customer_id": {"event_time": "when"},
    "--entity who: the source has no such column": {"entity": "who"},
    "already identifies the row": {"label": "snapshot_at"},
    "has one value in all 1,800 rows": {"label": "country"},
    "one class, '0', in all": {"label": "usage_hours", "above": 1e9},
    "is text with 1,800 different values": {"label": "note"},
    "holds no numbers or classes": {"label": "decided_at"},
    "holds no numbers, which --task": {"label": "note", "task": "regression"},
    "--known-at plan holds no times": {"known_at": "plan"},
    r"'plan' has 3 different values, .* two: name another": {"label": "plan", "task": "binary"},
    "two: add --above VALUE, or name another": {"label": "usage_hours", "task": "binary"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_a_model_is_refused_with_the_fix(message: str):
    with pytest.raises(DataError, match=message):
        drafted(**REFUSED[message])


def test_classes_that_differ_only_in_case_are_refused():
    frame = churn()
    frame.loc[:30, "left"] = "YES"
    with pytest.raises(DataError, match="'yes' and 'YES' of the label differ only in case"):
        drafted(frame)


def test_a_label_that_is_never_there_is_refused():
    with pytest.raises(DataError, match="missing in every row"):
        drafted(churn().assign(left=None))


def test_rows_that_nothing_tells_apart_are_refused_unless_an_entity_is_named():
    frame = pd.concat([churn(), churn()]).sort_values("snapshot_at").reset_index(drop=True)
    with pytest.raises(DataError, match=r"no column tells the rows apart: .* add a row number"):
        drafted(frame)
    found = drafted(frame, entity="customer_id").choice("entity")
    assert found.warns
    assert "1,800 of 3,600 rows repeat" in found.reason


def test_an_entity_of_few_levels_is_told_to_be_no_input_and_a_copy_of_it_is_one():
    at = pd.Series(pd.date_range("2026-01-05", periods=400, freq="D", tz="UTC"))
    frame = pd.DataFrame({"at": at.repeat(5).reset_index(drop=True)})
    frame["state"] = list("abcde") * 400
    frame["births"] = frame.index % 97 + 10.0
    frame["wind"] = frame.index % 13 + 0.5
    found = draft(frame, frame["at"], Asked("at", "births"), NOW)
    assert found.entity == "state"
    assert found.choice("entity").warns
    assert "its 5 levels" in found.choice("entity").reason
    again = draft(frame.assign(state_level=frame["state"]), frame["at"], Asked("at", "births"), NOW)
    (copy,) = (column for column in again.columns if column.name == "state_level")
    assert copy.kept


def test_rows_of_a_century_ago_are_left_aside_and_told():
    frame = churn()
    frame.loc[:4, "snapshot_at"] = pd.Timestamp("1900-01-01", tz="UTC")
    found = drafted(frame)
    assert (found.every, str(found.start)) == ("weekly", "2026-05-04")
    assert found.choice("left aside").chosen == "5 rows"


def test_a_table_without_any_input_is_refused():
    with pytest.raises(DataError, match="no column is left as an input: country"):
        drafted(churn()[["customer_id", "snapshot_at", "country", "left"]])


def test_of_columns_that_differ_only_in_case_one_is_an_input():
    frame = churn()
    frame = frame.assign(Plan=frame["plan"].sample(frac=1, random_state=1).to_numpy(), Left=1.5)
    frame["Left"] += frame.index % 7
    found = {column.name: column for column in drafted(frame).columns}
    assert found["plan"].kept
    assert found["Plan"].reason.startswith("differs from 'plan' only in case")
    assert found["Left"].reason.startswith("differs from 'left' only in case")


def test_a_column_with_a_name_of_the_lake_is_left_out():
    rows = churn().rename(columns={"tickets": "value"})
    found = draft(
        rows, rows["snapshot_at"], Asked("snapshot_at", "left"), NOW, {"value"}.__contains__
    )
    (column,) = [column for column in found.columns if column.name == "value"]
    assert not column.kept
    assert "rename it in the source" in column.reason


def test_the_end_of_a_history_of_hours_lies_after_its_last_row():
    rows = churn(1)
    found = drafted(rows, every="hourly")
    assert found.end is not None
    assert pd.Timestamp(found.end, tz="UTC") > rows["snapshot_at"].max()


def test_dates_without_a_time_of_day_tell_when_a_label_was_known():
    rows = churn().assign(decided_at=lambda f: f["decided_at"].dt.date)
    found = drafted(rows)
    assert found.known_at == "decided_at"
    assert found.wait == timedelta(days=2)
    assert drafted(rows, known_at="decided_at").known_at == "decided_at"
