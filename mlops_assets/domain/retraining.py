"""What to do after a period: nothing, tell someone, retrain, or roll back, and why."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PeriodEvidence, RetrainPolicy
from mlops_assets.domain.policies import POLICIES, Action


@dataclass(frozen=True)
class Decision:
    """What to do about a version after a period. The same facts give the same id.

    `window` is the number of newest training periods of a retrain, None for all.
    """

    id: str
    model: str
    period: str
    version: str
    action: Action
    window: int | None
    reasons: tuple[str, ...]


def decide(model: str, history: Sequence[PeriodEvidence], policy: RetrainPolicy) -> Decision:
    """Decide after the newest of `history`'s periods (oldest first, of any versions).

    Raises DataError for an empty history.
    """
    if not history:
        raise DataError(f"{model}: there is no period to decide on; report one first")
    advice = POLICIES[policy.name](history, policy)
    newest = history[-1]
    version = advice.version or newest.version
    key = "\n".join((model, newest.period, version, advice.action))
    return Decision(
        id=hashlib.sha256(key.encode()).hexdigest()[:12],
        model=model,
        period=newest.period,
        version=version,
        action=advice.action,
        window=advice.window,
        reasons=(advice.reason,),
    )
