"""The page about a backtest: its picture, both tables and every action, without scripts."""

import html
from collections.abc import Iterable, Sequence

from mlops_assets.domain.policy_comparison import PolicyComparison
from mlops_assets.reports.backtest_picture import backtest_png
from mlops_assets.reports.canvas import data_uri
from mlops_assets.reports.timeline import POLICY, STYLE

__all__ = ["backtest_html", "backtest_png", "policy_rows", "price_rows"]

POLICY_HEADINGS = (
    "policy",
    "retrains",
    "alerts",
    "false retrains",
    "false alerts",
    "mean loss",
    "cost",
    "value",
)
NONE = "-"


def policy_rows(found: PolicyComparison) -> list[tuple[str, ...]]:
    """A row of texts per policy, and one each for never, always and the best dates."""
    rows: list[tuple[str, ...]] = [
        (
            name,
            str(one.replay.retrains),
            str(one.replay.alerts),
            _number(one.false_retrains, ".1f"),
            _number(one.false_alerts, ".1f"),
            f"{one.replay.loss:.4g}",
            f"{one.replay.cost:,.0f}",
            _number(one.value, ".2f"),
        )
        for name, one in found.outcomes.items()
    ]
    frame, each = found.frame, len(found.periods) - 1
    for name, cost, dates in (
        ("never", frame.never, 0),
        ("always", frame.always, each),
        ("best dates", frame.best, len(frame.best_retrains)),
    ):
        loss = (cost - frame.price * dates) / max(found.rows, 1)
        value = _number(frame.value(cost), ".2f")
        rows.append((name, str(dates), NONE, NONE, NONE, f"{loss:.4g}", f"{cost:,.0f}", value))
    return rows


def price_headings(found: PolicyComparison) -> tuple[str, ...]:
    """Headings of `price_rows`."""
    return ("price", *found.outcomes, "never", "always", "best dates")


def price_rows(found: PolicyComparison) -> list[tuple[str, ...]]:
    """What each price would have led to: per policy its retrains and its value."""
    return [
        (
            f"{_amount(at.frame.price)} ({at.factor:g} x)",
            *(_led_to(run.retrains, at.frame.value(run.cost)) for run in at.replays.values()),
            _led_to(0, at.frame.value(at.frame.never)),
            _led_to(len(found.periods) - 1, at.frame.value(at.frame.always)),
            _led_to(len(at.frame.best_retrains), at.frame.value(at.frame.best)),
        )
        for at in found.prices
    ]


def advice(found: PolicyComparison) -> str:
    """What the prices mean, in words."""
    tie = (
        f"Below the tie price of {_amount(found.tie_price)} it was better always to retrain than "
        "never, above it never rather than always."
        if found.tie_price
        else "Always to retrain lost no less than never to, so there is no tie price."
    )
    return (
        f"{tie} The price asked for is {_amount(found.price)}: what a retrain must save, in loss x "
        f"rows, to be worth its while. At it, the best dates retrain "
        f"{len(found.frame.best_retrains)} times."
    )


def backtest_html(found: PolicyComparison, title: str) -> str:
    """One self-contained page."""
    span = f"{found.periods[0]} to {found.periods[-1]}"
    acted = [
        (name, step.period, step.acted, step.verdict)
        for name, one in found.outcomes.items()
        for step in one.replay.steps
        if step.acted != "nothing"
    ]
    alt = "Loss over time and cost over price of each policy; the tables below have the values"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{html.escape(title)}</h1>"
        f"<p>{html.escape(f'{len(found.periods)} periods, {span}, {found.rows:,} rows.')} "
        f"{html.escape(advice(found))}</p>"
        f'<div class="picture"><img alt="{alt}" src="{data_uri(backtest_png(found, title))}"></div>'
        "<h2>What each policy would have done</h2>"
        f"{_table(POLICY_HEADINGS, policy_rows(found))}"
        "<p>False retrains and alerts: per 100 periods of the same rows in shuffled order. Value: "
        "1 for the best dates in hindsight, 0 for the better of never and always.</p>"
        "<h2>What each price would have led to: retrains (value)</h2>"
        f"{_table(price_headings(found), price_rows(found))}"
        "<h2>What was done, and why</h2>"
        f"{_table(('policy', 'period', 'action', 'reason'), acted)}</main></body></html>"
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _led_to(retrains: int, value: float | None) -> str:
    return f"{retrains} ({_number(value, '.2f')})"
