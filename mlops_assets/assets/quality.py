"""What performance_report does with a period: join labels, test, draw, keep."""

import json
from dataclasses import asdict

import dagster as dg
import numpy as np
import pandas as pd

from mlops_assets.assets.reported import Reported
from mlops_assets.domain import performance as quality
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.performance import LossReference, PerformanceReport
from mlops_assets.reports import plots
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring
from mlops_assets.stores.bundles import load_scorer

EVIDENCE = "evidence.json"


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
