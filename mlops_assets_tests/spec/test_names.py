from typing import Any

import pytest

from mlops_assets.spec import ModelSpec
from mlops_assets.spec.names import OWNER, RESERVED
from mlops_assets.spec.rules import problems
from mlops_assets.stores.prediction_log import RESERVED_COLUMNS
from mlops_assets_tests.spec.examples import GOOD, assert_told, columns


@pytest.mark.parametrize(
    ("place", "words", "changes"),
    [
        (("columns", "late"), "is the label", {"columns": columns(late="number")}),
        (
            ("columns", "done"),
            "only together with the label",
            {"columns": columns(done="number"), "label": {"column": "late", "known_at": "done"}},
        ),
        (("owner",), "'nobody' is no owner", {"owner": "nobody"}),
        (("owner",), "'team:' is no owner", {"owner": "team:"}),
        (("columns", ""), "needs a name", {"columns": columns(**{"": "number"})}),
        (("columns", "id"), "already the entity", {"columns": columns(id="number")}),
        (("columns", "at"), "already the event time", {"columns": columns(at="number")}),
        (
            ("columns", "share"),
            "is the weight",
            {"columns": columns(share="number"), "weight": "share"},
        ),
        (("weight",), "already has a role", {"weight": "late"}),
        (("weight",), "lake uses itself", {"weight": "period"}),
        (("columns", "period"), "lake uses itself", {"columns": columns(period="number")}),
        (
            ("columns", "probabilities"),
            "lake uses itself",
            {"columns": columns(probabilities="number")},
        ),
        (("columns", "Version"), "lake uses itself", {"columns": columns(Version="number")}),
        (("columns", "ID"), "'ID' and 'id' differ only in case", {"columns": columns(ID="number")}),
        (("columns", "p_1"), "lake uses itself", {"columns": columns(p_1="number")}),
        (("entity",), "lake uses itself", {"entity": "period"}),
        (("event_time",), "lake uses itself", {"event_time": "label"}),
        (("label", "column"), "lake uses itself", {"label": {"column": "reasons"}}),
        (
            ("label", "known_at"),
            "lake uses itself",
            {"label": {"column": "late", "known_at": "period"}},
        ),
        (("label", "column"), "already identifies", {"label": {"column": "id"}}),
    ],
)
def test_a_name_that_is_taken_is_told_at_its_place(
    place: tuple[str | int, ...], words: str, changes: dict[str, Any]
):
    assert_told(place, words, **changes)


def test_columns_that_the_source_lacks_are_named_where_they_are_used():
    label = {"column": "late", "known_at": "done"}
    spec = ModelSpec(**{**GOOD, "label": label})
    have = ("b", "c", "d", "id")
    places = [problem.place for problem in problems(spec, have)]
    assert places == [("event_time",), ("label", "column"), ("label", "known_at"), ("columns", "a")]
    assert "it has b, c, d, id" in problems(spec, have)[0].message


def test_every_column_that_the_prediction_log_needs_is_reserved():
    assert set(RESERVED_COLUMNS) <= set(RESERVED)


@pytest.mark.parametrize(
    "owner", ["team:ml", "team:", "me@example.org", "nobody", "me@x", "a b@example.org", "team:a b"]
)
def test_owners_are_those_that_dagster_takes(owner: str):
    from dagster._core.definitions.utils import is_valid_owner

    assert bool(OWNER.fullmatch(owner)) == is_valid_owner(owner)
