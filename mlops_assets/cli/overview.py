"""What `mlops status` tells: gathered from the registry and the lake, created nowhere."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from mlops_assets.cli.models import gone_models, model_names, open_registry, registry_errors
from mlops_assets.cli.running import read_running
from mlops_assets.cli.specs import load_model
from mlops_assets.domain.errors import ReleaseError, SpecError
from mlops_assets.domain.plan import ServingPlan
from mlops_assets.settings import Settings
from mlops_assets.stores import verdicts
from mlops_assets.stores.canaries import Canaries
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.monitoring import kept
from mlops_assets.stores.pauses import Pauses
from mlops_assets.stores.registry import (
    CHALLENGER,
    CHAMPION,
    GATES_TAG,
    PREVIOUS_CHAMPION,
    REFUSED_TAG,
    RELEASED_AT_TAG,
    Registry,
    Version,
)
from mlops_assets.stores.releases import ReleaseRecord, Releases
from mlops_assets.stores.retirements import RetirementLog

DRIFT = ("version", "rows", "judged", "flagged", "reason")
PERFORMANCE = (
    *("version", "predictions", "labelled", "coverage", "judged"),
    *("loss", "reference_loss", "harmed", "harmed_part", "reason"),
)
DECISION = ("id", "version", "action", "reasons")


@dataclass(frozen=True)
class VersionGlance:
    """A version behind an alias; times are ISO 8601 in UTC, empty where it never was released.

    `refused` is what the gates said that it did not pass.
    `loop_time` is what the loop's clock showed at the release; `judged_against` is the champion
    that the gates compared it with, empty if there was none.
    """

    version: str
    gates: str
    refused: str
    estimator: str
    judged_against: str
    created_at: str
    released_at: str
    loop_time: str


@dataclass(frozen=True)
class ModelGlance:
    """A model: its versions, how much history it has, and what monitoring said last.

    `can_be_released` says whether `mlops approve` would make the challenger the champion;
    `traffic` who answers and who watches, None where nobody does; `canary` the canary under way,
    and what was found at the last look at it, empty where there is none.
    `gaps` are the stretches of its history that have no rows.
    `drift`, `performance` and `decision` are the newest kept ones with their `period`; `governor`
    is what was said of that decision, where it asked for a run. `paused` says who paused
    retraining, when and why; empty where nobody did. `out_of_service` says likewise that it is
    retired, or that its folder is gone.
    """

    model: str
    champion: VersionGlance | None
    challenger: VersionGlance | None
    previous_champion: VersionGlance | None
    can_be_released: bool
    traffic: ServingPlan | None
    canary: str
    periods: int
    newest_period: str | None
    gaps: tuple[str, ...]
    drift: dict[str, Any] | None
    performance: dict[str, Any] | None
    decision: dict[str, Any] | None
    governor: dict[str, Any] | None
    paused: str
    out_of_service: str


@dataclass(frozen=True)
class Overview:
    """A home at a glance; `services` is None when `mlops up` does not run."""

    home: str
    clock: dict[str, Any]
    services: dict[str, Any] | None
    registry_error: str | None
    models: tuple[ModelGlance, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it, for `json.dumps`."""
        content = asdict(self)
        for model in content["models"]:
            if model["traffic"]:
                model["traffic"]["quarantined"] = sorted(model["traffic"]["quarantined"])
        return content


def every_model(settings: Settings) -> list[str]:
    """Models with a folder, then those whose folder is gone, as far as the registry can be asked.

    A registry that is away is told by `overview`.
    """
    try:
        gone = gone_models(settings)
    except ReleaseError:
        gone = []
    return [*model_names(settings), *gone]


def overview(settings: Settings, names: list[str]) -> Overview:
    """Look at these models; a registry that is away is told, and the rest is shown."""
    clock = Clock(settings.clock_file)
    versions, failure = dict[str, _Versions](), None
    try:
        versions = _versions(settings, names)
    except ReleaseError as error:
        failure = str(error)
    return Overview(
        home=str(settings.home),
        clock={"now": clock.now().isoformat(), "replaying": clock.is_replaying},
        services=_services(settings),
        registry_error=failure,
        models=tuple(_model(settings, name, versions.get(name, _Versions())) for name in names),
    )


def _services(settings: Settings) -> dict[str, Any] | None:
    running = read_running(settings.services_file)
    if running is None or running.is_stale:
        return None
    return {"ready": running.ready, "urls": running.urls}


