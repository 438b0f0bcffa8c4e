"""`mlops approve`, `mlops rollback`, `mlops unquarantine`: a person decides who may serve."""

import getpass
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mlops_assets.domain.errors import MlopsError, ReleaseError, ServiceError
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.stores.registry import Version
    from mlops_assets.stores.releases import ReleaseRecord, Releases

# Where Dagster keeps the data version of a materialization that no run has made.
DATA_VERSION_TAG = "dagster/data_version"


@click.command()
@click.argument("model")
@click.option("--version", metavar="N", help="Another version than the challenger.")
@click.option("--reason", default="approved by hand", show_default=True, help="For the record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def approve(model: str, version: str | None, reason: str, as_json: bool) -> None:
    """Release the challenger of MODEL, which must have passed its gates.

    Running it again changes nothing, and finishes what was killed.
    """
    from mlops_assets.cli.models import registry_errors
    from mlops_assets.stores.clock import Clock

    settings, at = Settings.load(), datetime.now(UTC)
    releases = open_releases(settings, model)
    with registry_errors():
        candidate = _candidate(releases, model, version)
        record = releases.release(
            model,
            candidate.version,
            expected_champion=candidate.tags.get("judged_against") or None,
            actor=actor(),
            reason=reason,
            at=at,
            loop_time=Clock(settings.clock_file).now(),
            evidence=candidate.release_evidence,
        )
    _finish(settings, record, at, as_json)


@click.command()
@click.argument("model")
@click.option("--reason", default="rolled back by hand", show_default=True, help="For the record.")
@click.option(
    "--quarantine",
    is_flag=True,
    help="The version that is left never serves again, until `mlops unquarantine`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rollback(model: str, reason: str, quarantine: bool, as_json: bool) -> None:
    """Make the previous champion of MODEL the champion again.

    Run again, it swaps back; with --quarantine that is refused.
    """
    from mlops_assets.cli.models import registry_errors
    from mlops_assets.stores.clock import Clock
    from mlops_assets.stores.incidents import Finding

    settings, at = Settings.load(), datetime.now(UTC)
    releases = open_releases(settings, model)
    with registry_errors():
        record = releases.rollback(
            model,
            actor=actor(),
            reason=reason,
            at=at,
            loop_time=Clock(settings.clock_file).now(),
            finding=Finding("by hand", (reason,), {}) if quarantine else None,
        )
    _finish(settings, record, at, as_json)


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--reason", required=True, help="Why it is good after all, for the record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def unquarantine(model: str, version: str, reason: str, as_json: bool) -> None:
    """Let a quarantined VERSION of MODEL serve again; this releases nothing by itself."""
    from mlops_assets.cli.models import registry_errors
    from mlops_assets.stores.clock import Clock

    settings = Settings.load()
    releases = open_releases(settings, model)
    with registry_errors():
        incident = releases.unquarantine(
            model,
            version,
            actor=actor(),
            reason=reason,
            at=datetime.now(UTC),
            loop_time=Clock(settings.clock_file).now(),
        )
    if as_json:
        click.echo(json.dumps({**asdict(incident), "evidence": incident.evidence_values}))
    else:
        click.echo(f"{model}: version {version} may serve again (incident {incident.id}).")


def open_releases(settings: Settings, model: str) -> "Releases":
    """What moves champions of this home, which is made ready for it."""
    from mlops_assets.cli.home import prepare_home
    from mlops_assets.cli.models import known_model, open_registry
    from mlops_assets.stores.lake import Lake
    from mlops_assets.stores.releases import Releases

    known_model(settings, model)
    registry = open_registry(settings)
    if registry is None:
        raise ReleaseError(f"{model} has no version yet: nothing was trained in {settings.home}.")
    # Before anything moves: Dagster must be there to be told.
    prepare_home(settings)
    return Releases(registry, Lake(settings.lake_root), settings.locks)


def _candidate(releases: "Releases", model: str, version: str | None) -> "Version":
    from mlops_assets.stores.registry import CHALLENGER

    if version is not None:
        return releases.registry.version(model, version)
    challenger = releases.registry.alias(model, CHALLENGER)
    if challenger is None:
        raise ReleaseError(f"{model} has no challenger to approve: train one first.")
    return challenger


def actor() -> str:
    """Who runs this command, for the record."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        user = f"uid {os.getuid()}"
    return f"{user}@cli"


def _finish(settings: Settings, record: "ReleaseRecord", at: datetime, as_json: bool) -> None:
    """Tell Dagster, then the person, about a record that may be older than this command."""
    tell_dagster(settings, record)
    _refresh_cards(settings, record)
    moved = record.at == at.isoformat()
    if as_json:
        content = {**asdict(record), "evidence": record.evidence_values, "moved": moved}
        click.echo(json.dumps(content))
    elif moved:
        click.echo(
            f"{record.model}: version {record.to_version} is the champion, "
            f"before it was {record.from_version or 'none'} ({record.kind} {record.id})."
        )
    else:
        click.echo(
            f"{record.model}: version {record.to_version} already is the champion, since "
            f"{record.at[:16]} ({record.kind} {record.id} by {record.actor})."
        )


def _refresh_cards(settings: Settings, record: "ReleaseRecord") -> None:
    """Make the cards of both versions anew; what goes wrong is told, for the champion has moved."""
    import dagster as dg
    from sqlalchemy.exc import SQLAlchemyError

    from mlops_assets.assets.cards import moved
    from mlops_assets.cli.specs import load_model
    from mlops_assets.resources import Stores
    from mlops_assets.stores.cards import Cards
    from mlops_assets.stores.lake import Lake

    if not Cards(Lake(settings.lake_root)).versions(record.model):
        return
    try:
        model = load_model(settings, record.model)
        versions = (record.from_version, record.to_version)
        event, problems = moved(model, Stores.of(settings), versions)
        if event:
            with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
                instance.report_runless_asset_event(event)
    except (MlopsError, dg.DagsterError, SQLAlchemyError) as error:
        problems = (str(error).splitlines()[0],)
    for problem in problems:
        click.echo(f"{record.model}: a model card was not made anew: {problem}", err=True)


def tell_dagster(settings: Settings, record: "ReleaseRecord") -> bool:
    """Make the champion asset show this record; returns whether it had to be told.

    Raises ServiceError if Dagster's storage cannot be used; the champion has moved all the same.
    """
    import dagster as dg
    from sqlalchemy.exc import SQLAlchemyError

    asset = dg.AssetKey([record.model, "champion"])
    event = dg.AssetMaterialization(
        asset,
        metadata={
            "version": record.to_version,
            "previous_version": record.from_version,
            "release": record.id,
            "released_at": record.at,
            "actor": record.actor,
            "reason": record.reason,
            "evidence": dg.MetadataValue.json(record.evidence_values),
        },
        tags={DATA_VERSION_TAG: f"{record.model}-{record.to_version}"},
    )
    try:
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            latest = instance.get_latest_materialization_event(asset)
            shown = latest.asset_materialization if latest else None
            if shown and shown.metadata.get("release") == dg.MetadataValue.text(record.id):
                return False
            instance.report_runless_asset_event(event)
            return True
    except (dg.DagsterError, SQLAlchemyError) as error:
        raise ServiceError(
            f"version {record.to_version} of {record.model} is the champion, but Dagster could "
            f"not be told ({str(error).splitlines()[0]}): run "
            f"`mlops approve {record.model} --version {record.to_version}` once it works again."
        ) from error
