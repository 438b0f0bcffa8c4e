"""All that a model's `defs.yaml` may say.

Each field carries the description that users read in the component's documentation. What one
field cannot know alone (a label among the features, a slice over an undeclared column, a window
longer than its history) is checked by `problems`, which names the place in the file.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from mlops_assets.domain.contract import (
    ColumnType,
    Contract,
    ContractColumn,
    HistoryRule,
    Task,
)
from mlops_assets.domain.evidence import PolicyName
from mlops_assets.domain.governor import Limits
from mlops_assets.domain.periods import Calendar, Every
from mlops_assets.domain.rows import ColumnRule, LabelRule, RowRule, RowsContract
from mlops_assets.spec_alerts import Alerting
from mlops_assets.spec_card import Card
from mlops_assets.spec_derived import Derived
from mlops_assets.spec_history import History
from mlops_assets.spec_part import Part
from mlops_assets.spec_search import Scalar, Search, Space
from mlops_assets.spec_serving import Serving
from mlops_assets.spec_source import CsvSource, Source

LossMetric = Literal["log_loss", "brier", "mae", "rmse"]
ScoreMetric = Literal["accuracy", "precision", "recall", "f1", "roc_auc", "r2"]
Metric = LossMetric | ScoreMetric
LOWER_IS_BETTER = frozenset(("log_loss", "brier", "mae", "rmse"))
TASK_METRICS: dict[Task, frozenset[str]] = {
    "binary": frozenset(("log_loss", "brier", "accuracy", "precision", "recall", "f1", "roc_auc")),
    "multiclass": frozenset(
        ("log_loss", "brier", "accuracy", "precision", "recall", "f1", "roc_auc")
    ),
    "regression": frozenset(("mae", "rmse", "r2")),
}


class Label(Part):
    """What the model predicts, and when the truth is known."""

    column: str = Field(description="Column that holds the truth; null means that it has none.")
    above: float | None = Field(
        default=None, description="Binary tasks: the label is whether the column exceeds this."
    )
    known_at: str = Field(
        default="", description="Column with the time at which the label becomes known."
    )
    known_after: timedelta = Field(
        default=timedelta(0),
        description="Delay from the event to the known label, where no column tells it.",
    )


class Period(Part):
    """How history is cut."""

    every: Every = Field(
        default="weekly",
        description="Length of a period: hourly, daily, weekly, monthly, quarterly or yearly; "
        "weeks begin on Monday, in UTC.",
    )
    start: date = Field(description="First day of the history.")
    end: date | None = Field(
        default=None, description="Day after the last one, for a history that has ended."
    )


class Column(Part):
    """The contract of one input column."""

    type: ColumnType = Field(description="number, integer, category or boolean.")
    nullable: bool = Field(default=False, description="Whether a value may be missing.")
    min: float | None = Field(default=None, description="Least allowed value.")
    max: float | None = Field(default=None, description="Greatest allowed value.")
    categories: tuple[str, ...] = Field(
        default=(), description="Allowed values of a category; empty allows every value."
    )
    description: str = Field(default="", description="What the column means, with its unit.")


def _column_from_shorthand(value: Any) -> Any:
    """`carrier: category` and `seats: number?` are short for a full column."""
    if isinstance(value, str):
        return {"type": value.removesuffix("?"), "nullable": value.endswith("?")}
    return value


ShortColumn = Annotated[
    Column, BeforeValidator(_column_from_shorthand, json_schema_input_type=str | Column)
]


class RowCheck(Part):
    """A rule that every row must satisfy."""

    name: str = Field(description="Short name, shown as the reason in quarantine.")
    expression: str = Field(
        description="A pandas expression over the columns that is true for good rows."
    )


class Validation(Part):
    """What makes a period's rows acceptable."""

    max_rejected_share: float = Field(
        default=0.01, ge=0, le=1, description="Above this share of bad rows the period is refused."
    )
    min_rows: int = Field(default=1, ge=0, description="Fewer rows in a period fail the check.")
    checks: tuple[RowCheck, ...] = Field(default=(), description="Rules over several columns.")


