"""What the monitoring assets do with a period: load, test, draw, keep."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from mlops_assets.assets.tables import records_table
from mlops_assets.domain import performance as quality
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.drift import DriftReport, drift
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.performance import LossReference, PerformanceReport
from mlops_assets.domain.profile import Profile, draw, score_columns
from mlops_assets.domain.retraining import Decision, RetrainPolicy, decide
from mlops_assets.reports import plots
from mlops_assets.reports.evidently_drift import drift_html
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring
from mlops_assets.stores.bundles import load_scorer
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.prediction_log import output_columns

EVIDENCE = "evidence.json"
DRAWN_ROWS = 2_000


@dataclass(frozen=True)
class Reported:
    """A report with what Dagster shows of it."""

    report: Any
    metadata: dict[str, Any]


def report_drift(model: Model, stores: Stores, period: str) -> Reported:
    """Test a period's inputs and scores against the serving version's own reference."""
    served = monitoring.predictions_of(model, stores.lake, period)
    rules = model.spec.monitoring
    version = monitoring.most_served(served) if len(served) else ""
    if not version:
        report = DriftReport(0, False, (), (), "nothing was served in this period")
        monitoring.keep(
            stores.lake, model.name, "drift_reports", period, {**asdict(report), "version": ""}
        )
        return Reported(report, {"rows": 0, "reason": report.reason})
    rows = served[served["version"] == version]
    bundle = stores.registry.cached_bundle(model.name, version, stores.bundles)
    contract = Contract.from_json((bundle / "contract.json").read_bytes())
    reference = Profile.from_json((bundle / "reference.json").read_bytes())
    outputs = rows[output_columns(contract)].to_numpy(dtype=np.float64)
    current = {
        **as_arrays(model_frame(rows, contract.columns)),
        **score_columns(outputs, contract.classes),
    }
    report = drift(
        reference,
        current,
        false_alarm_rate=rules.false_alarm_rate,
        min_effect=rules.min_effect,
        min_rows=rules.min_rows,
        seed=model.spec.training.seed,
    )
    monitoring.keep(
        stores.lake, model.name, "drift_reports", period, {**asdict(report), "version": version}
    )
    page = stores.report_path(model.name, period, "drift.html")
    title = f"{model.name} · {period} · version {version}"
    drawn = draw(reference, DRAWN_ROWS, model.spec.training.seed)
    write_atomically(page, drift_html(report, drawn, current, title).encode())
    figure = plots.columns_drift(report, rules.min_effect)
    return Reported(
        report,
        {
            "rows": report.rows,
            "version": version,
            "judged": report.judged,
            "flagged_columns": list(report.flagged),
            "reason": report.reason[:2000],
            "report": dg.MetadataValue.path(str(page)),
            "tests": _tests_table(report),
            "drift": dg.MetadataValue.md(plots.markdown_image(plots.png(figure), "drift")),
        },
    )


def _tests_table(report: DriftReport) -> Any:
    """Flagged tests first, then by effect; what matters most is left, where no one scrolls."""
    names = ("column", "flagged", "effect", "p_value", "test", "statistic", "threshold")
    ordered = sorted(report.columns, key=lambda test: (not test.flagged, -test.effect))
    return records_table([{name: getattr(test, name) for name in names} for test in ordered])


def report_performance(model: Model, stores: Stores, period: str) -> Reported:
    """Judge the version that served a period on the labels known by now."""
    served = monitoring.predictions_of(model, stores.lake, period)
    rules = model.spec.monitoring
    if not len(served):
        return _nothing_served(model, stores, period)
    version = monitoring.most_served(served)
    rows = served[served["version"] == version]
    bundle = stores.registry.cached_bundle(model.name, version, stores.bundles)
    contract = Contract.from_json((bundle / "contract.json").read_bytes())
    released = json.loads((bundle / EVIDENCE).read_bytes())
    y, outputs, joined = monitoring.labelled(model, stores.lake, period, rows, contract)
    report = quality.performance(
        model.spec.task,
        y,
        outputs,
        contract.classes,
        predictions=len(rows),
        reference=LossReference(**released["loss"]),
        min_rows=rules.min_rows,
        min_coverage=rules.min_label_coverage,
        false_alarm_rate=rules.false_alarm_rate,
        previous_losses=_previous_losses(model, stores, version, contract, y, joined),
        seed=model.spec.training.seed,
    )
    _keep_performance(model, stores, period, version, report)
    history = monitoring.kept(stores.lake, model.name, "performance_reports")
    figure = plots.loss_history(
        list(history),
        [content["loss"] for content in history.values()],
        report.reference_loss,
        {},
    )
    picture = plots.markdown_image(plots.png(figure), "loss per period")
    return Reported(
        report,
        {
            "version": version,
            "predictions": report.predictions,
            "labelled": report.labelled,
            "label_coverage": report.coverage,
            "judged": report.judged,
            "loss": report.loss if report.loss is not None else "none",
            "reference_loss": report.reference_loss,
            "reason": report.reason,
            **report.metrics,
            "loss_history": dg.MetadataValue.md(picture),
        },
    )


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
    _keep_performance(model, stores, period, "", report)
    return Reported(report, {"predictions": 0, "reason": report.reason})


def _keep_performance(
    model: Model, stores: Stores, period: str, version: str, report: PerformanceReport
) -> None:
    content = {
        **asdict(report),
        "version": version,
        "previous_is_better": report.previous_is_better,
    }
    monitoring.keep(stores.lake, model.name, "performance_reports", period, content)


def _previous_losses(
    model: Model,
    stores: Stores,
    version: str,
    contract: Contract,
    y: np.ndarray,
    joined: pd.DataFrame,
) -> np.ndarray | None:
    """Row losses of the version before, on the same rows; None where there was none."""
    before = [r for r in stores.releases.history(model.name) if r.to_version == version]
    previous = before[-1].from_version if before else ""
    if not previous or not len(y):
        return None
    bundle = stores.registry.cached_bundle(model.name, previous, stores.bundles)
    scorer = load_scorer(bundle)
    if scorer.contract.columns != contract.columns or scorer.contract.classes != contract.classes:
        return None
    outputs = scorer.score(as_arrays(model_frame(joined, contract.columns)))
    return row_losses(model.spec.task, y, outputs)


def decide_on(model: Model, stores: Stores, period: str) -> Decision:
    """Decide after a period, and keep the decision."""
    rules = model.spec.retraining
    policy = RetrainPolicy(
        name=rules.policy,
        cooldown=rules.cooldown,
        drift_patience=rules.drift_patience,
        every=rules.every,
        floor=rules.floor,
        rollback_periods=rules.rollback_periods,
        window=model.spec.training.window.last,
    )
    history = monitoring.evidence(stores.lake, model.name, period)
    decision = decide(model.name, history, policy)
    monitoring.keep(
        stores.lake, model.name, "decisions", period, monitoring.decision_content(decision)
    )
    return decision
