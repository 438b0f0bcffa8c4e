"""What a training finds out about a version for its card and data sheet."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np

from mlops_assets.assets import card_data
from mlops_assets.domain import card
from mlops_assets.domain.card import Notes, Verdict, VersionFacts
from mlops_assets.domain.card_text import count, number
from mlops_assets.domain.class_quality import ClassQuality
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, Task
from mlops_assets.domain.evaluation import UNKNOWN_CLASS, calibration_error, metrics
from mlops_assets.domain.features import as_arrays
from mlops_assets.domain.gates import GateResult
from mlops_assets.domain.importance import importances
from mlops_assets.domain.intervals import SliceQuality, metric_intervals, slice_quality
from mlops_assets.domain.quantile_quality import quantile_quality
from mlops_assets.domain.splits import TrainingSet
from mlops_assets.domain.training import Trial
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.bundles import load_scorer
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.training_rows import Rows, read

CONFIDENCE = 0.95
# Without declared slices so many categories of few levels are looked at, each level alone.
MOST_SLICED = 6
SLICE_ROWS = 100


def notes_of(spec: ModelSpec) -> Notes:
    """What people wrote in defs.yaml. The default owner is nobody's name."""
    said = spec.card
    return Notes(
        about=spec.description,
        purpose=said.purpose or spec.description,
        owner=spec.owner if "owner" in spec.model_fields_set else "",
        users=said.users,
        limits=said.limits,
        risks=said.risks,
        advice=said.advice,
        origin=said.data.origin,
        licence=said.data.licence,
        personal=said.data.personal,
        gaps=said.data.gaps,
    )


def gather(
    model: Model,
    manifest: TrainingSet,
    lake: Lake,
    contract: Contract,
    *,
    winner: Trial,
    refit: Rows,
    holdout: Rows,
    outputs: np.ndarray,
    bundle: Path,
    coverage: float,
    verdicts: tuple[GateResult, ...],
    classes: tuple[ClassQuality, ...],
    found: Mapping[str, str],
) -> VersionFacts:
    """The facts, without the version's number, which is not known before it is registered.

    `found` says what else is known: judged_against, runtime, warning, and whence it came.
    """
    spec, split = model.spec, manifest.split
    task, seed = spec.task, spec.training.seed
    intervals = metric_intervals(
        task,
        holdout.y,
        outputs,
        holdout.classes,
        confidence=CONFIDENCE,
        seed=seed,
        weights=holdout.weights,
    )
    scorer = load_scorer(bundle)
    # With a window, the candidates were fitted on older rows than the winner.
    seen = refit
    if split.refit != split.searched:
        seen = read(model, lake, manifest, split.searched, refit.classes)
    told, happened = _told(task, holdout, outputs)
    declared = {one.column: one.min_rows for one in spec.monitoring.slices or spec.gates.slices}
    return VersionFacts(
        model=model.name,
        version="",
        task=task,
        target=_target(spec, holdout.classes),
        target_known=_known(spec),
        notes=notes_of(spec),
        made_at=manifest.as_of,
        fitted_from=model.calendar.bounds(split.refit[0]).start.isoformat(),
        fitted_until=model.calendar.bounds(split.refit[-1]).end.isoformat(),
        known_until=model.calendar.bounds(split.holdout[-1]).end.isoformat(),
        estimator=winner.estimator,
        params={name: str(value) for name, value in winner.params.items()},
        inputs={one.name: one.type for one in contract.columns},
        parts=_parts(model, manifest, seen, holdout),
        primary_metric=spec.primary_metric,
        metrics={name: one for name, one in intervals.items() if name != "loss"},
        guess=_guess(spec, refit, holdout),
        slices=tuple(_slices(spec, holdout, outputs, declared)),
        slices_declared=bool(declared),
        calibration=(
            told - happened
            if task == "regression"
            else calibration_error(holdout.y, outputs, weights=holdout.weights)
        ),
        told=told,
        happened=happened,
        calibration_limit=spec.gates.max_calibration_error,
        importances=importances(task, scorer.score, as_arrays(holdout.frame), holdout.y, seed=seed),
        gates=tuple(Verdict(one.name, one.passed, one.reason) for one in verdicts),
        label_coverage=coverage,
        judged_against=found["judged_against"],
        runtime=found["runtime"],
        warning=found["warning"],
        columns=tuple(
            card_data.column_facts(spec, name, refit.frame[name]) for name in spec.columns
        ),
        unseen=card_data.unseen(spec, refit.frame, holdout.frame),
        derived=card_data.derived(spec),
        source=card_data.source(spec),
        cadence=spec.period.every,
        checks=tuple(f"{one.name}: {one.expression}" for one in spec.validation.checks),
        rejections=card_data.rejections(model, lake, split.periods),
        provenance={
            "Training set": manifest.id,
            "Data hash": manifest.data_hash[:12],
            "Spec hash": manifest.spec_hash[:12],
            "Code": found.get("code_version", ""),
            "Dagster run": found.get("dagster_run_id", ""),
            "Why it was trained": found.get("reason", ""),
        },
        classes=classes,
        quantiles=quantile_quality(
            refit.y, holdout.y, outputs, spec.training.quantiles, holdout.weights
        ),
    )