class Candidate(Part):
    """An estimator and the settings to try."""

    estimator: str = Field(
        description="logistic_regression, ridge, random_forest, hist_gradient_boosting, lightgbm "
        "or xgboost, in its form for the task (the last two need `pip install "
        "'mlops_assets[boosting]'`); or the import path of a class in the manner of scikit-learn, "
        "as package.module:Class."
    )
    encoders: Literal["linear", "forest", "boosting"] | None = Field(
        default=None,
        description="What the estimator gets: linear fills missing numbers, scales them, and makes "
        "a column of each level; forest fills missing numbers and numbers the levels; boosting "
        "numbers the levels only. Default: the estimator's own; for an import path forest in "
        "sklearn.ensemble and sklearn.tree, else linear.",
    )
    params: dict[str, Scalar | None] = Field(
        default={}, description="Settings that are not searched."
    )
    grid: tuple[dict[str, Scalar | tuple[Scalar | None, ...] | None], ...] = Field(
        default=({},),
        description="Search space: one trial per combination; a value or a list per setting.",
    )
    space: dict[str, Space] = Field(
        default={},
        description="Settings that training.search varies: {type: float, low, high, log}, {type: "
        "int, low, high, log} or {type: choice, values}.",
    )


class Window(Part):
    """Which history a training uses."""

    last: int | None = Field(
        default=None, ge=1, description="Fit on the last N periods only; empty: all of them."
    )
    min: int = Field(default=4, ge=1, description="Least number of training periods.")


class Training(Part):
    """How a challenger is made."""

    window: Window = Field(default=Window(), description="Which history a training uses.")
    validation: int = Field(
        default=2, ge=1, description="Periods after the training rows that choose the candidate."
    )
    holdout: int = Field(
        default=2, ge=1, description="Newest periods, used by the gates only, never for training."
    )
    candidates: tuple[Candidate, ...] = Field(
        default=(Candidate(estimator="hist_gradient_boosting"),),
        min_length=1,
        description="Estimators that compete.",
    )
    metric: Metric | None = Field(
        default=None,
        description="What the candidates are compared by; log_loss, or mae for a regression.",
    )
    search: Search | None = Field(
        default=None, description="How candidates with a space are searched, by Optuna."
    )
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(),
        description="Regression: quantiles for which the pinball loss is reported too; a candidate "
        "predicts one with params {loss: quantile, quantile: 0.9}.",
    )
    search_rows: int = Field(
        default=20_000,
        ge=100,
        description="At most so many training rows in the search, drawn evenly; the winner is "
        "refitted on all of them.",
    )
    class_weight: Literal["balanced"] | None = Field(
        default=None,
        description="Classification: balanced fits as if every class were equally frequent, and "
        "then divides the probabilities by what that added, so that they stay those of the rows.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice.")


class Slice(Part):
    """A part of the rows that must not be sacrificed for the average."""

    column: str = Field(description="Column whose values are the slices.")
    min_rows: int = Field(default=200, ge=1, description="Smaller slices are not judged.")
    max_loss_ratio: float = Field(
        default=1.1,
        gt=0,
        description="A slice fails when its loss surely exceeds the champion's on it this often.",
    )


class Parity(Part):
    """How closely the compiled model must follow the fitted pipeline."""

    tolerance: float = Field(default=1e-5, gt=0, description="Largest difference of most rows.")
    share: float = Field(default=0.999, gt=0, le=1, description="Share of rows within tolerance.")
    max_difference: float = Field(default=0.01, gt=0, description="Largest difference of any row.")


