"""Takes a model through a stretch of its history, period by period, and tells what happened."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import numpy as np

from mlops_assets.cli.loops import Loop, Sent
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import ServiceError
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.labels import LABEL, encode
from mlops_assets.domain.timeline import PeriodRow
from mlops_assets.domain.wording import counted
from mlops_assets.resources import Stores
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring, verdicts
from mlops_assets.stores.bundles import load_scorer
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.traffic import records, together, with_key

Say = Callable[[str], None]
# One in so many of a period's requests may find a training at work.
EARLY_SHARE = 10


def replay(
    settings: Settings,
    model: Model,
    loop: Loop,
    periods: list[str],
    say: Say,
    tell: Say | None = None,
) -> Iterator[PeriodRow]:
    """Yield what happened in each period, once the loop has come to rest on it.

    `say` hears what is being done now, and `tell` (without one, `say` too) what is to be
    remembered: a gap, requests that failed, rows that were not asked about.

    Labels mature `monitoring.wait` after a period's end, within a later period. As in a backtest,
    what follows from them holds from the nearest beginning of a period on: so a period is judged
    after the `Model.label_delay` periods that follow it were served. What is older than the first
    period is ingested, and the first version trained, before anything is served.

    Raises ServiceError if the first version was released after the first period: it may have
    learned from what it would be asked, and the loop judges only what came after it.
    """
    tell = tell or say
    clock = Clock(settings.clock_file)
    stores = Stores.of(settings)
    wait, delay = model.spec.monitoring.wait, model.label_delay
    released = stores.releases.history(model.name)
    if released:
        _raise_if_before(model, periods[0], released[0].loop_time)
    clock.set(begins_at(model, periods[0]))
    say(
        f"ingesting history up to {periods[0]}; version {released[-1].to_version} serves"
        if released
        else "ingesting history and training the first version"
    )
    loop.settle(None)
    served = _champion(stores, model)
    loop.swapped(served)
    waiting: list[tuple[str, Sent, float | None]] = []
    for period in [*periods, *[""] * min(delay, len(periods))]:
        if period:
            if model.spec.history:
                # As in operation: what is over is ingested and published before requests come.
                clock.set(max(clock.now(), model.calendar.bounds(period).start))
                loop.settle(None)
            say(f"{period}: sending requests")
            sent, swap, served = _serve(stores, model, loop, period, served, tell)
            if sent.failed:
                tell(f"{period}: {sent.failed} requests failed, the first with {sent.first_error}")
            waiting.append((period, sent, swap))
        if period and len(waiting) <= delay:
            continue
        judged, sent, swap = waiting.pop(0)
        clock.set(model.calendar.bounds(judged).end + wait)
        say(f"{judged}: labels and reports")
        loop.settle(judged)
        decision = monitoring.kept(stores.lake, model.name, "decisions").get(judged)
        if not sent.requests and (decision is None or _is_gap(stores, model, judged)):
            tell(f"{judged}: a gap, the source has no row of it: nothing asked, nothing judged")
            continue
        if decision is None:
            raise ServiceError(_undecided(model, judged, sent))
        acted = loop.acted_on(decision["id"])
        yield _row(stores, model, judged, sent, decision, acted, swap)
    loop.finish()


def _is_gap(stores: Stores, model: Model, period: str) -> bool:
    """Whether a period that is decided on has no row: it is closed once later rows have come."""
    held = stores.lake.held(model.name, "raw_data").get(period)
    return held is None or not held.rows


def _raise_if_before(model: Model, period: str, first_release: str) -> None:
    released = datetime.fromisoformat(first_release)
    if model.calendar.bounds(period).end > released:
        return
    raise ServiceError(
        f"the first version of {model.name} was released at {released:%Y-%m-%d %H:%M} of the "
        f"loop's time, after {period}: it may know what it would be asked, and nothing before it "
        "is judged. Replay what came after, or begin with an empty MLOPS_HOME; where `mlops up` "
        f"is to come first, say `mlops clock --set {begins_at(model, period):%Y-%m-%dT%H:%M}` "
        "before it"
    )


def _undecided(model: Model, period: str, sent: Sent) -> str:
    told = f"no decision was made on {period} of {model.name}"
    if not sent.failed:
        return f"{told}: has the source rows of it?"
    return (
        f"{told}: {sent.failed} of {sent.requests} requests failed, the first with "
        f"{sent.first_error}. If the inputs in defs.yaml have changed since the version that "
        f"serves was trained, train one with them first: the job {model.name}__train, in the UI "
        "of `mlops up`"
    )


def begins_at(model: Model, period: str) -> datetime:
    """Where the clock stands when a replay from this period on begins."""
    start = model.calendar.bounds(period).start
    return model.calendar.before(start, model.label_delay) + model.spec.monitoring.wait


def _serve(
    stores: Stores, model: Model, loop: Loop, period: str, served: str, tell: Say
) -> tuple[Sent, float | None, str]:
    """Send a period's requests; what became of them, the seconds of a swap, the live version.

    A training that the last decision asked for is done after a small part of a real period: the
    requests of that part find it at work, all others are answered by what it released.
    """
    tell = _once(tell)
    traffic = _traffic(stores, model, period, served, tell)
    early = len(traffic) // EARLY_SHARE
    sent, swap = loop.send(traffic[:early]), None
    loop.finish()
    now = _champion(stores, model)
    if now != served:
        swap = loop.swapped(now)
        traffic = _traffic(stores, model, period, now, tell)
    sent.join(loop.send(traffic[early:]))
    return sent, swap, now


def _once(tell: Say) -> Say:
    """Tell what was not told before."""
    told: set[str] = set()

    def once(text: str) -> None:
        if text not in told:
            told.add(text)
            tell(text)

    return once


def _traffic(
    stores: Stores, model: Model, period: str, version: str, tell: Say
) -> list[list[dict[str, Any]]]:
    """A period's requests, with the inputs that a version asks for."""
    contract = _contract(stores, model, version)
    added = sorted(model.spec.columns.keys() - {column.name for column in contract.columns})
    if added:
        names = ", ".join(added)
        tell(f"{period}: version {version} was trained before it could see {names}: asked without")
    found = records(model, period, contract)
    asked = with_key(model, contract, found)
    if len(asked) < len(found):
        left_out = counted(len(found) - len(asked), "row")
        tell(
            f"{period}: {left_out} without {model.spec.entity}, whose past is looked up: not asked"
        )
    return together(model, asked)


