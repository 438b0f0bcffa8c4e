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
from mlops_assets.resources import Stores
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring, verdicts
from mlops_assets.stores.bundles import load_scorer
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.traffic import requests

Say = Callable[[str], None]


def replay(
    settings: Settings, model: Model, loop: Loop, periods: list[str], say: Say
) -> Iterator[PeriodRow]:
    """Yield what happened in each period, once the loop has come to rest on it.

    The clock starts at the first period's beginning: what is older is ingested, and the first
    version trained, before anything is served.
    """
    clock = Clock(settings.clock_file)
    stores = Stores.of(settings)
    clock.set(model.calendar.bounds(periods[0]).start)
    say("ingesting history and training the first version")
    loop.settle(None)
    served = _champion(stores, model)
    loop.swapped(served)
    for period in periods:
        say(f"{period}: sending requests")
        sent = loop.send(requests(model, period))
        if sent.failed:
            say(f"{period}: {sent.failed} requests failed, the first with {sent.first_error}")
        loop.finish()
        swap = None
        now = _champion(stores, model)
        if now != served:
            swap, served = loop.swapped(now), now
        clock.set(model.calendar.bounds(period).end + model.spec.monitoring.wait)
        say(f"{period}: labels and reports")
        loop.settle(period)
        decision = monitoring.kept(stores.lake, model.name, "decisions").get(period)
        if decision is None:
            raise ServiceError(
                f"no decision was made on {period} of {model.name}: has the source rows of it?"
            )
        acted = loop.acted_on(decision["id"])
        yield _row(stores, model, period, sent, decision, acted, swap)
    loop.finish()


def _champion(stores: Stores, model: Model) -> str:
    return stores.releases.history(model.name)[-1].to_version


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
    if verdict and verdict.held:
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
        bundle = stores.registry.cached_bundle(model.name, str(version), stores.bundles)
        contract = Contract.from_json((bundle / "contract.json").read_bytes())
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
