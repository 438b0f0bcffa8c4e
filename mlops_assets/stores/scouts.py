"""The sums that scouts are made of, one row per period, kept in the lake.

A period's rows are read once: when it is closed, or when it is first asked for. Its sums are kept
under a digest of the rules by which rows become columns, of the period's content and of the time
until which labels count; they are made again only when one of these changes. The rules are fitted
on the oldest periods, as many as a first training needs, and kept.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from mlops_assets.domain.labels import KNOWN_AT, LABEL, classes_of
from mlops_assets.domain.row_sample import Keys, RowSample
from mlops_assets.domain.scout_rows import ScoutRows, fit_scout_rows
from mlops_assets.domain.scouts import Moments
from mlops_assets.spec import Model
from mlops_assets.stores.lake import PERIOD, Held, Lake
from mlops_assets.stores.period_batches import categories, hashed_keys, numbers

FEATURES = "features"
SUMS = "scout_sums"
RULES = "scout_rules"
# What a period's sums are made of at most, and how many of the newest periods are looked at.
MOST_ROWS = 5_000
MOST_PERIODS = 160


@dataclass(frozen=True)
class LabelledHistory:
    """The newest periods with their sums, oldest first; `older` ones are left out.

    `made` are the periods whose rows had to be read for it.
    """

    periods: tuple[str, ...]
    moments: tuple[Moments, ...]
    older: int
    made: tuple[str, ...]


def labelled_history(model: Model, lake: Lake, until: str, now: datetime) -> LabelledHistory | None:
    """Sums of all periods with features up to `until`; makes what is not kept, period by period.

    Labels count that were known when they had matured, at `now` at the latest. None while no
    label of the oldest periods is known.
    """
    held = lake.held(model.name, FEATURES)
    known = [period for period in held if period <= until]
    periods = known[-MOST_PERIODS:]
    rules = _rules(model, lake, known, now)
    if rules is None:
        return None
    wanted = {period: _digest(model, rules, period, held[period], now) for period in periods}
    kept = _kept_digests(model, lake, periods)
    made = tuple(period for period in periods if kept.get(period) != wanted[period])
    for period in made:
        columns, labels = _rows(model, lake, [period], now)
        sums = rules.moments(columns, labels)
        lake.write_period(model.name, SUMS, period, _as_row(sums, wanted[period]))
    rows = lake.read(model.name, SUMS, periods=periods).to_pylist()
    found = {row[PERIOD]: _from_row(row) for row in rows}
    return LabelledHistory(
        periods=tuple(periods),
        moments=tuple(found[period] for period in periods),
        older=len(known) - len(periods),
        made=made,
    )


def _counts_until(model: Model, period: str, now: datetime) -> datetime:
    """Until when a label of the period must be known to count."""
    return min(now, model.calendar.bounds(period).end + model.spec.monitoring.wait)


def _digest(model: Model, rules: ScoutRows, period: str, held: Held, now: datetime) -> str:
    until = _counts_until(model, period, now).isoformat()
    parts = (rules.id, held.digest, until, str(MOST_ROWS), str(model.spec.training.seed))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kept_digests(model: Model, lake: Lake, periods: Sequence[str]) -> dict[str, str]:
    if not lake.exists(model.name, SUMS):
        return {}
    table = lake.read(model.name, SUMS, periods=periods, columns=[PERIOD, "digest"])
    return {row[PERIOD]: row["digest"] for row in table.to_pylist()}


def _rules(model: Model, lake: Lake, periods: Sequence[str], now: datetime) -> ScoutRows | None:
    """The kept rules of this contract, or new ones from the oldest periods if these have labels."""
    spec = model.spec
    contract = {
        "task": spec.task,
        "columns": [(name, column.type) for name, column in spec.columns.items()],
        "label": spec.label.model_dump(mode="json", include={"column", "above"}),
    }
    key = hashlib.sha256(json.dumps(contract).encode()).hexdigest()[:16]
    if not lake.position(model.name, RULES, key):
        training = spec.training
        oldest = periods[: training.window.min + training.validation]
        columns, labels = _rows(model, lake, oldest, now) if oldest else ({}, np.empty(0))
        if not len(labels):
            return None
        types = {name: column.type for name, column in spec.columns.items()}
        classes = () if spec.task == "regression" else classes_of(pd.Series(labels))
        rules = fit_scout_rows(spec.task, types, columns, labels, classes)
        row = pa.Table.from_pylist([{"contract": key, "rules": rules.to_json()}])
        lake.append_once(model.name, RULES, row, source=key, position=1)
    kept = lake.read(model.name, RULES).to_pylist()
    return ScoutRows.from_json(next(row["rules"] for row in kept if row["contract"] == key))


def _rows(
    model: Model, lake: Lake, periods: Iterable[str], now: datetime
) -> tuple[Mapping[str, np.ndarray], np.ndarray]:
    """Columns and labels (n,) of at most MOST_ROWS labelled rows of each period."""
    parts = [_sample(model, lake, one, _counts_until(model, one, now)) for one in periods]
    names = [*model.spec.columns, LABEL]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
    labels = columns.pop(LABEL)
    return columns, labels


def _sample(model: Model, lake: Lake, period: str, until: datetime) -> Mapping[str, np.ndarray]:
    spec = model.spec
    sample = RowSample(MOST_ROWS, spec.training.seed)
    texts = {name for name, column in spec.columns.items() if column.type == "category"}
    by_then = ds.field(KNOWN_AT) <= pa.scalar(until, pa.timestamp("us", tz="UTC"))
    empty: dict[str, np.ndarray] = {
        name: np.empty(0, dtype=object if name in texts else np.float64) for name in spec.columns
    }
    for rows in lake.batches(
        model.name,
        FEATURES,
        periods=[period],
        columns=["entity", "event_time", *spec.columns, LABEL, KNOWN_AT],
        where=ds.field(LABEL).is_valid() & by_then,
        dictionaries=sorted(texts),
    ):
        columns = {
            name: (categories if name in texts else numbers)(rows.column(name))
            for name in spec.columns
        }
        labels = rows.column(LABEL).to_numpy(zero_copy_only=False)
        sample.add(row_keys(rows), {**columns, LABEL: labels})
    return {**empty, LABEL: np.empty(0, dtype=object), **sample.columns()}


def row_keys(rows: pa.RecordBatch | pa.Table) -> Keys:
    """Who and when: what makes a row of a source one of its kind."""
    times = rows.column("event_time").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    at = times.to_numpy(zero_copy_only=False).astype(np.uint64)
    keys: Keys = hashed_keys(rows.column("entity")) ^ (at * np.uint64(0x9E3779B97F4A7C15))
    return keys


def _as_row(sums: Moments, digest: str) -> pa.Table:
    """One row; of the symmetric matrix the upper triangle."""
    width = len(sums.gram)
    return pa.Table.from_pylist(
        [
            {
                "digest": digest,
                "rows": sums.rows,
                "width": width,
                "gram": sums.gram[np.triu_indices(width)].tobytes(),
                "cross": np.ascontiguousarray(sums.cross).tobytes(),
                "squares": sums.squares,
            }
        ]
    )


def _from_row(row: Mapping[str, object]) -> Moments:
    width = int(str(row["width"]))
    gram = np.zeros((width, width))
    gram[np.triu_indices(width)] = np.frombuffer(row["gram"])  # type: ignore[call-overload]
    gram += np.triu(gram, 1).T
    cross = np.frombuffer(row["cross"]).reshape(width, -1)  # type: ignore[call-overload]
    return Moments(int(str(row["rows"])), gram, cross, float(str(row["squares"])))
