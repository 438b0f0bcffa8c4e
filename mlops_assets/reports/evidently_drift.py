"""A drift report as an Evidently page that shows our verdicts and cannot do harm.

Evidently draws; it decides nothing. Its statistical tests are replaced by one that looks up what
`domain.drift` found, so that what is drawn is what decided. Values in the report come from
prediction requests, hence from anyone, and Evidently writes them into a script: `safe_text`
makes them inert before Evidently sees them, and a content security policy in the page allows
exactly the scripts that belong to it, and no network.
"""

import base64
import hashlib
import html
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, get_args

import numpy as np

from mlops_assets.domain.drift import ColumnDrift, DriftReport, Test
from mlops_assets.domain.errors import DataError
from mlops_assets.reports.drawn_columns import Drawn, drawn_columns

# What Evidently's own page consists of: its data, a shim, its library, and the call that draws.
SCRIPTS = 4
METHOD = "mlops_assets {test}"
NOT_JUDGED = "not judged"

_verdicts: ContextVar[Mapping[str, ColumnDrift]] = ContextVar("_verdicts")
_registering = threading.Lock()


def drift_html(
    report: DriftReport,
    reference: Mapping[str, np.ndarray],
    current: Mapping[str, np.ndarray],
    title: str,
    *,
    rows: int = 2_000,
    seed: int = 0,
) -> str:
    """One self-contained HTML page (about 4.6 MB, nearly all of it Evidently's library).

    `reference` and `current` are (n,) arrays by column: float64 with NaN for missing, or text;
    at most `rows` of each side are drawn. Raises DataError if the sides have different columns
    or no row, or if the page is not made as we know it.
    """
    snapshot = drift_snapshot(report, reference, current, rows=rows, seed=seed)
    with np.errstate(all="ignore"):
        page = snapshot.get_html_str(as_iframe=False)
    return _locked(page, title, _summary(report, title))


def drift_snapshot(
    report: DriftReport,
    reference: Mapping[str, np.ndarray],
    current: Mapping[str, np.ndarray],
    *,
    rows: int = 2_000,
    seed: int = 0,
    tests: bool = False,
) -> Any:
    """Evidently's Snapshot of the report: per column our p-value, threshold and verdict.

    Column names are the inert ones of `drawn_columns`; a column's verdict is that of its most
    telling test. With `tests` the snapshot also lists Evidently's metric and test per column,
    which the page does not show and which take as long as the page.
    """
    drawn = drawn_columns(reference, current, rows, seed)
    found = report.by_column
    verdicts = {shown: found[name] for name, shown in drawn.names.items() if name in found}
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import DataDefinition, Dataset, Report

    definition = DataDefinition(
        numerical_columns=list(drawn.numbers), categorical_columns=list(drawn.categories)
    )
    sides = [
        Dataset.from_pandas(side, data_definition=definition)
        for side in (drawn.current, drawn.reference)
    ]
    preset = _preset(drawn, verdicts, tests)
    with _showing(verdicts), np.errstate(all="ignore"):
        return Report([preset], include_tests=tests).run(*sides)


@contextmanager
def _showing(verdicts: Mapping[str, ColumnDrift]) -> Iterator[None]:
    """Let the registered test find these verdicts, in this thread only."""
    token = _verdicts.set(verdicts)
    try:
        yield
    finally:
        _verdicts.reset(token)


def _look_up(reference: Any, current: Any, kind: Any, threshold: float) -> tuple[float, bool]:
    """Evidently's test function: p-value and whether the column drifted, as we found them."""
    verdict = _verdicts.get().get(str(reference.name))
    return (verdict.p_value, verdict.flagged) if verdict else (1.0, False)


def _register_tests() -> None:
    from evidently.legacy.calculations.stattests import registry
    from evidently.legacy.core import ColumnType

    with _registering:
        for test in (*get_args(Test), NOT_JUDGED):
            name = METHOD.format(test=test)
            if name not in registry._registered_stat_tests:
                kinds = [ColumnType.Numerical, ColumnType.Categorical]
                registry.register_stattest(registry.StatTest(name, test, kinds), _look_up)


