"""A spec as short as one can be, and one to find mistakes in."""

from typing import Any

import yaml

from mlops_assets.spec import ModelSpec
from mlops_assets.spec.problem import Problem
from mlops_assets.spec.rules import problems

TEN_LINES = """
task: binary
source: {kind: csv, path: orders.csv}
entity: order_id
event_time: ordered_at
label: {column: returned, known_after: P14D}
period: {start: 2024-01-01}
columns:
  price: number
  size: category?
  items: {type: integer, min: 1}
"""


def spec(text: str = TEN_LINES, **changes: object) -> ModelSpec:
    return ModelSpec(**{**yaml.safe_load(text), **changes})


# A spec in which nothing is wrong, to be changed.
GOOD: dict[str, Any] = {
    "task": "binary",
    "source": {"kind": "parquet", "path": "x.parquet"},
    "entity": "id",
    "event_time": "at",
    "label": {"column": "late"},
    "period": {"start": "2024-01-01"},
    "columns": {"a": "number", "b": "integer?", "c": "category", "d": "boolean"},
}


def mistakes(**changes: Any) -> tuple[Problem, ...]:
    return problems(ModelSpec(**{**GOOD, **changes}))


def assert_told(place: tuple[str | int, ...], words: str, **changes: Any) -> None:
    """Whether the spec with these changes has a mistake at the place, told in these words."""
    matching = [problem for problem in mistakes(**changes) if problem.place == place]
    assert any(words in problem.message for problem in matching), mistakes(**changes)


def columns(**more: Any) -> dict[str, Any]:
    return {**GOOD["columns"], **more}
