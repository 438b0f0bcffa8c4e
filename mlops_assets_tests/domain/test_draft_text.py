from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.assets.card_facts import notes_of
from mlops_assets.domain.draft_choices import Asked
from mlops_assets.domain.draft_text import render, scalar
from mlops_assets.domain.drafting import draft
from mlops_assets.spec import ModelSpec
from mlops_assets.spec.rules import problems
from mlops_assets_tests.churn import NOW, churn

SOURCE = {"kind": "csv", "path": "churn.csv"}


def text_of(frame: pd.DataFrame, **asked: Any) -> str:
    wanted = Asked("snapshot_at", **{"label": "left", **asked})
    return render(draft(frame, frame["snapshot_at"], wanted, NOW), SOURCE, "churn.csv")


def spec_of(text: str) -> ModelSpec:
    return ModelSpec.model_validate(yaml.safe_load(text)["attributes"])


@pytest.mark.parametrize(
    "asked",
    [{}, {"label": "plan"}, {"label": "age"}, {"label": "usage_hours", "above": 20.0}],
)
def test_what_is_written_is_a_spec_without_problems(asked):
    spec = spec_of(text_of(churn(), **asked))
    assert not problems(spec)
    assert spec.columns
    # Where a label is missing although its time is there, the time says nothing.
    assert spec.label.known_at == ("" if spec.label.column == "age" else "decided_at")


def test_the_file_says_why():
    text = text_of(churn())
    assert "entity: customer_id  # 150 subjects; unique together with snapshot_at" in text
    assert "    # plan_name: " in text
    assert "# left out: the same as plan" in text
    assert "log_loss" in text


def test_what_only_people_know_is_left_open_so_that_a_gate_may_ask_for_it():
    missing = notes_of(spec_of(text_of(churn()))).missing
    assert missing == ("card.purpose", "owner", "card.limits")


def test_a_column_that_was_left_out_comes_back_without_its_hash():
    text = text_of(churn())
    (line,) = [row for row in text.splitlines() if row.strip().startswith("# refund:")]
    spec = spec_of(text.replace(line, line.replace("# ", "", 1)))
    assert spec.columns["refund"].type == "number"


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co")), min_size=1))
def test_every_name_and_level_is_read_back_as_text(text: str):
    assert yaml.safe_load(f"{{a: {scalar(text)}}}") == {"a": text}


@pytest.mark.parametrize("text", ["yes", "No", "null", "1", "1e3", "2026-01-01", "a: b", "#x", "~"])
def test_what_yaml_would_take_for_something_else_is_quoted(text: str):
    assert yaml.safe_load(scalar(text)) == text


def test_line_breaks_in_the_data_do_not_leave_their_comment():
    frame = churn().rename(columns={"plan": "plan\nentity: x"}).drop(columns="plan_name")
    frame["plan\nentity: x"] += "\nowner: me"
    spec = spec_of(text_of(frame))
    assert spec.entity == "customer_id"
    assert spec.owner == "team:ml"
    assert "plan\nentity: x" in spec.columns
