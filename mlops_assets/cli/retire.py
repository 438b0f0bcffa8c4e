"""`mlops retire`: a model is taken out of service, or brought back."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.stores.releases import Releases
    from mlops_assets.stores.retirements import Retirement


@click.command()
@click.argument("model")
@click.option("--undo", is_flag=True, help="Bring it back, with the champion that it had.")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retire(model: str, undo: bool, reason: str, as_json: bool) -> None:
    """Take MODEL out of service: the endpoint answers 410, sensors stop, nothing is released.

    Its versions, tables and records stay. Run again, it changes nothing, and finishes what was
    killed. A model whose folder is removed is retired by itself.
    """
    from mlops_assets.cli.models import registry_errors
    from mlops_assets.cli.release import actor
    from mlops_assets.stores.clock import Clock
    from mlops_assets.stores.retirements import Retirements

    settings = Settings.load()
    retirements = Retirements(_releases(settings, model, undo))
    act = retirements.bring_back if undo else retirements.retire
    with registry_errors():
        row, changed = act(
            model,
            actor=actor(),
            reason=reason,
            at=datetime.now(UTC),
            loop_time=Clock(settings.clock_file).now(),
        )
    if row and changed:
        _tell_dagster(settings, row)
    if as_json:
        found = asdict(row) if row else {"model": model, "retired": False}
        click.echo(json.dumps({**found, "changed": changed}))
    else:
        click.echo(_told(model, row, changed))


def _releases(settings: Settings, model: str, undo: bool) -> "Releases":
    """The stores of this home. Raises SpecError for a model that there never was."""
    from mlops_assets.cli.home import prepare_home
    from mlops_assets.cli.models import known_or_gone, model_names, open_registry
    from mlops_assets.domain.errors import ReleaseError, SpecError
    from mlops_assets.stores.lake import Lake
    from mlops_assets.stores.releases import Releases

    known_or_gone(settings, model)
    if undo and model not in model_names(settings):
        raise SpecError(
            f"{model} has no folder in {settings.models_dir}: put it back there first, or it "
            "would be retired again."
        )
    registry = open_registry(settings)
    if registry is None:
        raise ReleaseError(f"{model} has no version yet: nothing was trained in {settings.home}.")
    prepare_home(settings)
    return Releases(registry, Lake(settings.lake_root), settings.locks)


def _told(model: str, row: "Retirement | None", changed: bool) -> str:
    if row is None:
        return f"{model}: nothing changes, it was never retired."
    if not changed:
        return f"{model}: nothing changes, it is {row.text}."
    if row.retired:
        left = f"version {row.version} is" if row.version else "nothing was"
        return f"{model} is {row.text}. {left} served no more; `--undo` brings it back."
    serves = f"version {row.version} serves again" if row.version else "it had no champion"
    return f"{model} is {row.text}. {serves}."


def _tell_dagster(settings: Settings, row: "Retirement") -> None:
    """Show it on the champion. Raises ServiceError if Dagster's storage cannot be used."""
    from mlops_assets.cli.observing import observe

    observe(
        settings,
        row.model,
        "champion",
        row.text,
        {"retired": row.retired, "version": row.version, "actor": row.actor},
        done=f"{row.model} is {row.text}",
    )
