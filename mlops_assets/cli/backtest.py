"""`mlops backtest`: what each policy would have done on a model's own history."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from mlops_assets.assets.policy_backtest import Answer
    from mlops_assets.spec import Model

DATES = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("model")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="A policy, or schedule:N for every N periods; repeat it to compare. All by default.",
)
@click.option("--price", type=float, help="Of a retrain, in loss x rows; the spec's by default.")
@click.option("--from", "start", type=DATES, help="First day of the history.")
@click.option("--to", "end", type=DATES, help="Day after its last one.")
@click.option(
    "--delay", type=click.IntRange(0), help="Periods that labels take; default: monitoring.wait."
)
@click.option(
    "--shuffles",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Shuffled histories on which false alarms are counted.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backtest(
    model: str,
    policies: tuple[str, ...],
    price: float | None,
    start: datetime | None,
    end: datetime | None,
    delay: int | None,
    shuffles: int,
    as_json: bool,
) -> None:
    """Replay the history of MODEL through the retraining policies, and compare them.

    It uses the code that decides in operation, and trains a version for each date once: what was
    trained is kept, so that another policy or price takes seconds. Nothing is released.
    """
    from rich.console import Console

    from mlops_assets.assets.policy_backtest import Question, backtest
    from mlops_assets.cli.specs import load_model
    from mlops_assets.resources import Stores

    settings = Settings.load()
    found = load_model(settings, model)
    question = Question(policies, _periods(found, start, end), price, delay, shuffles)
    with Console(stderr=True).status(f"{model}: reading its history") as status:
        terminal = status.console.is_terminal

        def say(text: str) -> None:
            status.update(f"{model}: {text}")
            if not terminal:
                click.echo(text, err=True)

        answer = backtest(found, Stores.of(settings), question, say)
    if as_json:
        click.echo(json.dumps(_content(answer)))
    else:
        _show(Console(soft_wrap=True), answer)


def _periods(model: "Model", start: datetime | None, end: datetime | None) -> tuple[str, ...]:
    """Keys of the periods between two days; empty: all that there are."""
    if start is None and end is None:
        return ()
    calendar = model.calendar
    first = start.replace(tzinfo=UTC) if start else calendar.first
    last = end.replace(tzinfo=UTC) if end else datetime.now(UTC)
    found = calendar.between(first, last)
    if not found:
        raise click.UsageError(f"no period of {model.name} begins between {first:%F} and {last:%F}")
    return found


def _content(answer: "Answer") -> dict[str, Any]:
    return {
        **answer.comparison.content(),
        "trained": answer.trained,
        "from_cache": answer.cached,
        "page": str(answer.page),
        "picture": str(answer.picture),
    }


def _show(console: "Console", answer: "Answer") -> None:
    from mlops_assets.domain.wording import counted
    from mlops_assets.reports import backtest as pages

    found = answer.comparison
    late = f", labels {counted(found.delay)} late" if found.delay else ""
    title = f"{found.model}: {len(found.periods)} periods from {found.periods[0]}{late}"
    _table(console, title, pages.POLICY_HEADINGS, pages.policy_rows(found))
    console.print(
        "False retrains and alerts are per 100 periods of shuffled rows; value is 1 for the best "
        "dates in hindsight, 0 for the better of never and always.\n",
        highlight=False,
    )
    shown = [row for row, at in zip(pages.price_rows(found), found.prices, strict=True)
             if at.factor in (0.3, 1.0, 3.0)]  # fmt: skip
    # A line per policy, as above: however many are compared, the table is as wide as its prices.
    prices, *led_to = zip(*shown, strict=True)
    by_policy = zip(pages.price_headings(found)[1:], led_to, strict=True)
    _table(
        console,
        "retrains (value) at other prices",
        ("policy", *prices),
        [(name, *cells) for name, cells in by_policy],
    )
    console.print(pages.advice(found), highlight=False)
    console.print(
        f"{answer.trained} versions trained, {answer.cached} from the cache; {answer.page}",
        highlight=False,
    )


def _table(
    console: "Console", title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(headings):
        # A heading may be cut into lines, a value may not.
        widest = max(len(row[place]) for row in rows)
        table.add_column(name, justify="right" if place else "left", min_width=widest)
    for row in rows:
        table.add_row(*row)
    console.print(table)
