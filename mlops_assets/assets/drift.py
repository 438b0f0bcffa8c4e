"""What drift_report does with a period: load, test, draw, keep."""

from dataclasses import asdict
from typing import Any

import dagster as dg
import numpy as np

from mlops_assets.assets.reported import Reported
from mlops_assets.assets.tables import records_table
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.drift import DriftReport, drift
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.profile import Profile, draw, score_columns
from mlops_assets.reports import plots
from mlops_assets.reports.evidently_drift import drift_html
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.prediction_log import output_columns

DRAWN_ROWS = 2_000


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
