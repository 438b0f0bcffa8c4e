"""What is known of a version: the facts of its model card and its data sheet.

`Notes` is what people wrote, `VersionFacts` what the training found out and never changes, and
`Since` what happened afterwards. `domain.model_card` and `domain.data_sheet` make pages of them.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from mlops_assets.domain.class_quality import ClassQuality
from mlops_assets.domain.contract import Task
from mlops_assets.domain.evaluation import Interval
from mlops_assets.domain.importance import Importance
from mlops_assets.domain.intervals import SliceQuality
from mlops_assets.domain.quantile_quality import QuantileQuality


@dataclass(frozen=True)
class Notes:
    """What people wrote about the model and its data in defs.yaml; empty where they did not."""

    about: str = ""
    purpose: str = ""
    owner: str = ""
    users: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    origin: str = ""
    licence: str = ""
    personal: str = ""
    gaps: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """What a card has to say and this one does not, by its place in defs.yaml."""
        limits = "".join(self.limits)
        places = {"card.purpose": self.purpose, "owner": self.owner, "card.limits": limits}
        return tuple(place for place, value in places.items() if not value.strip())


@dataclass(frozen=True)
class Part:
    """The rows of one part of the split, from day to day; `label` sums up their labels."""

    name: Literal["training", "validation", "holdout"]
    first: str
    last: str
    periods: int
    rows: int
    label: str


@dataclass(frozen=True)
class ColumnFacts:
    """An input: what the contract says of it, and what its values in the training rows are."""

    name: str
    type: str
    description: str
    allowed: str
    missing: float
    values: str


@dataclass(frozen=True)
class Verdict:
    """What a gate said."""

    gate: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Rejections:
    """Rows of the used periods that broke the contract, and how many of them for which reason."""

    rows: int
    rejected: int
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionFacts:
    """All that the training of a version found out.

    `metrics` and `slices` are those of the holdout with intervals of 95%; `guess` holds the same
    metrics of a constant guess made from the training rows. `calibration` is the expected
    calibration error of a classification, or the mean error of a regression; `told` and `happened`
    are the mean probability and how often it came true, or the mean prediction and the mean label.
    `unseen` holds levels of the holdout that the version was not fitted on, with their share of
    its rows. `classes` is the holdout's quality class by class, `quantiles` that of a regression
    with quantiles. It was fitted on the rows from `fitted_from` until `fitted_until`; the holdout
    ends at `known_until`. Times are ISO 8601.
    """

    model: str
    version: str
    task: Task
    target: str
    target_known: str
    notes: Notes
    made_at: str
    fitted_from: str
    fitted_until: str
    known_until: str
    estimator: str
    params: dict[str, str]
    inputs: dict[str, str]
    parts: tuple[Part, ...]
    primary_metric: str
    metrics: dict[str, Interval]
    guess: dict[str, float]
    slices: tuple[SliceQuality, ...]
    slices_declared: bool
    calibration: float
    calibration_limit: float | None
    told: float
    happened: float
    importances: tuple[Importance, ...]
    gates: tuple[Verdict, ...]
    label_coverage: float
    judged_against: str
    runtime: str
    warning: str
    columns: tuple[ColumnFacts, ...]
    unseen: dict[str, float]
    derived: tuple[str, ...]
    source: str
    cadence: str
    checks: tuple[str, ...]
    rejections: Rejections
    provenance: dict[str, str]
    classes: tuple[ClassQuality, ...] = ()
    quantiles: tuple[QuantileQuality, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def loss_name(self) -> str:
        """The metric that row losses are the mean of."""
        return "mae" if self.task == "regression" else "log_loss"

    @property
    def days(self) -> int:
        """How long a time the rows span that the version was fitted on."""
        first, last = self.fitted_from[:10], self.fitted_until[:10]
        return (date.fromisoformat(last) - date.fromisoformat(first)).days

    def part(self, name: str) -> Part:
        """One part of the split."""
        return next(part for part in self.parts if part.name == name)


@dataclass(frozen=True)
class Move:
    """A release or rollback to the version, or away from it."""

    kind: str
    from_version: str
    to_version: str
    at: str
    actor: str
    reason: str


@dataclass(frozen=True)
class ServedPeriod:
    """What the reports say of a period that the version served; None where there is no report."""

    period: str
    predictions: int | None = None
    labelled: int | None = None
    loss: float | None = None
    reference_loss: float | None = None
    verdict: str = ""
    harmed: bool = False
    drifted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Since:
    """What happened to the version after its training, oldest first."""

    moves: tuple[Move, ...] = ()
    periods: tuple[ServedPeriod, ...] = ()
    incidents: tuple[str, ...] = ()

    @property
    def newest(self) -> str:
        """The newest period with a report."""
        return self.periods[-1].period if self.periods else ""
