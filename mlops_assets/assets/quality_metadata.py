"""What Dagster shows of a performance report: numbers, tables and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np

from mlops_assets.assets.estimates import estimate_metadata
from mlops_assets.assets.tables import records_table
from mlops_assets.domain.estimation import Estimate
from mlops_assets.domain.evaluation import Interval
from mlops_assets.domain.intervals import SliceQuality
from mlops_assets.domain.label_maturity import LabelLag
from mlops_assets.domain.performance import PerformanceReport
from mlops_assets.reports import plots
from mlops_assets.stores.performance_reports import Kept


def metadata(
    reports: Kept,
    period: str,
    report: PerformanceReport,
    hours: np.ndarray,
    lag: LabelLag,
    intervals: Mapping[str, Interval],
    slices: Sequence[SliceQuality],
    expected: Estimate | None,
) -> dict[str, Any]:
    """All that is shown; `reports` holds every kept report, this one included."""
    realised = report.loss if report.judged else None
    return {
        "predictions": report.predictions,
        "labelled": report.labelled,
        "label_coverage": report.coverage,
        "judged": report.judged,
        "loss": _or_none(report.loss),
        "reference_loss": report.reference_loss,
        "decaying": report.decaying,
        "cusum": _or_none(report.cusum),
        "reason": report.reason,
        **report.metrics,
        **estimate_metadata(reports, period, expected, realised, report.reference_loss),
        "labels": _labels(report, hours, lag),
        **_lag(lag),
        "quality": _metrics_table(intervals),
        **_slices(slices, report.loss),
        "loss_history": _loss_history(reports, report),
        "restatements": _restatements(reports[period].get("restatements", ())),
    }


def _or_none(value: float | None) -> float | str:
    return "none" if value is None else value


def _lag(lag: LabelLag) -> dict[str, Any]:
    return {
        "label_lag_median_hours": _or_none(lag.median_hours),
        "label_lag_p90_hours": _or_none(lag.p90_hours),
    }


def _labels(report: PerformanceReport, hours: np.ndarray, lag: LabelLag) -> Any:
    """Coverage and lag as a table, and when labels became known as a picture."""
    rows = {
        "predictions": f"{report.predictions:,}",
        "labels known": f"{report.labelled:,} ({report.coverage:.1%})",
        "median lag": _hours(lag.median_hours),
        "90% within": _hours(lag.p90_hours),
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])
    figure = plots.label_arrival(hours, report.predictions, lag.median_hours)
    picture = plots.markdown_image(plots.png(figure), "when labels became known")
    return dg.MetadataValue.md(f"{table}\n\n{picture}")


def _hours(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} h"


def _metrics_table(intervals: Mapping[str, Interval]) -> Any:
    return records_table(
        [
            {"metric": name, "value": one.mean, "from": one.lower, "to": one.upper}
            for name, one in intervals.items()
        ]
    )


def _slices(slices: Sequence[SliceQuality], loss: float | None) -> dict[str, Any]:
    """A table of every slice and a picture of those with enough rows; nothing without slices."""
    if not slices or loss is None:
        return {}
    names = list(dict.fromkeys(name for one in slices for name in one.metrics))
    records = [
        {
            "slice": f"{one.column} = {one.value}",
            "rows": one.rows,
            "judged": "yes" if one.judged else f"too few rows (needed {one.min_rows})",
            **{name: _with_ends(one.metrics.get(name)) for name in names},
        }
        for one in slices
    ]
    drawn = {f"{one.column} = {one.value}": one.metrics["loss"] for one in slices if one.judged}
    picture = plots.markdown_image(plots.png(plots.slice_losses(drawn, loss)), "loss per slice")
    return {"slices": records_table(records), "slice_losses": dg.MetadataValue.md(picture)}


def _with_ends(one: Interval | None) -> str:
    return "" if one is None else f"{one.mean:.4f} ({one.lower:.4f} to {one.upper:.4f})"


def _loss_history(reports: Kept, report: PerformanceReport) -> Any:
    figure = plots.loss_history(
        list(reports),
        [content["loss"] for content in reports.values()],
        report.reference_loss,
        {},
    )
    return dg.MetadataValue.md(plots.markdown_image(plots.png(figure), "loss per period"))


def _restatements(restatements: Sequence[Mapping[str, Any]]) -> Any:
    """What late labels have changed since the period was first reported on."""
    return records_table(
        [
            {
                "at": one["at"],
                **{f"labels {name}": count for name, count in (one["changes"] or {}).items()},
                "loss before": one["loss_before"],
                "loss after": one["loss_after"],
                "harmed before": one["harmed_before"],
                "harmed after": one["harmed_after"],
            }
            for one in restatements
        ]
    )
