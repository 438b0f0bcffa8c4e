"""What performance_report does with a period: join labels, test, keep, restate."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops_assets.assets.estimates import EVIDENCE, estimate_of
from mlops_assets.assets.quality_metadata import metadata
from mlops_assets.assets.reported import Reported
from mlops_assets.assets.tables import classes_table
from mlops_assets.domain import performance as quality
from mlops_assets.domain.class_quality import class_quality
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.evaluation import Interval, row_losses
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.intervals import SliceQuality, metric_intervals, slice_quality
from mlops_assets.domain.label_maturity import LabelLag, immature
from mlops_assets.domain.labels import KNOWN_AT, LABEL, encode
from mlops_assets.domain.performance import PerformanceReport
from mlops_assets.domain.restatement import Restatement, label_changes
from mlops_assets.domain.segments import SegmentReference, Segments
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring, performance_reports
from mlops_assets.stores.bundles import SEGMENTS, load_scorer
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.prediction_log import output_columns
from mlops_assets.stores.training_rows import period_blocks

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Served:
    """What a version answered in a period, and what is known of it: `joined` has the labels."""

    version: str
    bundle: Path
    contract: Contract
    rows: pd.DataFrame
    joined: pd.DataFrame
    y: np.ndarray
    outputs: np.ndarray
    weights: np.ndarray | None

    @property
    def hours(self) -> np.ndarray:
        """Hours from event to known label (labelled,)."""
        waited = self.joined[KNOWN_AT] - self.joined["event_time"]
        return np.asarray(waited.dt.total_seconds() / 3600, dtype=np.float64)

    def outputs_of(self, rows: pd.DataFrame) -> np.ndarray:
        """What was answered for these rows (n, k)."""
        return rows[output_columns(self.contract)].to_numpy(dtype=np.float64)

    @property
    def missing(self) -> pd.DataFrame:
        """The rows without label."""
        return self.rows[~self.rows["prediction_id"].isin(self.joined["prediction_id"])]

    @property
    def missing_outputs(self) -> np.ndarray:
        """What was answered for the rows without label (m, k)."""
        return self.outputs_of(self.missing)


def report_performance(model: Model, stores: Stores, period: str) -> Reported:
    """Judge the version that served a period on the labels known by now."""
    answers = monitoring.predictions_of(model, stores.lake, period)
    if not len(answers):
        return _nothing_served(model, stores, period)
    served = _served(model, stores, period, answers)
    reports = performance_reports.history(stores.lake, model.name)
    previous, previous_losses = _previous_losses(model, stores, served)
    report = _judge(model, stores, period, served, reports, previous_losses)
    expected = estimate_of(served.bundle, served.contract, served.outputs_of(served.rows))
    lag = LabelLag.of(served.hours)
    intervals, slices = _intervals(model, served)
    classes = served.contract.classes if len(served.y) else ()
    by_class = class_quality(served.y, served.outputs, classes, served.weights) if classes else ()
    restatements = performance_reports.restated(
        reports.get(period),
        served.version,
        _restatement(model, stores, period, reports.get(period), report),
    )
    more = {
        **_labels_version(model, stores.lake),
        "previous_version": previous,
        "previous_loss": None if previous_losses is None else float(previous_losses.mean()),
        "label_lag": asdict(lag),
        "estimate": asdict(expected) if expected else None,
        "intervals": {name: asdict(interval) for name, interval in intervals.items()},
        "slices": [asdict(one) for one in slices],
        "classes": [asdict(one) for one in by_class],
    }
    performance_reports.keep_report(
        stores.lake, model.name, period, served.version, report, more, restatements
    )
    found = performance_reports.history(stores.lake, model.name)
    shown = metadata(found, period, report, served.hours, lag, intervals, slices, expected)
    if by_class:
        shown["classes"] = classes_table(by_class)
    return Reported(report, {"version": served.version, **shown})


def _served(model: Model, stores: Stores, period: str, answers: pd.DataFrame) -> Served:
    version = monitoring.most_served(answers)
    rows = answers[answers["version"] == version]
    bundle = stores.registry.cached_bundle(model.name, version, stores.bundles)
    contract = Contract.from_json((bundle / "contract.json").read_bytes())
    y, outputs, joined = monitoring.labelled(model, stores.lake, period, rows, contract)
    weights = monitoring.weights_of(model, joined)
    return Served(version, bundle, contract, rows, joined, y, outputs, weights)


def _judge(
    model: Model,
    stores: Stores,
    period: str,
    served: Served,
    reports: Mapping[str, Mapping[str, Any]],
    previous_losses: np.ndarray | None,
) -> PerformanceReport:
    rules = model.spec.monitoring
    released = json.loads((served.bundle / EVIDENCE).read_bytes())
    release = LossSample(**released["loss"])
    matures_at = model.calendar.bounds(period).end + rules.wait
    return quality.performance(
        model.spec.task,
        served.y,
        served.outputs,
        served.contract.classes,
        predictions=len(served.rows),
        reference=release,
        min_rows=rules.min_rows,
        min_coverage=rules.min_label_coverage,
        false_alarm_rate=rules.false_alarm_rate,
        previous_losses=previous_losses,
        seed=model.spec.training.seed,
        min_harm=rules.min_harm,
        past=performance_reports.samples_before(reports, period, served.version, release),
        missing_outputs=served.missing_outputs,
        # Versions of older releases of this software do not tell: every label may come.
        usual_coverage=released.get("label_coverage") or 1.0,
        immature=immature(stores.clock.now(), matures_at),
        weights=served.weights,
        segments=_segments(model, period, served),
    )


def _segments(model: Model, period: str, served: Served) -> Segments | None:
    """What the segments of the rows are compared with; versions of older releases have nothing."""
    reference = served.bundle / SEGMENTS
    if not reference.exists():
        return None
    known, missing = (
        as_arrays(model_frame(rows, served.contract.columns))
        for rows in (served.joined, served.missing)
    )
    blocks = period_blocks(model, period, served.joined["event_time"])
    return Segments(SegmentReference.from_json(reference.read_bytes()), known, blocks, missing)


def _intervals(model: Model, served: Served) -> tuple[dict[str, Interval], list[SliceQuality]]:
    if not len(served.y):
        return {}, []
    spec = model.spec
    least = {one.column: one.min_rows for one in spec.monitoring.slices or spec.gates.slices}
    values = {column: served.joined[column].to_numpy() for column in least}
    task, classes, seed = spec.task, served.contract.classes, spec.training.seed
    y, outputs = served.y, served.outputs
    how: dict[str, Any] = {"confidence": CONFIDENCE, "seed": seed, "weights": served.weights}
    return (
        metric_intervals(task, y, outputs, classes, **how),
        slice_quality(task, y, outputs, classes, values, least, **how),
    )


def _labels_version(model: Model, lake: Lake) -> dict[str, int]:
    """Which version of the labels the report was made of, so that a later one can compare."""
    return {"labels_version": lake.version(model.name, monitoring.GROUND_TRUTH)}


def _restatement(
    model: Model,
    stores: Stores,
    period: str,
    before: Mapping[str, Any] | None,
    report: PerformanceReport,
) -> Restatement | None:
    """What this report restates of an earlier one on the same period; None if no label differs."""
    if before is None or "labels_version" not in before:
        return None
    at = stores.clock.now().isoformat()
    labels_then = monitoring.ground_truth_as_of(
        model, stores.lake, period, before["labels_version"]
    )
    if labels_then is None:
        same = (before["labelled"], before["loss"]) == (report.labelled, report.loss)
        return None if same else Restatement.of(at, None, before, report)
    changes = label_changes(labels_then, monitoring.ground_truth_of(model, stores.lake, period))
    return Restatement.of(at, changes, before, report) if changes else None


def _nothing_served(model: Model, stores: Stores, period: str) -> Reported:
    report = PerformanceReport(
        predictions=0,
        labelled=0,
        coverage=0.0,
        judged=False,
        metrics={},
        loss=None,
        reference_loss=0.0,
        z=None,
        p_value=None,
        harmed=False,
        worse_than_previous=None,
        reason="nothing was served in this period",
    )
    performance_reports.keep_report(stores.lake, model.name, period, "", report, {}, ())
    return Reported(report, {"predictions": 0, "reason": report.reason})


def _previous_losses(model: Model, stores: Stores, served: Served) -> tuple[str, np.ndarray | None]:
    """The version before, and its row losses on the same rows; None where there was none."""
    before = [r for r in stores.releases.history(model.name) if r.to_version == served.version]
    previous, contract = before[-1].from_version if before else "", served.contract
    if not previous or not len(served.y):
        return previous, None
    bundle = stores.registry.cached_bundle(model.name, previous, stores.bundles)
    scorer = load_scorer(bundle)
    if scorer.contract.columns != contract.columns:
        return previous, None
    outputs = scorer.score(as_arrays(model_frame(served.joined, contract.columns)))
    y = encode(served.joined[LABEL], model.spec.task, scorer.contract.classes)
    return previous, row_losses(model.spec.task, y, outputs, served.weights)