class Gates(Part):
    """What a challenger must prove before it may serve."""

    minimum: dict[Metric, float] = Field(
        default={},
        description="Worst allowed value per metric: a floor for scores, a ceiling for losses.",
    )
    margin: float = Field(
        default=0.02,
        ge=0,
        description="Non-inferiority: how much worse than the champion, as a share of its loss, "
        "the upper end of the interval may be.",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of every interval.")
    slices: tuple[Slice, ...] = Field(default=(), description="Slices that are judged alone.")
    max_calibration_error: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Classification: largest expected calibration error (10 equal-mass bins).",
    )
    latency_ms: float = Field(
        default=50.0, gt=0, description="Largest median time of a one-row prediction."
    )
    parity: Parity = Field(default=Parity(), description="Compiled model against pipeline.")
    require_card: bool = Field(
        default=False,
        description="Whether purpose (or description), owner and limits must be filled in for the "
        "model card.",
    )
    approval: Literal["automatic", "manual"] = Field(
        default="automatic", description="Whether a person must release a passed challenger."
    )


class WatchedSlice(Part):
    """A part of the rows whose quality is reported alone."""

    column: str = Field(description="Column whose values are the slices.")
    min_rows: int = Field(
        default=200, ge=1, description="Slices with fewer labels are named, without metrics."
    )


class Monitoring(Part):
    """How the served model is watched."""

    wait: timedelta = Field(
        default=timedelta(days=1),
        description="Time after a period's end until its labels are judged.",
    )
    min_rows: int = Field(default=200, ge=1, description="Smaller periods are not judged.")
    min_label_coverage: float = Field(
        default=0.8, ge=0, le=1, description="Below this share of labels a period isn't judged."
    )
    false_alarm_rate: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="At most this share of reports raise any alarm on unchanged data: the budget "
        "of all tests of all columns of a report together.",
    )
    min_effect: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Drift smaller than this is no drift, however sure. For numbers the "
        "winsorised Wasserstein distance in standard deviations of the reference (0.1: the mean "
        "moved by a tenth of one); for levels, predicted classes, missing values, new levels, "
        "values out of range and stuck columns the Jensen-Shannon distance of the shares of rows "
        "(0.1: from none to 2%, from 1% to 5%, from 50% to 62%).",
    )
    min_harm: float = Field(
        default=0.02,
        ge=0,
        description="A rise of the loss below this share of the release's loss is no harm.",
    )
    slices: tuple[WatchedSlice, ...] = Field(
        default=(), description="Slices that are reported alone; empty: those of the gates."
    )
    restate: int = Field(
        default=4,
        ge=0,
        description="Closed periods, counted from the newest, whose report is restated when their "
        "labels come late or change.",
    )


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