def _target(spec: ModelSpec, classes: tuple[str, ...]) -> str:
    column = spec.label.column
    if spec.task == "regression":
        return f"the number in {column}"
    if spec.label.above is not None:
        return f"whether {column} is above {spec.label.above:g} (class 1) or not (class 0)"
    return f"which class {column} is: {', '.join(classes)}"


def _known(spec: ModelSpec) -> str:
    if spec.label.known_at:
        return f"at the time in the column {spec.label.known_at}"
    if spec.label.known_after:
        return f"{_duration(spec.label.known_after)} after the event"
    return "at the event"


def _duration(delay: timedelta) -> str:
    minutes = round(delay.total_seconds() / 60)
    sizes = {"day": minutes // 1440, "hour": minutes // 60 % 24, "minute": minutes % 60}
    return " ".join(count(size, name) for name, size in sizes.items() if size) or f"{delay}"


def _parts(model: Model, manifest: TrainingSet, seen: Rows, holdout: Rows) -> tuple[card.Part, ...]:
    counts = {part.period: part.rows for part in manifest.periods}
    # Rows are in order of time, so those of the training periods come first.
    cut = sum(counts[period] for period in manifest.split.train)
    labels = {"training": seen.y[:cut], "validation": seen.y[cut:], "holdout": holdout.y}
    split = manifest.split
    periods = {"training": split.train, "validation": split.validation, "holdout": split.holdout}
    return tuple(
        card.Part(
            name,  # type: ignore[arg-type]
            str(model.calendar.bounds(keys[0]).start.date()),
            str((model.calendar.bounds(keys[-1]).end - timedelta(seconds=1)).date()),
            len(keys),
            len(labels[name]),
            _labels(model.spec, labels[name], seen.classes),
        )
        for name, keys in periods.items()
    )


def _labels(spec: ModelSpec, y: np.ndarray, classes: tuple[str, ...]) -> str:
    if not len(y):
        return "no rows"
    if spec.task == "regression":
        low, middle, high = (number(float(q)) for q in np.quantile(y, [0, 0.5, 1]))
        return f"mean {number(float(y.mean()))}, median {middle}, {low} to {high}"
    shares = [float((y == index).mean()) for index in range(len(classes))]
    if len(classes) == 2:
        return f"{classes[1]}: {shares[1]:.1%}, {classes[0]}: {shares[0]:.1%}"
    told = sorted(zip(shares, classes, strict=True), reverse=True)[: card_data.NAMED_LEVELS]
    more = f", {len(classes) - len(told)} more" if len(classes) > len(told) else ""
    return ", ".join(f"{name}: {share:.1%}" for share, name in told) + more


def _told(task: Task, holdout: Rows, outputs: np.ndarray) -> tuple[float, float]:
    """Mean of what was said and of what happened: of class 1, the likeliest class, or values."""
    y = holdout.y
    if task == "regression":
        told, happened = outputs[:, 0], y
    elif task == "binary":
        told, happened = outputs[:, 1], y == 1
    else:
        told, happened = outputs.max(axis=1), outputs.argmax(axis=1) == y
    weights = holdout.weights
    return float(np.average(told, weights=weights)), float(np.average(happened, weights=weights))


def _guess(spec: ModelSpec, refit: Rows, holdout: Rows) -> dict[str, float]:
    """Metrics on the holdout of what always says the same."""
    if spec.task == "regression":
        told = np.array([float(np.median(refit.y))])
    else:
        known = refit.y[refit.y != UNKNOWN_CLASS]
        told = np.bincount(known, minlength=len(refit.classes)) / len(known)
    constant = np.tile(told, (len(holdout), 1))
    return metrics(spec.task, holdout.y, constant, holdout.classes, holdout.weights)


def _slices(
    spec: ModelSpec, holdout: Rows, outputs: np.ndarray, declared: Mapping[str, int]
) -> list[SliceQuality]:
    least = dict(declared)
    if not least:
        few = [
            name
            for name, column in spec.columns.items()
            if column.type in ("category", "boolean")
            and 1 < holdout.frame[name].nunique(dropna=False) <= card_data.FEW_LEVELS
        ]
        least = dict.fromkeys(few[:MOST_SLICED], SLICE_ROWS)
    return slice_quality(
        spec.task,
        holdout.y,
        outputs,
        holdout.classes,
        {
            name: holdout.frame[name].replace(MISSING_CATEGORY, "missing").to_numpy()
            for name in least
        },
        least,
        confidence=CONFIDENCE,
        seed=spec.training.seed,
        weights=holdout.weights,
    )
