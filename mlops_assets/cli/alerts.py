"""`mlops alerts`: what is wrong now, what was wrong before, and who was told."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.domain.alerts import Alert

# So many past alerts are enough for a look.
SHOWN = 20


@click.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every past alert.")
def alerts(model: str | None, as_json: bool) -> None:
    """List the alerts of MODEL, or of every model: open ones first, each group newest first.

    The daemon of `mlops up` writes them to its log, and sends them to the Apprise URLs in
    MLOPS_ALERT_URLS (or the variable that the spec's `alerts.urls_env` names).
    """
    from mlops_assets.cli.models import known_model, model_names
    from mlops_assets.stores.alerts import AlertLog
    from mlops_assets.stores.lake import Lake

    settings = Settings.load()
    names = [known_model(settings, model)] if model else model_names(settings)
    log = AlertLog(Lake(settings.lake_root))
    found = [alert for name in names for alert in log.of(name)]
    still = sorted((one for one in found if one.is_open), key=lambda one: one.at, reverse=True)
    past = sorted((one for one in found if not one.is_open), key=lambda one: one.at, reverse=True)
    if as_json:
        content = {"open": [asdict(one) for one in still], "past": [asdict(one) for one in past]}
        click.echo(json.dumps(content))
    elif not found:
        click.echo("There was no alert.")
    else:
        _show(still, past)


def _show(still: "list[Alert]", past: "list[Alert]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    for name, found in (("Open", still), ("Past", past[:SHOWN])):
        if not found:
            continue
        table = Table("Model", "Since", title=name, title_justify="left")
        # A link that is cut leads nowhere.
        table.add_column("Alert", overflow="fold")
        table.add_column("Told")
        for alert in found:
            text = f"{alert.title}\n{alert.reason}"
            if not alert.is_open:
                text += f"\nended {_minute(alert.resolved_at)}: {alert.resolution}"
            text += f"\n{alert.link}" if alert.link else ""
            # Reasons quote names of the data, which must not be taken for markup.
            table.add_row(alert.model, _minute(alert.at), Text(text), _told(alert))
        console.print(table)
    if len(past) > SHOWN:
        console.print(f"{len(past) - SHOWN} older ones: `mlops alerts --json` lists them.")


def _told(alert: "Alert") -> str:
    """The channels, with those that a message did not reach yet."""
    event = "opened" if alert.is_open else "resolved"
    arrived = sorted({one.channel for one in alert.deliveries if one.arrived})
    failed = {one.channel for one in alert.deliveries if not one.arrived}
    missed = sorted(name for name in failed if not alert.has(event, name, arrived=True))  # type: ignore[arg-type]
    return ", ".join([*arrived, *(f"{name}: not reached" for name in missed)]) or "nobody yet"


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ")