def _contract(stores: Stores, model: Model, version: str) -> Contract:
    bundle = stores.registry.cached_bundle(model.name, version, stores.bundles)
    return Contract.from_json((bundle / "contract.json").read_bytes())


def _champion(stores: Stores, model: Model) -> str:
    released = stores.releases.history(model.name)
    if not released:
        raise ServiceError(
            f"{model.name} has no released version, so there is nothing to replay: look with "
            f"`mlops status {model.name}` whether its gates refused one, it waits for `mlops "
            "approve` (approval: manual), or retraining.enabled is false in its defs.yaml"
        )
    return released[-1].to_version


def _row(
    stores: Stores,
    model: Model,
    period: str,
    sent: Sent,
    decision: dict[str, Any],
    acted: bool,
    swap: float | None,
) -> PeriodRow:
    action, reason = decision["action"], "; ".join(decision["reasons"])
    if action in ("retrain", "rollback") and not acted:
        action, reason = "nothing", f"{reason}; not acted on: {_why_not(stores, model, period)}"
    drift = monitoring.kept(stores.lake, model.name, "drift_reports")[period]
    version = max(sent.versions, key=lambda name: (sent.versions[name], int(name)), default="")
    loss_live, loss_first = losses(stores, model, period)
    return PeriodRow(
        period=period,
        requests=sent.requests,
        failed=sent.failed,
        version=version,
        loss_live=loss_live,
        loss_first=loss_first,
        flagged=tuple(drift["flagged"]),
        action=action,
        reason=reason,
        swap_seconds=swap,
        served=sent.served,
    )


def _why_not(stores: Stores, model: Model, period: str) -> str:
    """What kept a period's decision from its run."""
    verdict = verdicts.of(stores.lake, model.name).get(period)
    if verdict and (verdict.held or verdict.rule == "canary"):
        return verdict.reason.partition(": ")[2]
    # Its version was replaced while the period was served: the sensor drops the decision.
    return f"version {_champion(stores, model)} serves by now"


def losses(stores: Stores, model: Model, period: str) -> tuple[float | None, float | None]:
    """Mean loss of what was answered, and of the very first version on the same rows."""
    served = monitoring.predictions_of(model, stores.lake, period)
    if not len(served):
        return None, None
    first = stores.releases.history(model.name)[0].to_version
    scorer = load_scorer(stores.registry.cached_bundle(model.name, first, stores.bundles))
    task, classes = model.spec.task, scorer.contract.classes
    parts = []
    for version, rows in served.groupby("version"):
        # Versions may know different classes.
        contract = _contract(stores, model, str(version))
        y, outputs, joined = monitoring.labelled(model, stores.lake, period, rows, contract)
        if len(y):
            again = scorer.score(as_arrays(model_frame(joined, scorer.contract.columns)))
            first_y = encode(joined[LABEL], task, classes)
            live, before = row_losses(task, y, outputs), row_losses(task, first_y, again)
            parts.append((live, before, monitoring.weights_of(model, joined)))
    if not parts:
        return None, None
    weights = None if parts[0][2] is None else np.concatenate([part[2] for part in parts])
    both = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    live_loss, first_loss = (float(np.average(one, weights=weights)) for one in both)
    return live_loss, first_loss


def stretch(model: Model, start: datetime, end: datetime) -> list[str]:
    """Keys of the periods that begin in [start, end)."""
    return list(model.calendar.between(start, end))


def count_releases(settings: Settings, model: Model) -> int:
    """Release records of the model so far, rollbacks included."""
    return len(Stores.of(settings).releases.history(model.name))
