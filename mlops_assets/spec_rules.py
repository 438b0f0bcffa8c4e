"""What no single field of a spec can know: the rules between its parts.

Each problem names the place in the file, so that the user is led to the line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlops_assets import spec_derived, spec_history, spec_search, spec_source
from mlops_assets.domain.contract import ColumnType
from mlops_assets.domain.estimators import missing_package
from mlops_assets.domain.periods import Calendar
from mlops_assets.spec import LOWER_IS_BETTER, TASK_METRICS, ModelSpec

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
ESTIMATOR_TASKS = {"logistic_regression": ("binary", "multiclass"), "ridge": ("regression",)}


def is_reserved(name: str) -> bool:
    """Whether no input may have this name, because the lake or the prediction log uses it."""
    return name in RESERVED or name.startswith("p_")


@dataclass(frozen=True)
class Problem:
    """One mistake: where it stands, and what to do about it."""

    place: tuple[str | int, ...]
    message: str


def problems(spec: ModelSpec, source_columns: Sequence[str] | None = None) -> tuple[Problem, ...]:
    """All mistakes in `spec`, in the order of its sections.

    `source_columns` are the columns that the source has, where that is known.
    """
    rules = (
        _source,
        _names,
        _roles,
        _label,
        _columns,
        _history,
        _derived,
        _training,
        _gates,
        _period,
    )
    unknown = () if source_columns is None else _unknown(spec, source_columns)
    return (*unknown, *(problem for rule in rules for problem in rule(spec)))


def _source(spec: ModelSpec) -> Iterator[Problem]:
    for field, message in spec_source.mistakes(spec.source):
        yield Problem(("source", field), message)


def _unknown(spec: ModelSpec, found: Sequence[str]) -> Iterator[Problem]:
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


def _names(spec: ModelSpec) -> Iterator[Problem]:
    for name in spec.columns:
        if name == spec.label.column:
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


def _roles(spec: ModelSpec) -> Iterator[Problem]:
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
        if name in taken:
            yield Problem(
                place, f"{name!r} is a name that the lake uses itself; rename it in the source"
            )


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
    for where, message in spec_history.mistakes(
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
        for field, message in spec_derived.mistakes(rule, types):
            yield Problem(("derived", place, field), message)
        if rule.part is not None:
            types[rule.name] = "integer"


def _training(spec: ModelSpec) -> Iterator[Problem]:
    metrics = sorted(TASK_METRICS[spec.task])
    if spec.training.metric is not None and spec.training.metric not in metrics:
        yield Problem(
            ("training", "metric"),
            f"{spec.training.metric!r} does not exist for {spec.task}; use {', '.join(metrics)}",
        )
    for place, candidate in enumerate(spec.training.candidates):
        tasks = ESTIMATOR_TASKS.get(candidate.estimator)
        if tasks and spec.task not in tasks:
            yield Problem(
                ("training", "candidates", place, "estimator"),
                f"{candidate.estimator} is for {' and '.join(tasks)}, the task is {spec.task}",
            )
        missing = missing_package(candidate.estimator)
        if missing:
            yield Problem(("training", "candidates", place, "estimator"), missing)
        for number, part in enumerate(candidate.grid):
            for key in (key for key, values in part.items() if values == ()):
                yield Problem(
                    ("training", "candidates", place, "grid", number, key),
                    f"{key} has no value to try: give one, or remove it",
                )
        if not candidate.grid:
            yield Problem(
                ("training", "candidates", place, "grid"),
                "an empty grid tries nothing: remove it to try the params alone",
            )
    yield from _search(spec)
    if spec.training.quantiles and spec.task != "regression":
        yield Problem(("training", "quantiles"), f"quantiles are for a regression, not {spec.task}")
    if spec.training.class_weight and spec.task == "regression":
        yield Problem(("training", "class_weight"), "a regression has no classes to balance")
    window = spec.training.window
    if window.last is not None and window.last < window.min:
        yield Problem(
            ("training", "window", "last"),
            f"last {window.last} is below min {window.min}: no training could ever start",
        )


def _search(spec: ModelSpec) -> Iterator[Problem]:
    training = spec.training
    candidates = dict(enumerate(training.candidates))
    for where, message in spec_search.mistakes(
        training.search,
        {place: one.space for place, one in candidates.items()},
        {place: "grid" in one.model_fields_set for place, one in candidates.items()},
        {place: one.params for place, one in candidates.items()},
    ):
        yield Problem(("training", *where), message)
    folds = training.search.folds if training.search else 1
    first = training.window.min - training.validation * (folds - 1)
    if first < 1:
        yield Problem(
            ("training", "search", "folds"),
            f"{folds} folds of {training.validation} periods leave nothing to fit the first one "
            f"on: window.min is {training.window.min}, at least "
            f"{training.validation * (folds - 1) + 1} needed",
        )


def _gates(spec: ModelSpec) -> Iterator[Problem]:
    metrics = TASK_METRICS[spec.task]
    for name, value in spec.gates.minimum.items():
        if name not in metrics:
            yield Problem(
                ("gates", "minimum", name),
                f"{name!r} does not exist for {spec.task}; use {', '.join(sorted(metrics))}",
            )
        elif name not in LOWER_IS_BETTER and value > 1:
            yield Problem(("gates", "minimum", name), f"{name} never exceeds 1; {value:g} given")
    slices = [("gates", place, part.column) for place, part in enumerate(spec.gates.slices)]
    slices += [("monitoring", n, part.column) for n, part in enumerate(spec.monitoring.slices)]
    for section, place, column in slices:
        if column not in spec.columns:
            yield Problem(
                (section, "slices", place, "column"),
                f"{column!r} is not a column of this model; columns are {', '.join(spec.columns)}",
            )
    if spec.gates.max_calibration_error is not None and spec.task == "regression":
        yield Problem(
            ("gates", "max_calibration_error"), "a regression has no probabilities to calibrate"
        )


def _period(spec: ModelSpec) -> Iterator[Problem]:
    period = spec.period
    if period.end is None:
        return
    if period.end <= period.start:
        yield Problem(("period", "end"), f"end {period.end} is not after start {period.start}")
        return
    calendar = Calendar(period.every, period.start, period.end)
    stop = calendar.stop or calendar.first
    available = len(calendar.between(calendar.first, stop))
    training = spec.training
    needed = training.window.min + training.validation + training.holdout
    if available < needed:
        yield Problem(
            ("training", "window", "min"),
            f"the history {period.start} to {period.end} has {available} {period.every} periods, "
            f"but a training needs {needed} (window.min {training.window.min} + validation "
            f"{training.validation} + holdout {training.holdout})",
        )
