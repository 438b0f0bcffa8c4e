"""`mlops status` and `mlops releases`: how the models are, and how they came to be so."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from mlops_assets.cli.overview import ModelGlance, Overview, VersionGlance
    from mlops_assets.stores.incidents import Incident
    from mlops_assets.stores.releases import ReleaseRecord

# So much of a hash or a run's id tells it from the others.
SHORT = 12
# `--json` has all of them.
SHOWN_GAPS = 3


@click.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(model: str | None, as_json: bool) -> None:
    """Show versions, history, last reports and decisions of MODEL, or of every model."""
    from mlops_assets.cli.models import known_or_gone
    from mlops_assets.cli.overview import every_model, overview

    settings = Settings.load()
    names = [known_or_gone(settings, model)] if model else every_model(settings)
    found = overview(settings, names)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        _show(found, settings)


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def releases(model: str, as_json: bool) -> None:
    """List the releases, rollbacks and incidents of MODEL, newest first."""
    from mlops_assets.cli.models import known_or_gone
    from mlops_assets.stores.lake import Lake
    from mlops_assets.stores.registry import Registry
    from mlops_assets.stores.releases import Releases
    from mlops_assets.stores.retirements import RetirementLog

    settings = Settings.load()
    known_or_gone(settings, model)
    # The records are in the lake; the registry is not asked.
    store = Releases(Registry(settings.mlflow_uri), Lake(settings.lake_root), settings.locks)
    records, incidents = store.history(model)[::-1], store.incidents(model)[::-1]
    retirements = RetirementLog(Lake(settings.lake_root)).of(model)[::-1]
    if as_json:
        found: dict[str, list[dict[str, Any]]] = {
            name: [{**asdict(row), "evidence": row.evidence_values} for row in rows]
            for name, rows in (("releases", records), ("incidents", incidents))
        }
        found["retirements"] = [asdict(row) for row in retirements]
        click.echo(json.dumps({"model": model, **found}))
    elif records or incidents:
        for row in retirements:
            click.echo(f"{model}: {row.text}\n")
        _show_releases(model, records, incidents)
    else:
        click.echo(f"{model} was never released.")


def _show(found: "Overview", settings: Settings) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(f"Home      {found.home}", soft_wrap=True)
    kind = "set by a replay" if found.clock["replaying"] else "system time"
    console.print(f"Clock     {_minute(found.clock['now'])} ({kind})")
    if found.services is None:
        console.print("Services  none: `mlops up` starts them")
    else:
        state = "" if found.services["ready"] else " (starting)"
        for name, url in found.services["urls"].items():
            console.print(f"Service   {name} {url}{state}", soft_wrap=True)
    if found.registry_error:
        console.print(f"Registry  {found.registry_error}", soft_wrap=True)
    if not found.models:
        console.print(f"Models    none in {settings.models_dir}", soft_wrap=True)
    for model in found.models:
        _show_model(console, model)


def _show_model(console: "Console", model: "ModelGlance") -> None:
    newest = f", newest {model.newest_period}" if model.newest_period else ""
    challenger = _version(model.challenger)
    if model.challenger and model.champion and model.challenger.version == model.champion.version:
        challenger = "the champion"
    elif model.can_be_released:
        challenger += f"; `mlops approve {model.model}` releases it"
    rows = {
        **({"out of service": model.out_of_service} if model.out_of_service else {}),
        "champion": _version(model.champion),
        "challenger": challenger,
        "previous champion": _version(model.previous_champion),
        **_traffic(model),
        "history": f"{model.periods} periods{newest}",
        **({"gaps": _gaps(model.gaps)} if model.gaps else {}),
        "drift": _drift(model.drift),
        "performance": _performance(model.performance),
        "decision": _decision(model.decision),
        **_governor(model),
    }
    console.print()
    _show_table(console, model.model, rows)


def _gaps(gaps: tuple[str, ...]) -> str:
    """The newest ones, and how many there are besides."""
    more = len(gaps) - SHOWN_GAPS
    return "; ".join(gaps[-SHOWN_GAPS:]) + (f"; {more} more before" if more > 0 else "")


def _version(version: "VersionGlance | None") -> str:
    if version is None:
        return "none"
    gates = f"gates: {version.gates}" + (f" ({version.refused})" if version.refused else "")
    parts = [f"version {version.version}", version.estimator, gates]
    if version.released_at:
        parts.append(f"released {_moment(version.released_at, version.loop_time)}")
    else:
        parts.append(f"made {_minute(version.created_at)}")
    return ", ".join(part for part in parts if part)


def _drift(report: dict[str, Any] | None) -> str:
    if report is None:
        return "no report"
    if not report["judged"]:
        return f"{report['period']}: not judged, {report['reason']}"
    flagged = ", ".join(report["flagged"]) or "no column"
    return f"{report['period']}: {flagged} flagged in {report['rows']} rows"


def _performance(report: dict[str, Any] | None) -> str:
    if report is None:
        return "no report"
    if not report["judged"]:
        return f"{report['period']}: not judged, {report['reason']}"
    verdict = "harmed" if report["harmed"] else "no harm"
    if report["harmed_part"]:
        verdict += f" in a segment of {report['harmed_part']}"
    return (
        f"{report['period']}: {verdict}, loss {report['loss']:.4f} against "
        f"{report['reference_loss']:.4f} at release, {report['coverage']:.0%} labelled"
    )


def _decision(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return "none"
    return f"{decision['period']}: {decision['action']}, {'; '.join(decision['reasons'])}"


def _governor(model: "ModelGlance") -> dict[str, str]:
    """What became of the decision, where that is more than its being read, and who paused it."""
    rows = {}
    if model.governor and model.governor["started"]:
        rows["acted on"] = "a run was started"
    elif model.governor:
        verb = "dropped" if model.governor["final"] else "waits"
        rows["not acted on"] = f"{verb}: {model.governor['reason'].partition(': ')[2]}"
    if model.paused:
        rows["retraining"] = f"{model.paused}; `mlops resume {model.model}` ends it"
    return rows


def _traffic(model: "ModelGlance") -> dict[str, str]:
    """Who answers, where that is more than the champion, and what must not serve."""
    from mlops_assets.cli.split import traffic

    plan = model.traffic
    if plan is None:
        return {}
    rows = {
        "traffic": traffic(plan) if plan.split or plan.shadow else "",
        "canary": model.canary,
        "not in force": "; ".join(plan.problems),
        "quarantined": ", ".join(f"version {v}" for v in sorted(plan.quarantined, key=int)),
    }
    return {name: text for name, text in rows.items() if text}


def _show_releases(model: str, records: "list[ReleaseRecord]", incidents: "list[Incident]") -> None:
    from rich.console import Console

    from mlops_assets.stores.incidents import CLEARED

    console = Console(highlight=False, markup=False)
    rolled_back = {(one.version, one.at): one for one in incidents}
    for record in records:
        before = record.from_version or "none"
        rows = {
            "when": _moment(record.at, record.loop_time),
            "who": record.actor,
            "why": record.reason,
            "run": record.run_id or "none",
            **{name: _short(value) for name, value in record.evidence_values.items()},
        }
        incident = rolled_back.pop((record.from_version, record.at), None)
        if incident:
            rows["incident"] = f"{incident.id}, version {incident.version} quarantined"
        _show_table(console, f"{model} {record.kind} {before} → {record.to_version}", rows)
    for incident in rolled_back.values():
        quarantined = f"quarantined ({incident.kind})"
        done = "let out of quarantine" if incident.kind == CLEARED else quarantined
        rows = {
            "what": f"version {incident.version} {done}",
            "when": _moment(incident.at, incident.loop_time),
            "who": incident.actor,
            "why": incident.reasons,
        }
        _show_table(console, f"{model} incident {incident.id}", rows)


def _show_table(console: "Console", title: str, rows: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        # Reasons quote values of the data, which must not be taken for markup.
        table.add_row(name, Text(text))
    console.print(table)


def _short(value: Any) -> str:
    """The start of a long hash; all of everything else."""
    text = str(value)
    is_hash = len(text) > SHORT and set(text) <= set("0123456789abcdef")
    return text[:SHORT] if is_hash else text


def _minute(iso: str) -> str:
    """An ISO 8601 time without its seconds."""
    return iso[:16].replace("T", " ")


def _moment(at: str, loop_time: str) -> str:
    """A time, with the loop's own where a replay had set another day."""
    if not loop_time or loop_time[:10] == at[:10]:
        return _minute(at)
    return f"{_minute(at)} (loop time {_minute(loop_time)})"
