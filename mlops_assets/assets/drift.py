"""What drift_report does with a period: load, test, draw, keep."""

from dataclasses import asdict
from typing import Any

import dagster as dg

from mlops_assets.assets.reported import Reported
from mlops_assets.assets.tables import records_table
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.drift import DriftReport, judge
from mlops_assets.domain.period_summary import summarise
from mlops_assets.domain.profile import Profile
from mlops_assets.domain.profile_rows import draw
from mlops_assets.reports import plots
from mlops_assets.reports.evidently_drift import drift_html
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.period_batches import most_served_version, served_batches

DRAWN_ROWS = 2_000


def report_drift(model: Model, stores: Stores, period: str) -> Reported:
    """Test a period's inputs and answers against the serving version's own reference."""
    version = most_served_version(stores.lake, model.name, period)
    if not version:
        report = DriftReport(0, False, (), (), "nothing was served in this period")
        _keep(model, stores, period, report, version)
        return Reported(report, {"rows": 0, "reason": report.reason})
    bundle = stores.registry.cached_bundle(model.name, version, stores.bundles)
    contract = Contract.from_json((bundle / "contract.json").read_bytes())
    reference = Profile.from_json((bundle / "reference.json").read_bytes())
    rules, seed = model.spec.monitoring, model.spec.training.seed
    batches = served_batches(stores.lake, contract, version, period)
    summary = summarise(reference, batches, seed=seed)
    report = judge(
        reference,
        summary,
        false_alarm_rate=rules.false_alarm_rate,
        min_effect=rules.min_effect,
        min_rows=rules.min_rows,
    )
    _keep(model, stores, period, report, version)
    page = stores.report_path(model.name, period, "drift.html")
    title = f"{model.name} · {period} · version {version}"
    drawn = draw(reference, DRAWN_ROWS, seed)
    write_atomically(page, drift_html(report, drawn, summary.sample, title).encode())
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


def _keep(model: Model, stores: Stores, period: str, report: DriftReport, version: str) -> None:
    content = {**asdict(report), "version": version}
    monitoring.keep(stores.lake, model.name, "drift_reports", period, content)


def _tests_table(report: DriftReport) -> Any:
    """Flagged tests first, then by effect; what matters most is left, where no one scrolls."""
    names = (
        "column", "flagged", "effect", "min_effect", "p_value", "threshold", "test", "statistic"
    )  # fmt: skip
    ordered = sorted(report.columns, key=lambda test: (not test.flagged, -test.effect))
    return records_table([{name: getattr(test, name) for name in names} for test in ordered])