@dataclass(frozen=True)
class _Versions:
    champion: VersionGlance | None = None
    challenger: VersionGlance | None = None
    previous_champion: VersionGlance | None = None
    traffic: ServingPlan | None = None
    canary: str = ""

    @property
    def can_be_released(self) -> bool:
        candidate, serving = self.challenger, self.champion.version if self.champion else ""
        if candidate is None or candidate.gates != "passed":
            return False
        if self.traffic and candidate.version in self.traffic.quarantined:
            return False
        return candidate.judged_against == serving != candidate.version


def _versions(settings: Settings, names: list[str]) -> dict[str, _Versions]:
    """Versions behind the aliases of each model, if there is a registry."""
    registry = open_registry(settings)
    if registry is None:
        return {}
    releases = Releases(registry, Lake(settings.lake_root), settings.locks)
    with registry_errors():
        plans = registry.plans()
        return {name: _versions_of(registry, releases, name, plans.get(name)) for name in names}


def _versions_of(
    registry: Registry, releases: Releases, model: str, traffic: ServingPlan | None
) -> _Versions:
    # Of a version that was released twice, the last time.
    released = {record.to_version: record for record in releases.history(model)}

    def glance(alias: str) -> VersionGlance | None:
        version = registry.alias(model, alias)
        return _glance(version, released.get(version.version)) if version else None

    canary = Canaries(registry).running(model)
    return _Versions(
        champion=glance(CHAMPION),
        challenger=glance(CHALLENGER),
        previous_champion=glance(PREVIOUS_CHAMPION),
        traffic=traffic,
        canary=f"{canary.text}: {canary.reason}" if canary else "",
    )


def _model(settings: Settings, name: str, versions: _Versions) -> ModelGlance:
    lake = Lake(settings.lake_root)
    periods = lake.periods(name, "raw_data")
    decision = _newest(lake, name, "decisions", DECISION)
    pause = Pauses(lake).current(name)
    return ModelGlance(
        model=name,
        champion=versions.champion,
        challenger=versions.challenger,
        previous_champion=versions.previous_champion,
        can_be_released=versions.can_be_released,
        traffic=versions.traffic,
        canary=versions.canary,
        periods=len(periods),
        newest_period=periods[-1] if periods else None,
        gaps=_gaps(settings, name, periods),
        drift=_newest(lake, name, "drift_reports", DRIFT),
        performance=_newest(lake, name, "performance_reports", PERFORMANCE),
        decision=decision,
        governor=_governor(lake, name, decision),
        paused=pause.text if pause else "",
        out_of_service=_out_of_service(settings, lake, name),
    )


def _gaps(settings: Settings, name: str, periods: tuple[str, ...]) -> tuple[str, ...]:
    try:
        calendar = load_model(settings, name).calendar
    except SpecError:
        # What is wrong with the folder is told elsewhere; without it nobody knows the periods.
        return ()
    try:
        return tuple(calendar.told_gaps(periods))
    except ValueError:
        return ()  # the periods are those of another cadence, which the spec had before


def _out_of_service(settings: Settings, lake: Lake, name: str) -> str:
    retired = RetirementLog(lake).current(name)
    if retired:
        return f"{retired.text}; `mlops retire {name} --undo` brings it back"
    if name in model_names(settings):
        return ""
    return (
        f"its folder is gone from {settings.models_dir}: Dagster's sensor `removed_models` retires "
        f"it, or `mlops retire {name}`"
    )


def _governor(lake: Lake, name: str, decision: dict[str, Any] | None) -> dict[str, Any] | None:
    verdict = verdicts.of(lake, name).get(decision["period"]) if decision else None
    if decision is None or verdict is None or verdict.decision != decision["id"]:
        return None
    return asdict(verdict)


def _newest(lake: Lake, model: str, table: str, fields: tuple[str, ...]) -> dict[str, Any] | None:
    found = kept(lake, model, table)
    if not found:
        return None
    period, content = list(found.items())[-1]
    # Reports of older releases of this software lack the newest fields.
    return {"period": period, **{field: content.get(field) for field in fields}}


def _glance(version: Version, record: ReleaseRecord | None) -> VersionGlance:
    return VersionGlance(
        version=version.version,
        gates=version.tags.get(GATES_TAG, "not judged"),
        refused=version.tags.get(REFUSED_TAG, ""),
        estimator=version.tags.get("estimator", ""),
        judged_against=version.tags.get("judged_against", ""),
        created_at=datetime.fromtimestamp(version.created_at, UTC).isoformat(),
        released_at=version.tags.get(RELEASED_AT_TAG, ""),
        loop_time=record.loop_time if record else "",
    )
