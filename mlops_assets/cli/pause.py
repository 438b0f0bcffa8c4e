"""`mlops pause` and `mlops resume`: the kill switch of automatic retraining."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.stores.pauses import Pause


@click.command()
@click.argument("model")
@click.option("--reason", default="", help="Why, for everyone who finds the model paused.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pause(model: str, reason: str, as_json: bool) -> None:
    """Start no training of MODEL by itself, until `mlops resume`.

    Reports and decisions go on, and the newest decision waits. A training that is at work, or a
    canary under way, goes on to its end. Rollbacks go on too, by reports and by the guard: they
    bring back a version that is known. People may train, approve and roll back as always.
    """
    _set(model, True, reason, as_json)


@click.command()
@click.argument("model")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resume(model: str, reason: str, as_json: bool) -> None:
    """Let MODEL retrain by itself again; a decision that waited is acted on if it is the newest."""
    _set(model, False, reason, as_json)


def _set(model: str, paused: bool, reason: str, as_json: bool) -> None:
    from mlops_assets.cli.home import prepare_home
    from mlops_assets.cli.models import known_model
    from mlops_assets.cli.release import actor
    from mlops_assets.stores.clock import Clock
    from mlops_assets.stores.lake import Lake
    from mlops_assets.stores.pauses import Pauses

    settings = Settings.load()
    known_model(settings, model)
    prepare_home(settings)
    pauses = Pauses(Lake(settings.lake_root))
    changed = pauses.set(
        model,
        paused,
        actor=actor(),
        reason=reason,
        at=datetime.now(UTC),
        loop_time=Clock(settings.clock_file).now(),
    )
    if changed:
        _tell_dagster(settings, changed)
    last = pauses.of(model)[-1:]
    if as_json:
        found = asdict(last[0]) if last else {"model": model, "paused": False}
        click.echo(json.dumps({**found, "changed": changed is not None}))
    elif changed:
        click.echo(f"{model}: retraining is {changed.text}.")
    elif last:
        click.echo(f"{model}: nothing changes, retraining is {last[0].text}.")
    else:
        click.echo(f"{model}: nothing changes, retraining was never paused.")


def _tell_dagster(settings: Settings, pause: "Pause") -> None:
    """Show it on the decision's asset. Raises ServiceError if Dagster's storage cannot be used."""
    from mlops_assets.cli.observing import observe

    observe(
        settings,
        pause.model,
        "retrain_decision",
        pause.text,
        {"paused": pause.paused, "actor": pause.actor, "reason": pause.reason},
        done=f"{pause.model} is {pause.text}, and its sensor goes by that",
    )
