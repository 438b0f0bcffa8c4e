"""The page about a replay: totals, its picture and every decision, in one file without scripts."""

import html
import math
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.timeline import PeriodRow, released, summary
from mlops_assets.reports.canvas import data_uri
from mlops_assets.reports.timeline_picture import timeline_png

__all__ = ["timeline_html", "timeline_png"]

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #f6f7f8; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 24px; margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 28px 0 10px; }
.totals { display: flex; flex-wrap: wrap; gap: 12px; margin: 0 0 18px; }
.totals div { background: white; border: 1px solid #e0e3e7; border-radius: 8px;
  padding: 10px 18px; min-width: 92px; }
.totals dt { color: #5d636b; font-size: 13px; }
.totals dd { margin: 0; font-size: 22px; font-weight: 650; font-variant-numeric: tabular-nums; }
.picture { background: white; border: 1px solid #e0e3e7; border-radius: 8px; padding: 8px; }
.picture img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; background: white; border: 1px solid #e0e3e7; border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { text-align: left; vertical-align: top; padding: 7px 12px;
  border-bottom: 1px solid #eceef0; }
th { background: #fafbfc; white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.period, td.version { white-space: nowrap; }
td.reason { overflow-wrap: anywhere; min-width: 260px; }
tr.released td { border-top: 2px solid #222; }
.action { display: inline-block; border-radius: 10px; padding: 0 9px; background: #eceef0; }
.action.retrain { background: #d5efe6; color: #00533c; }
.action.rollback { background: #fbe0d3; color: #7c3000; }
.action.alert { background: #fbeccb; color: #664400; }
.failed { color: #b33c00; font-weight: 650; }
ul { margin: 0; padding-left: 20px; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
NONE = "&ndash;"
HEADINGS = (
    "Period",
    "Version",
    "Requests",
    "Loss, live",
    "Loss, first version",
    "Drifted columns",
    "Decision",
    "Reason",
    "Swap",
)
ACTIONS = ("retrain", "rollback", "alert", "nothing")
SCHEMES = ("", "http", "https", "file")


def timeline_html(rows: Sequence[PeriodRow], title: str, links: Mapping[str, str]) -> str:
    """One self-contained page; `links` maps texts to addresses that are offered at its end.

    Raises DataError for a link that is neither relative nor http, https or file.
    """
    offered = "".join(_link(text, address) for text, address in links.items())
    more = f"<h2>More</h2><ul>{offered}</ul>" if offered else ""
    alt = "Losses, drift, decisions and releases over the periods; the table below has the values"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{html.escape(title)}</h1>{_totals(rows)}"
        f'<div class="picture"><img alt="{alt}" src="{data_uri(timeline_png(rows, title))}"></div>'
        f"<h2>What was decided, and why</h2>{_table(rows)}{more}</main></body></html>"
    )


def _link(text: str, address: str) -> str:
    if urlsplit(address.strip()).scheme not in SCHEMES:
        raise DataError(f"link {text!r} leads to {address[:80]!r}: use http, https, file or a path")
    return f'<li><a href="{html.escape(address.strip())}" rel="noreferrer">{html.escape(text)}</a>'


def _totals(rows: Sequence[PeriodRow]) -> str:
    total = summary(rows, "", 0.0)
    swaps = [row.swap_seconds for row in rows if row.swap_seconds is not None]
    figures = {
        "Periods": f"{len(rows):,}",
        "Requests": f"{total['requests']:,}",
        "Failed requests": f"{total['failed_requests']:,}",
        "Retrains": f"{total['retrains']:,}",
        "Releases": f"{total['releases']:,}",
        "Slowest swap": f"{max(swaps):.2f} s" if swaps else NONE,
    }
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items()
    )
    return f'<dl class="totals">{cells}</dl>'


def _table(rows: Sequence[PeriodRow]) -> str:
    releases = released(rows)
    head = "".join(f"<th>{name}</th>" for name in HEADINGS)
    body = "".join(_row(row, row.period in releases) for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: PeriodRow, is_release: bool) -> str:
    known = row.action if row.action in ACTIONS else "other"
    failed = f' <span class="failed">{row.failed:,} failed</span>' if row.failed else ""
    swap = f"{row.swap_seconds:.2f} s" if row.swap_seconds is not None else ""
    return (
        f'<tr class="{"released" if is_release else ""}">'
        f'<td class="period">{html.escape(row.period)}</td>'
        f'<td class="version">{html.escape(row.version)}</td>'
        f'<td class="number">{row.requests:,}{failed}</td>'
        f'<td class="number">{_loss(row.loss_live)}</td>'
        f'<td class="number">{_loss(row.loss_first)}</td>'
        f"<td>{html.escape(', '.join(row.flagged))}</td>"
        f'<td><span class="action {known}">{html.escape(row.action)}</span></td>'
        f'<td class="reason">{html.escape(row.reason)}</td>'
        f'<td class="number">{swap}</td></tr>'
    )


def _loss(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and math.isfinite(value) else NONE
