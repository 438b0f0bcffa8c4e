"""Inputs from the past for rows in bulk that do not bring them.

They are computed from the lake's valid rows as for training: each row sees what was there and
known before its period (or its own time) began. Rows after the newest period in the lake are
answered as of its end, as the endpoint does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.domain.batch_rows import Problem, require_times, text_of
from mlops_assets.domain.contract import Contract, HistoryRule
from mlops_assets.domain.entity_history import NEVER, aggregate, period_starts
from mlops_assets.domain.errors import DataError
from mlops_assets.spec import Model
from mlops_assets.spec.history import History
from mlops_assets.stores.batch_input import Part
from mlops_assets.stores.entity_events import KeyedEvents, Past, reach
from mlops_assets.stores.history_functions import load_function
from mlops_assets.stores.lake import Lake

TABLE = "validated_data"
Complete = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, Sequence[Problem]]]


@dataclass(frozen=True)
class BatchPast:
    """One state of a model's past: everything a worker needs to look rows up, picklable.

    `version` is the table's; its newest period ends at `until`, in microseconds since 1970.
    """

    model: Model
    lake_root: str
    version: int
    until: int

    @classmethod
    def newest(cls, model: Model, lake_root: str) -> "BatchPast | None":
        """The past as it is now; None where the lake has no valid rows."""
        lake = Lake(lake_root)
        periods = lake.periods(model.name, TABLE)
        if not periods:
            return None
        until = _microseconds(model.calendar.bounds(periods[-1]).end)
        return cls(model, lake_root, lake.version(model.name, TABLE), until)


class LookUps:
    """Completes an input's batches, part after part. What it returns may run on any thread."""

    def __init__(self, past: BatchPast | None, contract: Contract, schema: pa.Schema) -> None:
        self.rules = tuple(rule for rule in contract.history if rule.name not in schema.names)
        self._contract, self._input = contract, schema
        self.schema = schema
        if not self.rules:
            return
        if past is None:
            raise DataError(
                f"the rows have no {', '.join(self.names)}, and there is no past of "
                f"{contract.model} to look them up in: it takes the model's folder in "
                "MLOPS_MODELS_DIR and its validated_data in the lake."
            )
        self._check(schema)
        for name in self.names:
            self.schema = self.schema.append(pa.field(name, pa.float64()))
        # As the version knows them, whatever the spec says by now.
        history = tuple(History.of(rule) for rule in self.rules)
        spec = past.model.spec.model_copy(update={"history": history})
        self._until = past.until
        self._model = replace(past.model, spec=spec)
        self._past = Past(self._model, Lake(past.lake_root), past.version)
        self._functions = {
            rule.name: load_function(past.model.folder, rule) if rule.function else None
            for rule in self.rules
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that are looked up."""
        return tuple(rule.name for rule in self.rules)

    def of_part(self, part: Part) -> Complete:
        """What completes the batches of a part, with the reasons of rows that it cannot."""
        if not self.rules:
            return lambda batch: (batch, ())
        contract = self._contract
        found = [
            _times(batch.column(0)) for batch in part.batches(self._input, [contract.event_time])
        ]
        times = np.minimum(np.concatenate(found), self._until)
        start = int(period_starts(self.rules[0].every, times.min(keepdims=True))[0])
        events = self._past.between(_moment(start) - reach(self._model), _moment(times.max()))
        return lambda batch: self._completed(batch, events)

    def _completed(
        self, batch: pa.RecordBatch, events: Mapping[str, KeyedEvents]
    ) -> tuple[pa.RecordBatch, list[Problem]]:
        contract = self._contract
        times = _times(batch.column(contract.event_time))
        early = times < _microseconds(self._model.calendar.first)
        problems = [(contract.event_time, "before the history of the model begins", early)]
        if not contract.computed:
            missing = times == NEVER
            problems.append((contract.event_time, "missing, but inputs come from it", missing))
        starts = period_starts(self.rules[0].every, np.minimum(times, self._until))
        codes: dict[str, np.ndarray] = {}
        columns = []
        for rule in self.rules:
            known = events[rule.key]
            if rule.key not in codes:
                codes[rule.key] = _codes(batch.column(rule.key), known)
            cutoffs = np.minimum(times, self._until) if rule.until == "event" else starts
            function = self._functions[rule.name]
            found = aggregate(known.events, rule, codes[rule.key], cutoffs, times, function)
            columns.append(pa.array(found))
        if contract.entity in codes:
            nobody = pc.is_null(batch.column(contract.entity)).to_numpy(zero_copy_only=False)
            problems.append((contract.entity, "missing, but inputs are looked up by it", nobody))
        names = [*batch.schema.names, *self.names]
        return pa.RecordBatch.from_arrays([*batch.columns, *columns], names=names), problems

    def _check(self, schema: pa.Schema) -> None:
        """Raise DataError where rows do not say when and about whom they are."""
        looked_up = ", ".join(self.names)
        purpose = f"as of which {looked_up} could be looked up: add them, or these inputs."
        require_times(schema, self._contract, purpose)
        for key in dict.fromkeys(rule.key for rule in self.rules):
            if key not in schema.names:
                raise DataError(
                    f"the rows have no column {key!r}, by which {_by(self.rules, key)} could be "
                    "looked up: add it, or these inputs."
                )


def _by(rules: Sequence[HistoryRule], key: str) -> str:
    return ", ".join(rule.name for rule in rules if rule.key == key)


def _times(column: pa.Array) -> np.ndarray:
    """Times as int64 microseconds since 1970 in UTC, NEVER where there is none."""
    moments = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    found: np.ndarray = moments.fill_null(NEVER).to_numpy(zero_copy_only=False)
    return found


def _codes(column: pa.Array, known: KeyedEvents) -> np.ndarray:
    """Each row's place among the keys that have events; -1 for all others."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    texts = [None if value is None else text_of(value) for value in column.dictionary.to_pylist()]
    places = np.append(known.keys.get_indexer(pd.Index(texts, dtype=object)), -1)
    indices = column.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return np.asarray(places[indices], dtype=np.int64)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(microseconds))
