"""The policies that `retraining.policy` names: each turns a history into an action and a reason.

`benefit`, the default, retrains when that costs less than any later date would (domain.staleness,
domain.lookahead). It follows the idea that retraining is to be judged by its cost and not by
drift (Mahadevan and Mathioudakis, Cost-aware retraining, arXiv 2310.04216; Regol et al., When to
retrain a machine learning model, arXiv 2505.14903). The others are there to compare with, or for
those who want something simpler.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_assets.domain.evidence import PeriodEvidence, PolicyName, RetrainPolicy
from mlops_assets.domain.lookahead import Plan
from mlops_assets.domain.wording import counted

Action = Literal["nothing", "alert", "retrain", "rollback"]

_ACCURACY_DROP = 0.05
_ALERTS_OF_LAST = (3, 5)


@dataclass(frozen=True)
class Advice:
    """What a policy would do, and why.

    `window` is that of a retrain (None: all periods). `version` is the one that it is about, if
    that is not the one that served the newest period.
    """

    action: Action
    reason: str
    window: int | None = None
    version: str = ""


Policy = Callable[[Sequence[PeriodEvidence], RetrainPolicy], Advice]


def benefit(history: Sequence[PeriodEvidence], policy: RetrainPolicy) -> Advice:
    """Retrain when that pays; tell of harm and of drift that a retrain is not worth.

    Without a sign that something changed, proven harm or scouts that surely age, a retrain has to
    pay several times its price. Until there is enough history to weigh, proven harm alone leads
    to a retrain.
    """
    newest = history[-1]
    back = _rollback(newest, policy)
    if back:
        return back
    worth = newest.plan
    if worth is None:
        return _unweighed(newest, policy)
    told = worth_text(worth)
    if worth.pays and newest.performance_judged:
        why = f"{newest.harm_text}; " if newest.proven_harm else ""
        window = policy.window or worth.outlook.window
        return Advice("retrain", why + told, window, worth.outlook.version)
    if newest.proven_harm:
        return Advice("alert", f"{newest.harm_text}; {told}")
    if newest.drifted and newest.performance_judged:
        return Advice("alert", f"{newest.drift_text}, harmless so far: {newest.loss_text}; {told}")
    if newest.drifted:
        return Advice("alert", f"{newest.drift_text}, and too few labels tell yet if it does harm")
    if not newest.performance_judged:
        return _quiet(newest)
    return Advice("nothing", f"no harm: {newest.loss_text}; {told}")


def _unweighed(newest: PeriodEvidence, policy: RetrainPolicy) -> Advice:
    """As long as there is too little history to weigh: act on proven harm, tell of drift."""
    if newest.proven_harm:
        return _on_harm(newest, policy)
    if newest.drifted:
        return Advice("alert", f"{newest.drift_text}; too little history to weigh a retrain")
    return _quiet(newest)


def performance(history: Sequence[PeriodEvidence], policy: RetrainPolicy) -> Advice:
    """Act on proven harm, or on drift that lasts; only if the newest period itself flags."""
    newest = history[-1]
    if newest.proven_harm:
        return _on_harm(newest, policy)
    if newest.drifted and newest.performance_judged:
        return _on_harmless_drift(history, policy)
    if newest.drifted:
        reason = f"{newest.drift_text}, and too few labels tell yet whether it does harm"
        return Advice("alert", reason)
    return _quiet(newest)


def drift(history: Sequence[PeriodEvidence], policy: RetrainPolicy) -> Advice:
    """Retrain on any drift, as tools that watch inputs only suggest (Lipton et al. 2018)."""
    newest = history[-1]
    if not newest.drifted:
        return _quiet(newest)
    if newest.periods_since_release <= policy.cooldown:
        waits = _cooldown_text(newest, policy)
        return Advice("alert", f"{newest.drift_text}; no retrain yet: {waits}")
    return Advice("retrain", newest.drift_text, policy.window)


def rule_of_thumb(history: Sequence[PeriodEvidence], policy: RetrainPolicy) -> Advice:
    """The common rule of thumb, for comparison: it has neither cooldown nor a sense of noise.

    Accuracy more than 5 points below the previous period's, or a mean accuracy of the last 5
    below the floor, or 3 drift alerts in the last 5. In a replay of eight real data sets it
    retrained in 72% of the periods in which nothing had changed.
    """
    newest, recent = history[-1], history[-_ALERTS_OF_LAST[1] :]
    reasons = []
    before = history[-2].accuracy if len(history) > 1 else None
    if newest.accuracy is not None and before is not None:
        drop = round(before - newest.accuracy, 9)
        if drop > _ACCURACY_DROP:
            reasons.append(f"accuracy fell by {drop:.3f} (limit {_ACCURACY_DROP}) in one period")
    accuracies = [e.accuracy for e in recent if e.accuracy is not None]
    if accuracies and (mean := round(sum(accuracies) / len(accuracies), 9)) < policy.floor:
        reasons.append(
            f"mean accuracy {mean:.3f} of the last {len(accuracies)} periods is below "
            f"{policy.floor:g}"
        )
    alerts = sum(evidence.drifted for evidence in recent)
    if alerts >= _ALERTS_OF_LAST[0]:
        reasons.append(f"{alerts} drift alerts in {len(recent)} periods (limit 3 in 5)")
    if reasons:
        return Advice("retrain", "rule of thumb: " + "; ".join(reasons), policy.window)
    told = f"rule of thumb: accuracy holds, {alerts} drift alerts (limit 3 in 5)"
    return Advice("nothing", told)


def schedule(history: Sequence[PeriodEvidence], policy: RetrainPolicy) -> Advice:
    """Retrain every N periods, whatever happens."""
    served = history[-1].periods_since_release
    reason = f"{counted(served)} since the release, a retrain every {policy.every}"
    if served >= policy.every:
        return Advice("retrain", reason, policy.window)
    return Advice("nothing", reason)


POLICIES: Mapping[PolicyName, Policy] = {
    "benefit": benefit,
    "performance": performance,
    "drift": drift,
    "rule_of_thumb": rule_of_thumb,
    "schedule": schedule,
}


def _quiet(newest: PeriodEvidence) -> Advice:
    """Nothing flagged, or nothing could."""
    if newest.performance_judged:
        drifts = "no drift" if newest.drift_judged else "too few rows to judge drift"
        return Advice("nothing", f"no harm: {newest.loss_text}; {drifts}")
    if newest.drift_judged:
        return Advice("nothing", "no drift; too few labels to judge the loss")
    return Advice("nothing", "too little evidence: too few rows and too few labels to judge")


def _rollback(newest: PeriodEvidence, policy: RetrainPolicy) -> Advice | None:
    served = newest.periods_since_release
    if not newest.proven_harm or not newest.previous_is_better or served > policy.rollback_periods:
        return None
    return Advice(
        "rollback",
        f"{newest.harm_text}; the previous version is surely better on the same rows, and "
        f"this is period {served} of {policy.rollback_periods} after the release in which that "
        "rolls back",
    )


def _on_harm(newest: PeriodEvidence, policy: RetrainPolicy) -> Advice:
    back = _rollback(newest, policy)
    if back:
        return back
    harm, served = newest.harm_text, newest.periods_since_release
    if served <= policy.cooldown:
        return Advice("alert", f"{harm}; no retrain yet: {_cooldown_text(newest, policy)}")
    reason = f"{harm}; {counted(served)} since the release (cooldown {policy.cooldown})"
    return Advice("retrain", reason, policy.window)


def _on_harmless_drift(history: Sequence[PeriodEvidence], policy: RetrainPolicy) -> Advice:
    newest = history[-1]
    lasted = 0
    for evidence in reversed(history):
        if evidence.version == newest.version and evidence.drift_judged:
            if not evidence.drift_alert:
                break
            lasted += 1
    told = (
        f"{newest.drift_text}, harmless so far: {newest.loss_text}; "
        f"drift {min(lasted, policy.drift_patience)} of {policy.drift_patience} periods in a row"
    )
    if lasted < policy.drift_patience:
        return Advice("nothing", told)
    if newest.periods_since_release <= policy.cooldown:
        return Advice("alert", f"{told}; no retrain yet: {_cooldown_text(newest, policy)}")
    return Advice("retrain", f"{told}: it lasts", policy.window)


def _cooldown_text(newest: PeriodEvidence, policy: RetrainPolicy) -> str:
    return f"cooldown, {newest.periods_since_release} of {policy.cooldown} periods"


def worth_text(worth: Plan) -> str:
    """The plan in words a person can check: what a retrain brings, what it costs, until when."""
    outlook = worth.outlook
    brings = f"a model trained now would lose {outlook.benefit:.4g} less per row"
    rows = "all periods" if outlook.window is None else f"the last {counted(outlook.window)}"
    costs = f"a retrain costs {worth.price:.4g}"
    if worth.demanded > worth.price:
        costs += f" and, as models do not surely age here, has to pay for {worth.demanded:.4g}"
    if worth.pays:
        saves = f"{worth.saving:.4g} against waiting, over {counted(worth.horizon)}"
        return (
            f"retraining pays: {brings}, trained on {rows}; {costs}; with that paid it still "
            f"saves {saves}"
        )
    later = "no date pays" if worth.wait is None else f"expected to pay in {counted(worth.wait)}"
    return f"retraining does not pay yet: {brings}; {costs}; {later}"
