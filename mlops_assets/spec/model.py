"""A whole spec: the sections of a `defs.yaml`, and what the other layers ask of them."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from mlops_assets.domain.contract import Contract, ContractColumn, HistoryRule, Task
from mlops_assets.domain.periods import Calendar
from mlops_assets.domain.rows import ColumnRule, LabelRule, RowRule, RowsContract
from mlops_assets.spec.alerts import Alerting
from mlops_assets.spec.card import Card
from mlops_assets.spec.derived import Derived
from mlops_assets.spec.gates import Gates
from mlops_assets.spec.history import History
from mlops_assets.spec.metrics import Metric
from mlops_assets.spec.monitoring import Monitoring
from mlops_assets.spec.part import Part
from mlops_assets.spec.retraining import Retraining
from mlops_assets.spec.rows import Label, Period, ShortColumn, Validation
from mlops_assets.spec.serving import Serving
from mlops_assets.spec.source import CsvSource, Source
from mlops_assets.spec.training import Training


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
            log_away=self.serving.log_away,
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