def _preset(drawn: Drawn, verdicts: Mapping[str, ColumnDrift], tests: bool) -> Any:
    """Evidently's drift preset with our verdicts, drifted columns first."""
    from evidently.presets import DataDriftPreset

    class DriftVerdicts(DataDriftPreset):  # type: ignore[misc]  # Evidently is not followed
        def generate_metrics(self, context: Any) -> Any:
            # The first metric counts columns; the others only draw what render() draws again.
            metrics = super().generate_metrics(context)
            return metrics if tests else metrics[:1]

        def render(self, context: Any, child_widgets: Any = None) -> Any:
            widgets = super().render(context, child_widgets)
            _show_exactly(widgets[-1].params["data"], verdicts)
            return widgets

    _register_tests()
    columns = [*drawn.numbers, *drawn.categories]
    found = {name: verdicts.get(name) for name in columns}
    return DriftVerdicts(
        columns=columns,
        per_column_method={
            name: METHOD.format(test=one.test if one else NOT_JUDGED) for name, one in found.items()
        },
        per_column_threshold={name: one.threshold if one else 0.0 for name, one in found.items()},
        # One drifted column is enough for us; rounded down because Evidently prints it.
        drift_share=int(1000 / len(columns)) / 1000,
    )


def _show_exactly(table: list[dict[str, Any]], verdicts: Mapping[str, ColumnDrift]) -> None:
    """Print p-values that Evidently would round to 0, and put what drifted most on top."""

    def order(row: dict[str, Any]) -> tuple[bool, float]:
        verdict = verdicts.get(row["column_name"])
        return (not (verdict and verdict.flagged), -(verdict.effect if verdict else 0.0))

    table.sort(key=order)
    for row in table:
        found = verdicts.get(row["column_name"])
        row["drift_score"] = NOT_JUDGED
        if found:
            row["drift_score"] = (
                f"effect {found.effect:.3f} (limit {found.min_effect:g}), "
                f"p = {found.p_value:.2g} (limit {found.threshold:.2g})"
            )


def _summary(report: DriftReport, title: str) -> str:
    """Our own words above Evidently's pictures: the verdict, and each test with its reason."""
    tests = sorted(report.columns, key=lambda test: (not test.flagged, -test.effect))
    lines = "".join(
        f"<tr{' class=flagged' if test.flagged else ''}>"
        f"<td>{html.escape(test.column)}</td><td>{html.escape(test.test)}</td>"
        f"<td>{test.statistic:.4g}</td><td>{test.p_value:.2g}</td><td>{test.threshold:.2g}</td>"
        f"<td>{test.effect:.3f}</td><td>{test.min_effect:g}</td>"
        f"<td>{'drifted' if test.flagged else 'no drift'}</td></tr>"
        for test in tests
    )
    verdict = (
        f"{len(report.flagged)} of {len(report.by_column)} columns drifted"
        if report.judged
        else "Not judged"
    )
    reasons = [test.reason for test in tests if test.flagged] or [report.reason]
    return (
        f"<header class=verdict><h1>{html.escape(title)}</h1>"
        f"<p><b>{verdict}</b>, in {report.rows:,} rows.</p>"
        f"<ul>{''.join(f'<li>{html.escape(reason)}' for reason in reasons)}</ul>"
        f"<details><summary>All {len(tests)} tests</summary><table><thead><tr><th>column"
        "<th>test<th>statistic<th>p-value<th>limit<th>effect<th>limit<th>verdict</thead>"
        f"<tbody>{lines}</tbody></table></details></header>"
    )


STYLE = """<style>
.verdict { font: 15px/1.5 system-ui, sans-serif; color: #222; background: white;
  padding: 16px 32px; overflow-wrap: anywhere; }
.verdict h1 { font-size: 22px; margin: 0 0 8px; }
.verdict table { border-collapse: collapse; margin-top: 8px; font-size: 13px; }
.verdict th, .verdict td { text-align: left; padding: 3px 14px 3px 0;
  border-bottom: 1px solid #e6e8eb; }
.verdict .flagged { color: #b34e00; font-weight: 600; }
</style>"""


def _locked(page: str, title: str, summary: str) -> str:
    """Evidently's page with our summary, and a policy that lets only its own scripts run."""
    scripts = _scripts(page.encode())
    if len(scripts) != SCRIPTS or "<head>" not in page or "<body>" not in page:
        raise DataError(
            f"Evidently's page has {len(scripts)} scripts where {SCRIPTS} are known: it was not "
            "written, because a value may have become a script; use the pinned evidently version"
        )
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "base-uri 'none'; form-action 'none'; script-src "
        + " ".join(f"'sha256-{digest}'" for digest in digests)
    )
    head = (
        f'<head><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{html.escape(title)}</title>{STYLE}"
    )
    page = page.replace("<head>", head, 1).lstrip()
    return page.replace("<body>", f"<body>{summary}", 1)


def _scripts(page: bytes) -> list[bytes]:
    """The text of each script element, ended where a browser ends it."""
    lower, scripts, start = page.lower(), [], 0
    while (tag := lower.find(b"<script", start)) >= 0:
        begin = lower.find(b">", tag) + 1
        start = lower.find(b"</script", begin)
        scripts.append(page[begin:start])
    return scripts
