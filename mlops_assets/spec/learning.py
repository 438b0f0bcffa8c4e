"""The rules of training and its gates: metrics of the task, candidates, enough history."""

from collections.abc import Iterator

from mlops_assets.domain.estimators import missing_package
from mlops_assets.domain.periods import Calendar
from mlops_assets.spec import search
from mlops_assets.spec.metrics import LOWER_IS_BETTER, TASK_METRICS
from mlops_assets.spec.model import ModelSpec
from mlops_assets.spec.problem import Problem

ESTIMATOR_TASKS = {"logistic_regression": ("binary", "multiclass"), "ridge": ("regression",)}


def training(spec: ModelSpec) -> Iterator[Problem]:
    """Metrics, estimators, grids and windows with which no training could work."""
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
    for where, message in search.mistakes(
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


def gates(spec: ModelSpec) -> Iterator[Problem]:
    """Gates on metrics or columns that the model does not have."""
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


def history_length(spec: ModelSpec) -> Iterator[Problem]:
    """A history that has ended before a first training has its periods."""
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
            f"{training.validation} + holdout {training.holdout}): shorten the period "
            "(period.every, `mlops new --period`), lower these numbers, or take a longer history",
        )