class ModelSpec(Part):
    """One model: where its rows come from, what it predicts, and how it is kept good."""

    task: Task = Field(description="binary, multiclass or regression.")
    description: str = Field(default="", description="What the model is for.")
    owner: str = Field(
        default="team:ml", description="Who answers for it: an e-mail address or team:name."
    )
    source: Source = Field(description="Where rows come from.")
    entity: str = Field(description="Column that identifies a row's subject.")
    event_time: str = Field(description="Column with the time of the event, in UTC.")
    label: Label = Field(description="What is predicted, and when the truth is known.")
    weight: str = Field(
        default="",
        description="Column with how much a row counts, a number above 0, in fitting and in every "
        "metric; never an input. Empty: all rows count the same.",
    )
    period: Period = Field(description="How history is cut.")
    columns: dict[str, ShortColumn] = Field(
        min_length=1, description="The model's inputs; `name: type`, or `type?` if nullable."
    )
    validation: Validation = Field(default=Validation(), description="What rows must satisfy.")
    derived: tuple[Derived, ...] = Field(
        default=(), description="Columns computed inside the pipeline."
    )
    history: tuple[History, ...] = Field(
        default=(),
        description="Inputs that are aggregates over past rows; serving looks them up by their key "
        "where a request leaves them out.",
    )
    training: Training = Field(default=Training(), description="How a challenger is made.")
    gates: Gates = Field(default=Gates(), description="What a challenger must prove.")
    monitoring: Monitoring = Field(default=Monitoring(), description="How it is watched.")
    retraining: Retraining = Field(default=Retraining(), description="When the loop acts.")
    serving: Serving = Field(default=Serving(), description="How it is served and guarded.")
    card: Card = Field(
        default=Card(), description="What the model card and the data sheet say besides facts."
    )
    alerts: Alerting = Field(default=Alerting(), description="Who is told when something is wrong.")

    @model_validator(mode="after")
    def _read_names_as_text(self) -> Self:
        """A CSV file doesn't tell the name 007 from the number 7, but the contract does."""
        if isinstance(self.source, CsvSource):
            names = [name for name, column in self.columns.items() if column.type == "category"]
            if self.entity != self.event_time:
                names.append(self.entity)
            types = {**dict.fromkeys(names, "text"), **self.source.types}
            object.__setattr__(self, "source", self.source.model_copy(update={"types": types}))
        return self

    @property
    def primary_metric(self) -> Metric:
        """What candidates are compared by."""
        return self.training.metric or ("mae" if self.task == "regression" else "log_loss")

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Every column that is read from the source, each once."""
        names = [self.entity, self.event_time, *self.columns, self.label.column]
        names += [name for name in (self.label.known_at, self.weight) if name]
        return tuple(dict.fromkeys(names))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The model's inputs: the columns, those from the past, and parts of the event time."""
        parts = (rule.name for rule in self.derived if rule.part is not None)
        return (*self.columns, *(rule.name for rule in self.history), *parts)

    @property
    def history_rules(self) -> tuple[HistoryRule, ...]:
        """How the inputs from the past are computed."""
        return tuple(rule.rule(self.entity, self.period.every) for rule in self.history)

    @property
    def functions_digest(self) -> str:
        """The sha256 of features.py, where inputs from the past are computed with it."""
        return next((rule.digest for rule in self.history if rule.function), "")

    def derived_steps(self) -> list[dict[str, Any]]:
        """The derived columns that are steps of the pipeline."""
        return [rule.as_step() for rule in self.derived if rule.part is None]

    def content_hash(self) -> str:
        """Hex digest of everything the spec says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def rows_contract(self) -> RowsContract:
        """What incoming rows must satisfy."""
        return RowsContract(
            columns=tuple(
                ColumnRule(name, c.type, c.nullable, c.min, c.max, c.categories)
                for name, c in self.columns.items()
            ),
            keys=tuple(dict.fromkeys((self.entity, self.event_time))),
            required=tuple(dict.fromkeys((self.entity, self.event_time))),
            checks=tuple(RowRule(rule.name, rule.expression) for rule in self.validation.checks),
            label=LabelRule(
                self.label.column,
                self.task == "regression" or self.label.above is not None,
                self.label.known_at,
                self.event_time,
            ),
            weight=self.weight,
        )

    def contract(self, model: str, classes: tuple[str, ...]) -> Contract:
        """The contract of a version of this model with these class labels."""
        return Contract(
            model=model,
            task=self.task,
            columns=(
                *(
                    ContractColumn(name, column.type, column.nullable)
                    for name, column in self.columns.items()
                ),
                *(ContractColumn(rule.name, "number", True) for rule in self.history),
                *(
                    ContractColumn(rule.name, "integer", False, rule.part, rule.zone)
                    for rule in self.derived
                    if rule.part is not None
                ),
            ),
            classes=classes,
            entity=self.entity,
            event_time=self.event_time,
            max_rows=self.serving.max_rows,
            history=self.history_rules,
            store_away=self.serving.store_away,
        )


@dataclass(frozen=True)
class Model:
    """A spec with its name and the folder that it was read from."""

    name: str
    spec: ModelSpec
    folder: Path

    @property
    def calendar(self) -> Calendar:
        """The model's periods."""
        period = self.spec.period
        return Calendar(period.every, period.start, period.end)

    @property
    def label_delay(self) -> int:
        """Periods from a period's end until it is judged, to the nearest."""
        return self.calendar.nearest(self.spec.monitoring.wait)

    def matured(self, now: datetime) -> tuple[str, ...]:
        """Keys of the periods whose labels have had their time at `now`, oldest first."""
        return self.calendar.closed(now - self.spec.monitoring.wait)
