"""What is known about a period when a policy decides, and the numbers a user gives the policy."""

from dataclasses import dataclass
from typing import Literal

from mlops_assets.domain.lookahead import Plan
from mlops_assets.domain.wording import counted

PolicyName = Literal["benefit", "performance", "drift", "rule_of_thumb", "schedule"]


@dataclass(frozen=True)
class PeriodEvidence:
    """What the reports of one period, served by one version, said.

    `periods_since_release` counts the periods the version has served, this one included: 1 is
    the first after the release. `drift_flagged` names the drifted columns. `accuracy`, `loss`
    and `reference_loss` are None where there is none, `previous_is_better` says that the version
    before this one surely had the lower loss on the period's rows. `harmed` is harm that this
    period alone proves, in all rows together or in a part of them alone, cut by the column
    `harmed_part`; `decay_periods` counts the periods of a slower rise that they prove together
    (0: there is none). `plan` is what a retrain was worth after this period (domain.lookahead),
    None where that could not be estimated.
    """

    period: str
    version: str
    drift_judged: bool
    drift_flagged: tuple[str, ...]
    drift_alert: bool
    performance_judged: bool
    harmed: bool
    loss: float | None
    reference_loss: float | None
    accuracy: float | None
    previous_is_better: bool
    periods_since_release: int
    decay_periods: int = 0
    harmed_part: str = ""
    plan: Plan | None = None

    @property
    def drifted(self) -> bool:
        """Drift that enough rows stand for."""
        return self.drift_judged and self.drift_alert

    @property
    def proven_harm(self) -> bool:
        """Harm that enough labels stand for, in this period or over several."""
        return self.performance_judged and (self.harmed or self.decay_periods > 0)

    @property
    def harm_text(self) -> str:
        """Which harm is proven, in words."""
        if self.harmed or not self.decay_periods:
            # The column and no level of it: reasons travel into alerts, which show no one's values.
            where = f" in a segment of {self.harmed_part}" if self.harmed_part else ""
            return f"harm{where}: {self.loss_text}"
        return f"slow decay, risen over {counted(self.decay_periods)}: {self.loss_text}"

    @property
    def loss_text(self) -> str:
        """The loss beside the one of the release, in words."""
        if self.loss is None or self.reference_loss is None:
            return "loss unknown"
        return f"loss {self.loss:.4f}, at the release {self.reference_loss:.4f}"

    @property
    def drift_text(self) -> str:
        """What drifted, in words."""
        return "drift in " + (", ".join(self.drift_flagged) or "unnamed columns")


@dataclass(frozen=True)
class RetrainPolicy:
    """When to act; the fields are those of a spec's `retraining` section.

    `window` is the number of newest periods to train on, None for all; `benefit` chooses its own
    where that is None.
    """

    name: PolicyName
    cooldown: int
    drift_patience: int
    every: int
    floor: float
    rollback_periods: int
    window: int | None
