"""Whether a decision still deserves a run by the time someone reads it."""

from dataclasses import dataclass
from typing import Literal

from mlops_assets.domain.retraining import Decision


@dataclass(frozen=True)
class Dispatch:
    """start: request a run with `run_key`. wait: ask again later. drop: done with the decision."""

    action: Literal["start", "wait", "drop"]
    run_key: str
    reason: str


def dispatch(
    decision: Decision,
    *,
    champion: str,
    newest_decided_period: str,
    in_flight: str | None,
    handled: frozenset[str],
    canary: str = "",
) -> Dispatch:
    """Start a run for a decision only if it is about the world as it is now.

    `champion` is the version that serves, `newest_decided_period` the newest period of any
    decision on the model (periods sort as text), `in_flight` the id of a run that is at work on
    the model, and `handled` the run keys that were started before. Only a decision that would
    start waits, so what waits is judged again when its turn comes. A retrain also waits for the
    `canary` that this text describes: the version on its way may be the answer to the decision.
    """
    about = f"{decision.action} of version {decision.version} after {decision.period}"
    if decision.action not in ("retrain", "rollback"):
        return Dispatch("drop", decision.id, f"{about}: needs no run")
    if decision.id in handled:
        return Dispatch("drop", decision.id, f"{about}: was started before")
    if decision.version != champion:
        return Dispatch("drop", decision.id, f"{about}: version {champion} serves now")
    if decision.period < newest_decided_period:
        reason = f"{about}: superseded by the decision of {newest_decided_period}"
        return Dispatch("drop", decision.id, reason)
    if in_flight is not None:
        return Dispatch("wait", decision.id, f"{about}: run {in_flight} is still at work")
    if canary and decision.action == "retrain":
        return Dispatch("wait", decision.id, f"{about}: first the {canary}, has to end")
    return Dispatch("start", decision.id, f"{about}: {'; '.join(decision.reasons)}")
