from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.spec import ModelSpec
from mlops_assets.spec.refusals import told
from mlops_assets_tests.spec.examples import GOOD, columns

CATEGORY = {"type": "category", "categories": ["no", True]}
CANDIDATE = {"estimator": "ridge", "space": {"alpha": {"low": 1, "high": 2}}}


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("there is no key 'taks' here: is 'task' meant?", {"taks": "binary"}),
        ("there is no key 'zzzzzz' here", {"zzzzzz": 1}),
        (
            "YAML reads this as a truth value, not 'True': put quotes around it",
            {"columns": columns(c=CATEGORY)},
        ),
        ("YAML reads this as a number, not '3': put quotes around it", {"description": 3}),
        (
            "kind is missing: write one of csv, delta, duckdb, parquet, python, sql",
            {"source": {"path": "x.csv"}},
        ),
        (
            "type is missing: write one of choice, float, int",
            {"training": {"candidates": [CANDIDATE]}},
        ),
        (
            "write a length of time such as 90m, 12h, 3d or 2w, not 'soon'",
            {"monitoring": {"wait": "soon"}},
        ),
        ("write a mapping of column, above, known_at, known_after, not 'late'", {"label": "late"}),
        ("Input should be 'binary', 'multiclass' or 'regression', not 'x'", {"task": "x"}),
    ],
)
def test_what_is_refused_is_told_with_what_to_write(words: str, changes: dict[str, Any]):
    with pytest.raises(ValidationError) as refused:
        ModelSpec(**{**GOOD, **changes})
    assert told(refused.value.errors()[0]) == words  # type: ignore[arg-type]


def test_no_value_of_a_source_is_told_which_may_be_a_secret():
    with pytest.raises(ValidationError) as refused:
        ModelSpec(**{**GOOD, "source": {"kind": "csv", "path": "x.csv", "decimal": "hunter2"}})
    (error,) = refused.value.errors()
    assert told(error) == "Input should be '.' or ','"  # type: ignore[arg-type]


def test_what_is_missing_is_told():
    with pytest.raises(ValidationError) as refused:
        ModelSpec(**{key: value for key, value in GOOD.items() if key != "entity"})
    (error,) = refused.value.errors()
    assert (error["loc"], told(error)) == (("entity",), "is missing")  # type: ignore[arg-type]
