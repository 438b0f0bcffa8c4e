"""What no single field of a spec can know: the rules between its parts.

Each problem names the place in the file, so that the user is led to the line.
"""

from collections.abc import Iterator, Sequence

from mlops_assets.domain.contract import ColumnType
from mlops_assets.spec import derived, history, learning, names, source
from mlops_assets.spec.model import ModelSpec
from mlops_assets.spec.names import RESERVED, is_reserved
from mlops_assets.spec.problem import Problem


def problems(spec: ModelSpec, source_columns: Sequence[str] | None = None) -> tuple[Problem, ...]:
    """All mistakes in `spec`, in the order of its sections.

    `source_columns` are the columns that the source has, where that is known.
    """
    rules = (
        names.owner,
        _source,
        names.names,
        names.roles,
        names.twins,
        _label,
        _columns,
        _history,
        _derived,
        learning.training,
        learning.gates,
        learning.history_length,
    )
    unknown = () if source_columns is None else names.unknown(spec, source_columns)
    return (*unknown, *(problem for rule in rules for problem in rule(spec)))


def _source(spec: ModelSpec) -> Iterator[Problem]:
    for field, message in source.mistakes(spec.source):
        yield Problem(("source", field), message)


def _label(spec: ModelSpec) -> Iterator[Problem]:
    if spec.label.known_at and spec.label.known_after:
        yield Problem(
            ("label", "known_after"),
            f"{spec.label.known_at!r} already tells when the label is known; remove known_after",
        )
    if spec.label.above is not None and spec.task != "binary":
        yield Problem(
            ("label", "above"), f"above makes a binary label, but the task is {spec.task!r}"
        )
    if spec.label.known_after.total_seconds() < 0:
        yield Problem(
            ("label", "known_after"),
            f"{spec.label.known_after} is negative: a label is never known before its event",
        )


def _columns(spec: ModelSpec) -> Iterator[Problem]:
    for name, column in spec.columns.items():
        place = ("columns", name)
        if column.categories and column.type != "category":
            yield Problem(
                (*place, "categories"), f"only a category lists them; {name!r} is a {column.type}"
            )
        if column.type == "category" and (column.min is not None or column.max is not None):
            yield Problem(place, f"min and max bound numbers; {name!r} is a category")
        if column.min is not None and column.max is not None and column.min > column.max:
            yield Problem(
                (*place, "min"), f"min {column.min:g} exceeds max {column.max:g} of {name!r}"
            )


def _history(spec: ModelSpec) -> Iterator[Problem]:
    seen = set(spec.source_columns)
    for place, rule in enumerate(spec.history):
        if rule.name in seen or is_reserved(rule.name):
            yield Problem(
                ("history", place, "name"), f"{rule.name!r} is taken; choose another name"
            )
        seen.add(rule.name)
    for where, message in history.mistakes(
        spec.history,
        {name: column.type for name, column in spec.columns.items()},
        entity=spec.entity,
        event_time=spec.event_time,
        label=spec.label.column,
        has_classes=spec.task == "multiclass",
    ):
        yield Problem(("history", *where), message)


def _derived(spec: ModelSpec) -> Iterator[Problem]:
    seen = {*spec.source_columns, *(rule.name for rule in spec.history), *RESERVED}
    types: dict[str, ColumnType] = {name: column.type for name, column in spec.columns.items()}
    types |= dict.fromkeys((rule.name for rule in spec.history), "number")
    for place, rule in enumerate(spec.derived):
        for name in rule.names:
            if name in seen:
                yield Problem(("derived", place, "name"), f"{name!r} is taken; choose another name")
        seen.update(rule.names)
        for field, message in derived.mistakes(rule, types):
            yield Problem(("derived", place, field), message)
        if rule.part is not None:
            types[rule.name] = "integer"
