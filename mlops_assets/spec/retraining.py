"""When the loop retrains or rolls back."""

from pydantic import Field

from mlops_assets.domain.evidence import PolicyName
from mlops_assets.domain.governor import Limits
from mlops_assets.spec.part import Part


class Retraining(Part):
    """When the loop acts."""

    policy: PolicyName = Field(
        default="benefit",
        description="benefit: when a retrain costs less now than at any later date, by its price "
        "and by how fast the model ages. performance: loss test on matured labels, or drift that "
        "lasts. drift: any drift of the inputs. rule_of_thumb: what many teams start from, to "
        "compare with. schedule: every N periods.",
    )
    price: float | None = Field(
        default=None,
        gt=0,
        description="benefit: what a retrain costs, in units of loss times rows (the loss is log "
        "loss of a classification, absolute error of a regression): computing, review, risk. "
        "A retrain that lowers the loss by 0.01 on 10,000 rows a period earns 100 a period. "
        "Default: a tenth of what the first release loses in one period, 0.1 x its loss on the "
        "release's holdout x the mean rows of a period; a retrain that takes a tenth off that "
        "loss has then paid for itself after one period, one that takes off 1% after ten.",
    )
    cooldown: int | None = Field(
        default=None,
        ge=0,
        description="Periods after a release in which no retrain is started. Default: 0 for "
        "benefit, which weighs the price of each retrain itself, and 2 for the other policies.",
    )
    drift_patience: int = Field(
        default=4,
        ge=1,
        description="performance: periods in a row with drift, the newest included, that start "
        "a retrain even though the labels show no harm yet.",
    )
    enabled: bool = Field(
        default=True,
        description="Whether retrains start by themselves; `mlops pause` does the same at once.",
    )
    budget_per_month: int | None = Field(
        default=4,
        ge=1,
        description="Most automatic retrains within 30 days of the loop's clock, whatever becomes "
        "of them; null: any number. 4 hardly ever binds a weekly or monthly model, and keeps an "
        "hourly or daily one from running away.",
    )
    every: int = Field(default=8, ge=1, description="schedule: periods between retrains.")
    floor: float = Field(
        default=0.85, description="rule_of_thumb: least mean accuracy of the last 5 periods."
    )
    rollback_periods: int = Field(
        default=2,
        ge=0,
        description="Periods after a release in which proven harm rolls back instead.",
    )

    @property
    def limits(self) -> Limits:
        """What the governor allows."""
        return Limits(self.enabled, self.cooldown_periods, self.budget_per_month)

    @property
    def cooldown_periods(self) -> int:
        """The cooldown, the policy's own where none is named."""
        if self.cooldown is not None:
            return self.cooldown
        return 0 if self.policy == "benefit" else 2
