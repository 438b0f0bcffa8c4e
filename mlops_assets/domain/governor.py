"""Whether a decision starts a run now: limits that hold whatever the policy is.

A policy says what it would do about a period. The governor knows what was done before: it keeps
one alarm, however loud, from starting many retrains. Only retrains are limited; a rollback brings
back a version that is known, so it waits for nothing but a run that is at work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PeriodEvidence
from mlops_assets.domain.past_retrains import Cause, PastRetrain
from mlops_assets.domain.retraining import Decision
from mlops_assets.domain.wording import counted

MONTH = timedelta(days=30)

Rule = Literal[
    "allowed",
    "needs no run",
    "started before",
    "another version serves",
    "superseded",
    "at work",
    "canary",
    "paused",
    "cooldown",
    "already handled",
    "back-off",
    "budget",
]


@dataclass(frozen=True)
class Limits:
    """What a spec's `retraining` section allows.

    `cooldown` counts periods after a release, `budget_per_month` automatic retrains within 30 days
    of the loop's clock (None: any number). Not `enabled`: no retrain is started.
    """

    enabled: bool = True
    cooldown: int = 2
    budget_per_month: int | None = 4


@dataclass(frozen=True)
class Situation:
    """The world as it is when someone reads the decision.

    `champion` is the version that serves, `newest_period` the newest period that was decided on
    (periods sort as text), `now` the loop's clock. `in_flight` is the id of a run that is at work
    on the model, `canary` a canary that is under way, in words, `paused` who paused the model and
    why. `handled` are the ids of decisions that were started before.
    """

    champion: str
    newest_period: str
    now: datetime
    in_flight: str | None = None
    canary: str = ""
    paused: str = ""
    handled: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """start: begin a run with `run_key`. wait: ask again later. drop: done with the decision."""

    action: Literal["start", "wait", "drop"]
    rule: Rule
    run_key: str
    reason: str

    @property
    def held(self) -> bool:
        """Whether a decision that is still about the world as it is was kept from its run."""
        return self.rule in ("paused", "cooldown", "already handled", "back-off", "budget")


def govern(
    decision: Decision,
    history: Sequence[PeriodEvidence],
    past: Sequence[PastRetrain],
    limits: Limits,
    now: Situation,
) -> Verdict:
    """Start a run for a decision only if it is about the world as it is, and within the limits.

    `history` is what the decision was made from (oldest first, its own period the last), `past`
    every retrain that a decision started (oldest first). A decision that is within the limits
    but comes at a bad moment waits, and is judged again when its turn comes; one that breaks a
    limit is dropped, because the next period brings a decision of its own.
    """
    verdict = _stale(decision, now)
    if verdict is None and decision.action == "retrain":
        verdict = _limited(decision, history, past, limits, now)
    action, rule, reason = verdict or ("start", "allowed", "; ".join(decision.reasons))
    about = f"{decision.action} of version {decision.version} after {decision.period}"
    return Verdict(action, rule, decision.id, f"{about}: {reason}")


_Found = tuple[Literal["start", "wait", "drop"], Rule, str]


def _stale(decision: Decision, now: Situation) -> _Found | None:
    """What makes any decision pointless, or not its turn yet."""
    if decision.action not in ("retrain", "rollback"):
        return "drop", "needs no run", "needs no run"
    if decision.id in now.handled:
        return "drop", "started before", "was started before"
    if decision.version != now.champion:
        return "drop", "another version serves", f"version {now.champion} serves now"
    if decision.period < now.newest_period:
        return "drop", "superseded", f"superseded by the decision of {now.newest_period}"
    if now.in_flight is not None:
        return "wait", "at work", f"run {now.in_flight} is still at work"
    return None


def _limited(
    decision: Decision,
    history: Sequence[PeriodEvidence],
    past: Sequence[PastRetrain],
    limits: Limits,
    now: Situation,
) -> _Found | None:
    """What speaks against a retrain now."""
    if not history or history[-1].period != decision.period:
        raise DataError(
            f"{decision.model}: the decision after {decision.period} was made from reports that "
            "are not there any more; close the period again"
        )
    if not limits.enabled:
        return "wait", "paused", "retraining.enabled is false in defs.yaml"
    if now.paused:
        return "wait", "paused", now.paused
    if now.canary:
        # The version on its way may be the answer to the decision.
        return "wait", "canary", f"first the {now.canary}, has to end"
    served = history[-1].periods_since_release
    if served <= limits.cooldown:
        reason = f"cooldown, period {served} of {limits.cooldown} after the release"
        return "drop", "cooldown", reason
    return _tried_before(decision, history, past) or _beyond_budget(past, limits, now)


def _tried_before(
    decision: Decision, history: Sequence[PeriodEvidence], past: Sequence[PastRetrain]
) -> _Found | None:
    """Whether the same evidence led to a retrain before, and what came of it.

    A challenger that waits for a person is the answer already. After the k-th one in a row that
    failed, 2^(k-1) periods are sat out: harm goes on costing, and more rows may make the
    difference, but less and less likely. A success, or evidence of something else, begins anew.
    """
    cause = Cause.of(history[-1])
    failures = []
    for retrain in reversed(past):
        if retrain.outcome in ("at work", "void"):
            # Nothing was learned from it.
            continue
        if not retrain.cause.covers(cause) or retrain.outcome == "serves":
            break
        if retrain.outcome == "waits":
            told = f"the retrain after {retrain.period} made version {retrain.challenger}"
            reason = f"{told} for the same evidence ({cause.text}), which waits to be released"
            return "drop", "already handled", reason
        failures.append(retrain)
    if not failures:
        return None
    rest = 2 ** (len(failures) - 1)
    since = sum(failures[0].period < evidence.period for evidence in history) - 1
    if since >= rest:
        return None
    last = failures[0]
    return (
        "drop",
        "back-off",
        f"{counted(len(failures), 'retrain')} in a row for the same evidence ({cause.text}) "
        f"brought nothing (the last, after {last.period}: version {last.challenger} "
        f"{_FATE[last.outcome]}); {since} of {rest} periods sat out",
    )


_FATE = {"refused": "failed its gates", "taken back": "was taken back"}


def _beyond_budget(past: Sequence[PastRetrain], limits: Limits, now: Situation) -> _Found | None:
    budget = limits.budget_per_month
    if budget is None:
        return None
    spent = [one for one in past if now.now - MONTH < one.at <= now.now]
    if len(spent) < budget:
        return None
    free = min(one.at for one in spent[-budget:]) + MONTH
    return (
        "drop",
        "budget",
        f"budget spent, {len(spent)} of {budget} retrains in 30 days; the next one from "
        f"{free:%Y-%m-%d %H:%M}",
    )
