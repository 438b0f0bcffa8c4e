"""Frames on their way into the lake, and the tables that Dagster shows of them."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from mlops_assets.domain.bins import Bins
from mlops_assets.domain.class_quality import ClassQuality
from mlops_assets.domain.features import DeriveColumns, model_frame
from mlops_assets.domain.labels import DIGEST, KNOWN_AT, LABEL, WEIGHT
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.identified import identified


def as_table(frame: pd.DataFrame) -> pa.Table:
    """An Arrow table without the frame's index."""
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def feature_rows(
    model: Model, rows: pd.DataFrame, past: Mapping[str, np.ndarray] | None = None
) -> pd.DataFrame:
    """Entity (as text), event time, contract columns, derived columns, label, its time, weight.

    `past` has the inputs that come from an entity's history, by name.
    """
    spec = model.spec
    contract = spec.contract(model.name, ())
    known = identified(model, rows)
    rows = rows.assign(event_time=known["event_time"], **(past or {}))
    frame = model_frame(rows, contract.columns)
    who = known[["entity", "event_time"]]
    truth = known[[LABEL, KNOWN_AT, *([WEIGHT] if spec.weight else [])]]
    if spec.functions_digest:
        truth = truth.assign(**{DIGEST: spec.functions_digest})
    return pd.concat([who, frame, _derived(frame, spec), truth], axis=1)


def _derived(frame: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    """The derived columns that do not depend on the rows that a version was trained on."""
    columns = {}
    for rule in spec.derived:
        if rule.is_learned or rule.part is not None:
            continue
        step = Bins(rule.edges) if rule.kind == "bins" else DeriveColumns(rule.kind, rule.cycle)
        values = step.fit_transform(frame[list(rule.columns)])
        if values.shape[1] == 1:
            columns[rule.name] = values[:, 0]
        else:
            columns[f"{rule.name}_sin"], columns[f"{rule.name}_cos"] = values.T
    return pd.DataFrame(columns, index=frame.index)


def reasons_table(failures: Mapping[str, int]) -> Any:
    """Rows per reason, most frequent first."""
    ordered = sorted(failures.items(), key=lambda item: -item[1])
    return dg.MetadataValue.table(
        records=[dg.TableRecord({"reason": reason, "rows": count}) for reason, count in ordered],
        schema=_schema(reason="string", rows="int"),
    )


def columns_table(frame: pd.DataFrame, spec: ModelSpec) -> Any:
    """The data sheet of a period: each column's type, missing share, and range or top value."""
    records = []
    known = {*spec.columns, "entity", "event_time", "label_known_at"}
    names = [*spec.columns, *(name for name in frame.columns if name not in known)]
    for name in names:
        missing, typical = _described(frame[name])
        kind = spec.columns[name].type if name in spec.columns else "made here"
        records.append(
            dg.TableRecord({"column": name, "type": kind, "missing": missing, "values": typical})
        )
    return dg.MetadataValue.table(
        records=records,
        schema=_schema(column="string", type="string", missing="string", values="string"),
    )


def _described(series: pd.Series) -> tuple[str, str]:
    """The share that is missing, and the range or the most frequent value."""
    there = series.to_numpy()[series.notna().to_numpy()]
    missing = f"{1 - len(there) / len(series):.1%}" if len(series) else ""
    if not len(there):
        return missing, ""
    if pd.api.types.is_numeric_dtype(series):
        return missing, f"{there.min():.4g} … {there.mean():.4g} … {there.max():.4g}"
    counts = pd.Series(there).value_counts(sort=False)
    return missing, f"{len(counts)} values, mostly {min(counts.index[counts == counts.max()])}"


def records_table(rows: list[dict[str, Any]]) -> Any:
    """Any list of equal records as a table; values are shown as text."""
    names = list(rows[0]) if rows else ["nothing"]
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(row[name]) for name in names}) for row in rows],
        schema=_schema(**dict.fromkeys(names, "string")),
    )


def classes_table(classes: Iterable[ClassQuality]) -> Any:
    """A classifier's quality by class."""
    return records_table(
        [
            {
                "class": one.name,
                "rows": one.rows,
                "share": f"{one.share:.1%}",
                "mean probability": f"{one.told:.1%}",
                "precision": one.precision,
                "recall": one.recall,
                "f1": one.f1,
                "log loss": "" if one.log_loss is None else one.log_loss,
            }
            for one in classes
        ]
    )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _schema(**columns: str) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
