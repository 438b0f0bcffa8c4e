"""Past events of a model's keys, as the lake's valid rows have them.

What training sees of the past and what is published for serving are made of the same events, in
the same order, by the same function (`domain.entity_history`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from mlops_assets.domain.contract import HistoryRule
from mlops_assets.domain.entity_history import NEVER, Events, aggregate
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.labels import KNOWN_AT
from mlops_assets.spec import Model
from mlops_assets.stores.history_functions import load_function
from mlops_assets.stores.identified import identified
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.tables import to_frame

TIME = "time"
ENTITY = "entity"
KNOWN = "known"


@dataclass(frozen=True)
class KeyedEvents:
    """Events of one kind of key; the place of a key's text in `keys` is its code."""

    keys: pd.Index
    events: Events


def reach(model: Model) -> timedelta:
    """How far back the longest window looks."""
    return max(rule.window for rule in model.spec.history)


@dataclass
class Past:
    """The past of a model's rows. A period is read once, and kept while windows reach it.

    `version` is that of the table of valid rows, by default the newest at each reading.
    """

    model: Model
    lake: Lake
    version: int | None = None
    _read: dict[str, pd.DataFrame] = field(default_factory=dict)

    def of_periods(self, rows: pd.DataFrame, places: Mapping[str, slice]) -> dict[str, np.ndarray]:
        """As `inputs`, for the rows of several periods, each of which lies in its place."""
        if not self.model.spec.history:
            return {}
        parts = [self.inputs(period, rows.iloc[place]) for period, place in places.items()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def inputs(self, period: str, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """The inputs from the past of a period's valid rows, float64 of shape (n,), by name.

        Raises PastFunctionError where a function of the model's is not there, or fails.
        """
        if not self.model.spec.history:
            return {}
        bounds = self.model.calendar.bounds(period)
        self._read[period] = _small(self.model, rows)
        # Rows of the period itself are past to later ones, where rules say `until: event`.
        events = self.between(bounds.start - reach(self.model), bounds.end)
        times = microseconds(rows[self.model.spec.event_time])
        start = int(bounds.start.timestamp() * 1_000_000)
        found = {}
        for rule in self.model.spec.history_rules:
            known = events[rule.key]
            codes = known.keys.get_indexer(pd.Index(texts(self.model, rows, rule.key)))
            cutoffs = times if rule.until == "event" else np.full(len(rows), start)
            function = load_function(self.model.folder, rule) if rule.function else None
            found[rule.name] = aggregate(known.events, rule, codes, cutoffs, times, function)
        return found

    def between(self, start: datetime, end: datetime) -> Mapping[str, KeyedEvents]:
        """Events of [start, end) by kind of key, of periods that hold valid rows."""
        wanted = self.model.calendar.covering(start, end)
        self._read = {
            period: self._read[period] if period in self._read else self._period(period)
            for period in wanted
        }
        rows = pd.concat([self._empty(), *self._read.values()], ignore_index=True)
        times = rows[TIME].to_numpy(dtype=np.int64)
        low, high = (int(moment.timestamp() * 1_000_000) for moment in (start, end))
        rows = rows[(times >= low) & (times < high)]
        # Rows of the same time have the order of their entities, whoever reads them.
        rows = rows.sort_values([TIME, ENTITY], kind="stable", ignore_index=True)
        return {
            key: _keyed(rows, key, rules, self.model.spec.label.column)
            for key, rules in _by_key(self.model.spec.history_rules).items()
        }

    def _period(self, period: str) -> pd.DataFrame:
        names = _columns_read(self.model)
        table = self.lake.read(
            self.model.name,
            "validated_data",
            periods=[period],
            version=self.version,
            columns=names,
        )
        return _small(self.model, to_frame(table))

    def _empty(self) -> pd.DataFrame:
        """No rows, with the types that rows have."""
        model = self.model
        found: dict[str, pd.Series] = {TIME: pd.Series(dtype=np.int64)}
        found |= {name: pd.Series(dtype=object) for name in (ENTITY, *map(_key, _keys(model)))}
        found |= {_value(name): pd.Series(dtype=np.float64) for name in _values(model)}
        return pd.DataFrame({**found, KNOWN: pd.Series(dtype=np.int64)})


def texts(model: Model, rows: pd.DataFrame, key: str) -> pd.Series:
    """The keys of rows as text, as requests have them; None where there is none."""
    if key == model.spec.entity:
        return rows[key].astype(str)
    return rows[key].map(str, na_action="ignore").astype(object)


def microseconds(times: pd.Series) -> np.ndarray:
    """Times in UTC as int64 microseconds since 1970, NEVER where there is none."""
    plain = pd.to_datetime(times, utc=True).dt.tz_localize(None)
    found = plain.to_numpy(dtype="datetime64[us]").astype(np.int64)
    return np.where(plain.isna().to_numpy(), NEVER, found)


def _small(model: Model, rows: pd.DataFrame) -> pd.DataFrame:
    """Time, entity, keys and values of rows, and when the label was known."""
    found: dict[str, object] = {
        TIME: microseconds(rows[model.spec.event_time]),
        ENTITY: rows[model.spec.entity].astype(str),
    }
    for key in _keys(model):
        found[_key(key)] = texts(model, rows, key)
    for name in _values(model):
        found[_value(name)] = _numbers(rows[name])
    is_of_label = model.spec.label.column in _values(model)
    known = microseconds(identified(model, rows)[KNOWN_AT]) if is_of_label else found[TIME]
    return pd.DataFrame({**found, KNOWN: known})


def _numbers(values: pd.Series) -> np.ndarray:
    try:
        return pd.to_numeric(values).astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"column {str(values.name)!r} holds {values.dtype}, which history cannot aggregate "
            f"({error}): name a column of numbers."
        ) from error


def _keyed(rows: pd.DataFrame, key: str, rules: Sequence[HistoryRule], label: str) -> KeyedEvents:
    codes, keys = pd.factorize(rows[_key(key)])
    there = codes >= 0
    names = {name for rule in rules for name in rule.reads}
    values = {name: rows[_value(name)].to_numpy(dtype=np.float64)[there] for name in names}
    known = {label: rows[KNOWN].to_numpy(dtype=np.int64)[there]} if label in names else {}
    times = rows[TIME].to_numpy(dtype=np.int64)[there]
    return KeyedEvents(pd.Index(keys), Events.of(codes[there], times, values, known))


def _by_key(rules: Iterable[HistoryRule]) -> dict[str, list[HistoryRule]]:
    found: dict[str, list[HistoryRule]] = {}
    for rule in rules:
        found.setdefault(rule.key, []).append(rule)
    return found


def _key(name: str) -> str:
    """Where keys are: columns may have any name."""
    return f"key {name}"


def _value(name: str) -> str:
    return f"value {name}"


def _keys(model: Model) -> list[str]:
    return list(_by_key(model.spec.history_rules))


def _values(model: Model) -> list[str]:
    return sorted({name for rule in model.spec.history_rules for name in rule.reads})


def _columns_read(model: Model) -> list[str]:
    spec = model.spec
    names = [spec.entity, spec.event_time, *_keys(model), *_values(model)]
    if spec.label.column in names:
        names += [name for name in (spec.label.known_at,) if name]
    return list(dict.fromkeys(names))
