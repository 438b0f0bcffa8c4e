"""The kept performance reports of a model: one per period, each with its restatements.

Everything that a later report takes of earlier ones (the losses that a CUSUM sums, how well the
estimates did) is read from them, so restating a period restates what follows from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.performance import PerformanceReport
from mlops_assets.domain.restatement import Restatement
from mlops_assets.stores.lake import Lake, Written
from mlops_assets.stores.monitoring import keep, kept

REPORTS = "performance_reports"
# Estimates are judged by so many of the newest periods whose labels have matured.
JUDGED_BY = 8

Kept = Mapping[str, Mapping[str, Any]]


def history(lake: Lake, model: str) -> dict[str, dict[str, Any]]:
    """All kept reports by period, oldest first."""
    return kept(lake, model, REPORTS)


def keep_report(
    lake: Lake,
    model: str,
    period: str,
    version: str,
    report: PerformanceReport,
    more: Mapping[str, Any],
    restatements: Sequence[Mapping[str, Any]],
) -> Written:
    """Keep a report with all restatements of its period, in one commit."""
    content = {
        **asdict(report),
        **more,
        "version": version,
        "previous_is_better": report.previous_is_better,
        "restatements": list(restatements),
    }
    return keep(lake, model, REPORTS, period, content)


def restatements(lake: Lake, model: str) -> list[dict[str, Any]]:
    """Every restatement of any period, with its `period`, oldest period first."""
    return [
        {"period": period, **restated}
        for period, content in history(lake, model).items()
        for restated in content.get("restatements", ())
    ]


def restated(
    before: Mapping[str, Any] | None, version: str, found: Restatement | None
) -> list[dict[str, Any]]:
    """The earlier restatements of a period, and the new one where there is one."""
    earlier = list((before or {}).get("restatements", ()))
    same = before is not None and before["version"] == version
    return [*earlier, found.content()] if found is not None and same else earlier


def samples_before(
    reports: Kept, period: str, version: str, release: LossSample
) -> list[LossSample]:
    """Losses of the version's judged periods before this one, oldest first.

    Reports of older releases of this software lack the deviation: the holdout's stands in.
    """
    found = []
    for before, content in reports.items():
        loss = content.get("loss_at_best") or content["loss"]
        if before < period and content["version"] == version and content["judged"]:
            std = content.get("loss_std") or release.std
            found.append(LossSample(loss, std, content["labelled"]))
    return found


def estimates_before(reports: Kept, period: str) -> list[tuple[str, float, float]]:
    """Period, estimated and realised loss of the newest judged periods before this one."""
    found = [
        (before, content["estimate"]["loss"], content["loss"])
        for before, content in reports.items()
        if before < period and content["judged"] and content.get("estimate")
    ]
    return found[-JUDGED_BY:]
