"""A model's alerts: a sensor that compares what holds with what was told, and delivers the rest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.automation.acting import out_of_service
from mlops_assets.automation.failed_runs import failed_of, how_it_ended
from mlops_assets.automation.jobs import RefreshCards
from mlops_assets.automation.past_runs import in_flight, materialized
from mlops_assets.domain import alert_signals as known
from mlops_assets.domain.alerts import Alert, Signal, body_of, due, reconcile, title_of
from mlops_assets.resources import Stores, model_of
from mlops_assets.spec import Model
from mlops_assets.stores.alerts import AlertLog
from mlops_assets.stores.channels import Channel, Console, channels_of

if TYPE_CHECKING:
    from mlops_assets.stores.release_log import ReleaseRecord

# Who takes versions back without a run that could make their cards anew.
GUARD = "guard"


def alerts(
    model: Model, seconds: int, gates: Sequence[str], refresh_cards: RefreshCards
) -> dg.SensorDefinition:
    """The sensor that opens, delivers and resolves a model's alerts; `gates` are check names."""

    @dg.sensor(
        name=f"{model.name}__alerts",
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people what they should know, once when it begins and once when it "
        "ends: decisions, failed gates, incidents, failed runs, stale data. Makes the model cards "
        "anew after a rollback by the guard, which is no run.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
        log = AlertLog(stores.lake)
        before = log.of(model.name)
        signals, unknown = _signals(context.instance, model, stores, before, gates)
        if out_of_service(model, stores):
            # Nobody has to be told any more; what is open ends.
            signals, unknown = [], ()
        changes = reconcile(model.name, before, signals, unknown)
        now = log.apply(model.name, before, changes, stores.clock.now())
        channels, wrong = channels_of(model.spec.alerts.urls_env)
        console = Console(context.log.warning)
        failures = [*wrong, *deliver(log, model.name, now, [console, *channels])]
        for failure in failures:
            context.log.error(failure)
        still = sum(alert.is_open for alert in now)
        told = "; ".join([f"{model.name}: {still} open alert(s)", *failures])
        taken_back = _taken_back(model, stores)
        if taken_back is None or taken_back.id == context.cursor:
            return dg.SensorResult(skip_reason=told, cursor=context.cursor)
        versions = (taken_back.from_version, taken_back.to_version)
        event, problems = refresh_cards(model, stores, versions)
        for problem in problems:
            context.log.warning(problem)
        events = [event] if event else []
        return dg.SensorResult(skip_reason=told, cursor=taken_back.id, asset_events=events)

    return sensor


def _taken_back(model: Model, stores: Stores) -> "ReleaseRecord | None":
    """The newest release, if it was the guard's rollback."""
    newest = stores.releases.history(model.name)[-1:]
    return newest[0] if newest and newest[0].actor == GUARD else None


def deliver(
    log: AlertLog, model: str, found: Sequence[Alert], channels: Sequence[Channel]
) -> list[str]:
    """Send each channel what it has not got, and say what did not arrive.

    A channel is left alone after its first failure, so that a dead one costs one attempt per tick;
    what it missed is sent when it works again.
    """
    failures = []
    for channel in channels:
        waiting = due(found, channel.name)
        for place, (alert, event) in enumerate(waiting):
            arrived = channel.send(
                title_of(alert, event), body_of(alert, event), alert.severity, event
            )
            log.delivered(model, alert.id, event, channel.name, arrived=arrived)
            if not arrived:
                failures.append(
                    f"channel {channel.name} failed: {len(waiting) - place} message(s) of {model} "
                    "wait for the next tick"
                )
                break
    return failures


def _signals(
    instance: dg.DagsterInstance,
    model: Model,
    stores: Stores,
    before: Sequence[Alert],
    gates: Sequence[str],
) -> tuple[list[Signal], tuple[str, ...]]:
    """Everything that holds now, and the kinds that cannot be told at the moment."""
    aliases = stores.registry.aliases(model.name)
    champion = aliases.get("champion", "")
    found = [
        _decision(model, stores, champion),
        _gates(instance, model, stores, aliases.get("challenger", ""), gates),
        *_incidents(model, stores),
        *_runs(instance, model, stores, before),
    ]
    unknown: tuple[str, ...] = ()
    if found[0] is not None and found[0].kind == known.HARM:
        # Beside harm the decision does not tell whether what it was told for before has ended.
        unknown = (known.LOOK,)
    if in_flight(instance, model, ("ingest", "watch", "close")):
        # What is being ingested may be what is missing.
        unknown += (known.STALE,)
    else:
        found.append(_staleness(instance, model, stores))
    return [signal for signal in found if signal is not None], unknown


def _decision(model: Model, stores: Stores, champion: str) -> Signal | None:
    from mlops_assets.stores import verdicts
    from mlops_assets.stores.monitoring import decisions, evidence

    newest = decisions(stores.lake, model.name)[-1:]
    if not newest:
        return None
    decision = newest[0]
    asks = decision.action == "alert"
    reported = evidence(stores.lake, model.name, decision.period)[-1:] if asks else []
    verdict = verdicts.of(stores.lake, model.name).get(decision.period)
    about = verdict if verdict and verdict.decision == decision.id else None
    page = stores.links.asset(model.name, "retrain_decision", decision.period)
    report = stores.report_path(model.name, decision.period, "drift.html")
    return known.of_decision(
        decision,
        champion,
        harmed=any(one.period == decision.period and one.proven_harm for one in reported),
        started=bool(about and about.started),
        held=about.reason if about and about.held else "",
        link=page or (str(report) if report.exists() else ""),
    )


def _gates(
    instance: dg.DagsterInstance,
    model: Model,
    stores: Stores,
    challenger: str,
    gates: Sequence[str],
) -> Signal | None:
    from mlops_assets.stores.registry import GATES_TAG

    if not challenger:
        return None
    version = stores.registry.version(model.name, challenger)
    return known.of_gates(
        challenger,
        _failed_gates(instance, model, challenger, gates),
        refused=version.tags.get(GATES_TAG) == "failed",
        link=stores.links.checks(model.name, "challenger"),
    )


def _failed_gates(
    instance: dg.DagsterInstance, model: Model, version: str, gates: Sequence[str]
) -> list[str]:
    """Names of the gates that the version failed, as Dagster has them."""
    failed = []
    for gate in gates:
        key = dg.AssetCheckKey(dg.AssetKey([model.name, "challenger"]), gate)
        evaluation = _evaluation(instance, key)
        judged = evaluation.metadata.get("version") if evaluation else None
        if evaluation and not evaluation.passed and judged and str(judged.value) == version:
            failed.append(gate)
    return failed


def _evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> Any:
    """The newest evaluation of a check, if there was one."""
    record = instance.get_latest_asset_check_evaluation_record(key)
    event = record.event.dagster_event if record and record.event else None
    if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        # Planned by a run that has not come to it, or never will.
        return None
    return event.asset_check_evaluation_data


def _incidents(model: Model, stores: Stores) -> list[Signal]:
    """Versions under quarantine that nothing newer has replaced yet."""
    from mlops_assets.stores.incidents import CLEARED, Incidents

    link = stores.links.asset(model.name, "champion") or f"`mlops releases {model.name}`"
    newest = {one.version: one for one in Incidents(stores.lake).of(model.name)}
    moves = [move for move in stores.releases.history(model.name) if move.kind == "release"]
    found = []
    for version, one in newest.items():
        later = [move.to_version for move in moves if move.at > one.at]
        over = "it was let out of quarantine" if one.kind == CLEARED else ""
        over = over or (f"version {later[-1]} was released since" if later else "")
        taken = known.Taken(one.id, version, one.kind, one.reasons, one.rolled_back_to, over)
        found.append(known.of_incident(taken, link))
    # What was over before anyone looked is history, not news.
    told = {alert.cause for alert in AlertLog(stores.lake).of(model.name)}
    return [signal for signal in found if not signal.over or signal.cause in told]


def _runs(
    instance: dg.DagsterInstance, model: Model, stores: Stores, before: Sequence[Alert]
) -> list[Signal]:
    """The failed runs that were told of, each with how it ended."""
    found = []
    for alert in before:
        if alert.is_open and alert.cause.partition(":")[0] == known.RUN:
            over = how_it_ended(instance, model, alert.occasion)
            run = known.FailedRun(alert.occasion, *_job_and_period(alert.cause), "", "")
            found.append(known.of_run(run, stores.links.run(alert.occasion), over))
    return found


def _job_and_period(cause: str) -> tuple[str, str]:
    _, job, *period = cause.split(":", 2)
    return job, period[0] if period else ""


def _staleness(instance: dg.DagsterInstance, model: Model, stores: Stores) -> Signal | None:
    ingested = materialized(instance, model, "raw_data")
    newest = max(ingested, default="")
    check = dg.AssetCheckKey(dg.AssetKey([model.name, "raw_data"]), "freshness")
    evaluation = _evaluation(instance, check)
    return known.of_staleness(
        newest,
        [period for period in model.calendar.closed(stores.clock.now()) if period > newest],
        model.spec.alerts.stale_after,
        old_rows=bool(evaluation and not evaluation.passed),
        link=stores.links.checks(model.name, "raw_data"),
    )


def failed_runs() -> dg.SensorDefinition:
    """The sensor that opens an alert for each failed run; the model's own sensor delivers it."""

    @dg.run_failure_sensor(
        name="alert_on_failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Opens an alert for a run that failed. A challenger that failed its gates is "
        "told as such instead.",
    )
    def sensor(context: dg.RunFailureSensorContext, stores: Stores) -> dg.SkipReason:
        model = model_of(context.dagster_run)
        failed = failed_of(context)
        if failed is None:
            return dg.SkipReason("a challenger failed its gates: no failure of the run")
        signal = known.of_run(failed, stores.links.run(failed.run_id))
        opened = AlertLog(stores.lake).open(model, signal, stores.clock.now())
        return dg.SkipReason(f"{model}: {signal.title}{'' if opened else ', as was told before'}")

    return sensor
