"""Names of columns: which are taken, and that each column has one role and exists in the source."""

import re
from collections.abc import Iterator, Sequence

from mlops_assets.spec.model import ModelSpec
from mlops_assets.spec.problem import Problem

LAKE_COLUMNS = ("period", "reasons")
LABEL_COLUMNS = ("label", "label_known_at", "row_weight", "history_digest")
# Columns of the lake's own tables and of the prediction log, and outputs of ONNX graphs.
RESERVED = (
    *LAKE_COLUMNS,
    *LABEL_COLUMNS,
    "entity",
    "event_time",
    "prediction_id",
    "request_id",
    "served_at",
    "model",
    "version",
    "variant",
    "latency_ms",
    "prediction",
    "value",
    "probabilities",
    "variable",
)


def is_reserved(name: str) -> bool:
    """Whether no input may have this name, because the lake or the prediction log uses it.

    A Delta table does not tell names apart that differ only in case.
    """
    return name.lower() in RESERVED or name.lower().startswith("p_")


def twins(spec: ModelSpec) -> Iterator[Problem]:
    """Names of one table that differ only in case, which a Delta table takes for one."""
    places: list[tuple[str, tuple[str | int, ...]]] = [
        (spec.entity, ("entity",)),
        (spec.event_time, ("event_time",)),
        (spec.label.column, ("label", "column")),
        (spec.label.known_at, ("label", "known_at")),
        (spec.weight, ("weight",)),
        *((name, ("columns", name)) for name in spec.columns),
        *((rule.name, ("history", number, "name")) for number, rule in enumerate(spec.history)),
    ]
    seen: dict[str, str] = {}
    for name, place in places:
        first = seen.setdefault(name.lower(), name)
        if first != name:
            yield Problem(
                place,
                f"{name!r} and {first!r} differ only in case, which tables of the lake do not tell "
                "apart; rename one",
            )


# What Dagster takes for an owner, and for the names of jobs, which begin with the model's.
OWNER = re.compile(r"team:.+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
MODEL = re.compile(r"[A-Za-z0-9_]+")


def owner(spec: ModelSpec) -> Iterator[Problem]:
    """An owner whom Dagster refuses."""
    if not OWNER.fullmatch(spec.owner):
        yield Problem(
            ("owner",), f"{spec.owner!r} is no owner: write an e-mail address, or team:name"
        )


def folder(name: str) -> Iterator[Problem]:
    """A folder whose name can be no model's."""
    if not MODEL.fullmatch(name):
        yield Problem(
            (),
            f"the folder's name {name!r} is no name for a model, of which jobs, tables and "
            "addresses are named: rename it, with letters without accents, digits and _ alone",
        )


def unknown(spec: ModelSpec, found: Sequence[str]) -> Iterator[Problem]:
    """Columns that the spec names and the source, which has those found, does not have."""
    places: dict[str, tuple[str | int, ...]] = {
        spec.entity: ("entity",),
        spec.event_time: ("event_time",),
        spec.label.column: ("label", "column"),
        **({spec.label.known_at: ("label", "known_at")} if spec.label.known_at else {}),
        **({spec.weight: ("weight",)} if spec.weight else {}),
        **{name: ("columns", name) for name in spec.columns},
    }
    for name, place in places.items():
        if name not in found:
            yield Problem(
                place, f"the source has no column {name!r}; it has {', '.join(sorted(found))}"
            )


def names(spec: ModelSpec) -> Iterator[Problem]:
    """Inputs that are the label, have another role, or a name that is taken."""
    for name in spec.columns:
        if not name:
            yield Problem(("columns", name), "a column needs a name: give it one in the source")
        elif name == spec.label.column:
            yield Problem(
                ("columns", name),
                f"{name!r} is the label: a feature must be known before the event; remove it "
                "from columns",
            )
        elif name == spec.label.known_at:
            yield Problem(
                ("columns", name),
                f"{name!r} is known only together with the label; remove it from columns",
            )
        elif name == spec.weight:
            yield Problem(
                ("columns", name),
                f"{name!r} is the weight: requests do not have it, so it is no input; remove it "
                "from columns or from weight",
            )
        elif name in (spec.entity, spec.event_time):
            yield Problem(
                ("columns", name),
                f"{name!r} is already the {'entity' if name == spec.entity else 'event time'}; "
                "a column has one role: remove it from columns or name another",
            )
        elif is_reserved(name):
            yield Problem(
                ("columns", name),
                f"{name!r} is a name that the lake uses itself ({', '.join(RESERVED)}); rename "
                "the column in the source",
            )
    if spec.label.column in (spec.entity, spec.event_time):
        yield Problem(
            ("label", "column"),
            f"{spec.label.column!r} already identifies the row; name the column with the truth",
        )


def roles(spec: ModelSpec) -> Iterator[Problem]:
    """Columns of identity, time, label and weight that have two roles or a name that is taken."""
    places = {
        ("entity",): spec.entity,
        ("event_time",): spec.event_time,
        ("label", "column"): spec.label.column,
        ("label", "known_at"): spec.label.known_at,
        ("weight",): spec.weight,
    }
    others = [name for place, name in places.items() if place != ("weight",)]
    if spec.weight and spec.weight in others:
        yield Problem(
            ("weight",), f"{spec.weight!r} already has a role; name the column of weights"
        )
    for place, name in places.items():
        taken = LAKE_COLUMNS if place[0] == "label" else (*LAKE_COLUMNS, *LABEL_COLUMNS)
        if name.lower() in taken:
            yield Problem(
                place, f"{name!r} is a name that the lake uses itself; rename it in the source"
            )
