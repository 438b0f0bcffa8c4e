"""What the governor said of a period's decision, kept for those who ask later."""

from dataclasses import dataclass

from mlops_assets.domain.governor import Verdict
from mlops_assets.domain.retraining import Decision
from mlops_assets.stores import monitoring
from mlops_assets.stores.lake import Lake

TABLE = "verdicts"


@dataclass(frozen=True)
class KeptVerdict:
    """The last verdict on a decision; `started` says whether a run was asked for."""

    period: str
    decision: str
    started: bool
    held: bool
    final: bool
    rule: str
    reason: str


def keep(lake: Lake, decision: Decision, verdict: Verdict) -> bool:
    """Keep the verdict; returns whether it is another one than before."""
    content = {
        "decision": decision.id,
        "started": verdict.action == "start" or verdict.rule == "started before",
        "held": verdict.held,
        "final": verdict.action != "wait",
        "rule": verdict.rule,
        "reason": verdict.reason,
    }
    # The decision was acted on: what is said of it later is not news.
    before = of(lake, decision.model).get(decision.period)
    if before and before.decision == decision.id and before.started:
        return False
    return monitoring.keep(lake, decision.model, TABLE, decision.period, content).changed


def of(lake: Lake, model: str) -> dict[str, KeptVerdict]:
    """The verdicts on a model's decisions by period, oldest first."""
    found = monitoring.kept(lake, model, TABLE)
    return {period: KeptVerdict(period, **content) for period, content in found.items()}
