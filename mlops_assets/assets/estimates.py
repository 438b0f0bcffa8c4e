"""What is expected of a period before its labels are known, and how good such estimates were."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from mlops_assets.assets.reported import Reported
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.estimation import (
    Estimate,
    Estimator,
    estimate,
    mean_absolute_error,
    uncalibrated,
)
from mlops_assets.domain.evaluation import Interval
from mlops_assets.reports import plots
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring, performance_reports
from mlops_assets.stores.bundles import ESTIMATOR
from mlops_assets.stores.performance_reports import Kept
from mlops_assets.stores.prediction_log import output_columns

EVIDENCE = "evidence.json"
UNAVAILABLE = "the version was released without an estimator, and a regression needs one"


def estimate_of(bundle: Path, contract: Contract, outputs: np.ndarray) -> Estimate | None:
    """The estimate for served outputs (n, k); None where the version's bundle gives none."""
    path = bundle / ESTIMATOR
    if path.exists():
        estimator: Estimator | None = Estimator.from_json(path.read_bytes())
    else:
        estimator = uncalibrated(contract.task, len(contract.classes))
    return estimate(estimator, outputs) if estimator and len(outputs) else None


def report_estimate(model: Model, stores: Stores, period: str) -> Reported:
    """Estimate a period's quality from what was answered in it, without labels."""
    served = monitoring.predictions_of(model, stores.lake, period)
    if not len(served):
        return Reported(None, {"predictions": 0, "reason": "nothing was served in this period"})
    version = monitoring.most_served(served)
    rows = served[served["version"] == version]
    bundle = stores.registry.cached_bundle(model.name, version, stores.bundles)
    contract = Contract.from_json((bundle / "contract.json").read_bytes())
    outputs = rows[output_columns(contract)].to_numpy(dtype=np.float64)
    found = estimate_of(bundle, contract, outputs)
    reports = performance_reports.history(stores.lake, model.name)
    released = json.loads((bundle / EVIDENCE).read_bytes())["loss"]["mean"]
    shown = estimate_metadata(reports, period, found, None, released)
    return Reported(found, {"version": version, "predictions": len(rows), **shown})


def estimate_metadata(
    reports: Kept, period: str, found: Estimate | None, realised: float | None, released: float
) -> dict[str, Any]:
    """The estimate and its error on the newest matured periods, as Dagster shows them.

    `released` is the loss on the release's holdout.
    """
    if found is None:
        return {"estimate": UNAVAILABLE}
    past = performance_reports.estimates_before(reports, period)
    error = mean_absolute_error(
        [estimated for _, estimated, _ in past], [loss for _, _, loss in past]
    )
    reason = estimate_reason(found, error, len(past), released)
    drawn = [Interval(*_ends(reports[before])) for before, _, _ in past]
    figure = plots.estimate_history(
        [*(before for before, _, _ in past), period],
        [*drawn, Interval(found.loss, found.lower, found.upper)],
        [*(loss for _, _, loss in past), realised],
        released,
    )
    picture = plots.markdown_image(plots.png(figure), "estimated and realised loss")
    return {
        "estimated_loss": found.loss,
        "estimate_error": error if error is not None else "no period has matured yet",
        **{f"estimated_{name}": value for name, value in found.metrics.items()},
        "estimate": dg.MetadataValue.md(f"{reason}\n\n{picture}"),
    }


def estimate_reason(found: Estimate, error: float | None, periods: int, released: float) -> str:
    """The estimate in words, with what it is worth."""
    how = "" if found.calibrated else " (probabilities as told: the version has no estimator)"
    worth = (
        "how good such estimates are is not known yet"
        if error is None
        else f"over the last {periods} matured periods such estimates were off by {error:.4f}"
    )
    return (
        f"estimated loss {found.loss:.4f} ({found.lower:.4f} to {found.upper:.4f}) of "
        f"{found.rows:,} answers{how}; at the release {released:.4f}; {worth}"
    )


def _ends(content: Any) -> tuple[float, float, float]:
    told = content["estimate"]
    return told["loss"], told["lower"], told["upper"]
