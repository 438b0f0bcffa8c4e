"""`mlops clock`: the time that the loop lives by."""

import json
from datetime import UTC, datetime

import click

from mlops_assets.settings import Settings
from mlops_assets.stores.clock import Clock


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """An ISO 8601 date or time; UTC where it has no offset."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not an ISO 8601 time, such as 2013-07-01T00:00:00Z."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command()
@click.option(
    "--set",
    "moment",
    callback=_moment,
    metavar="ISO",
    help="Set the clock, as a replay of history does.",
)
@click.option("--system", is_flag=True, help="Go back to the system's time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def clock(moment: datetime | None, system: bool, as_json: bool) -> None:
    """Show or set the clock that every process of this home reads."""
    if moment is not None and system:
        raise click.UsageError("--set and --system exclude each other.")
    own = Clock(Settings.load().clock_file)
    if moment is not None:
        own.set(moment)
    if system:
        own.reset()
    now, replaying = own.now().isoformat(), own.is_replaying
    if as_json:
        click.echo(json.dumps({"now": now, "replaying": replaying}))
    else:
        click.echo(f"{now} ({'set by a replay' if replaying else 'system time'})")
