"""What monitoring keeps: served predictions, labels as known, reports and decisions."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from deltalake.exceptions import DeltaError

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PeriodEvidence
from mlops_assets.domain.labels import KNOWN_AT, LABEL, WEIGHT, encode, known
from mlops_assets.domain.lookahead import Outlook, Plan
from mlops_assets.domain.restatement import KEYS, LabelChanges, label_changes
from mlops_assets.domain.retraining import Decision
from mlops_assets.spec import Model
from mlops_assets.stores.identified import identified
from mlops_assets.stores.lake import PERIOD, Lake, Written
from mlops_assets.stores.log_lag import write_positions
from mlops_assets.stores.prediction_log import (
    LoggedRequest,
    output_columns,
    read_from,
    segments,
    to_table,
)
from mlops_assets.stores.tables import to_frame

PREDICTIONS = "predictions"
GROUND_TRUTH = "ground_truth"
STALENESS = "staleness_reports"


def ingest_predictions(model: Model, lake: Lake, folder: Path, contracts: "Contracts") -> int:
    """Bring everything that was logged since the last time into the lake, exactly once.

    A segment's position travels in the same commit as its rows, so a kill at any moment loses
    and doubles nothing, also for a segment that is still being written.
    """
    rows = 0
    positions: dict[str, int] = {}
    for segment in segments(folder):
        while True:
            start = positions[segment.stem] = lake.position(model.name, PREDICTIONS, segment.stem)
            records, end = read_from(segment, start)
            if end == start:
                break
            by_version: dict[str, list[Any]] = {}
            for record in records:
                by_version.setdefault(record.version, []).append(record)
            tables = [
                to_table(found, contracts.of(version)) for version, found in by_version.items()
            ]
            if tables:
                table = pa.concat_tables(tables, promote_options="default")
                periods = [model.calendar.key(at) for at in table["event_time"].to_pylist()]
                table = table.append_column(PERIOD, pa.array(periods, pa.string()))
                if any(_is_named_by_client(record) for record in records):
                    table = _without_repeats(model, lake, table)
                lake.append_once(model.name, PREDICTIONS, table, source=segment.stem, position=end)
                rows += table.num_rows
    if positions:
        write_positions(folder, positions)
    return rows


def _is_named_by_client(record: LoggedRequest) -> bool:
    """Whether the client gave the request its id, so that it may have been sent again."""
    return record.ids[0] != f"{record.request_id}-0"


def _without_repeats(model: Model, lake: Lake, table: pa.Table) -> pa.Table:
    """The rows without those that repeat a prediction: a request that was sent twice counts once.

    A repeat reaches another replica, or one that has forgotten the first; its prediction ids are
    the same, but another version may have answered, as another variant.
    """
    names = ["prediction_id", "variant"]
    found = _identities(table.select(names))
    repeated = found.duplicated()
    if lake.exists(model.name, PREDICTIONS):
        periods = sorted(set(table[PERIOD].to_pylist()))
        before = lake.read(model.name, PREDICTIONS, periods=periods, columns=names)
        repeated |= found.isin(_identities(before))
    return table.filter(pa.array(~repeated))


def _identities(table: pa.Table) -> pd.MultiIndex:
    """What makes two rows the same: the prediction, and whether it is the answer or a shadow."""
    frame = table.to_pandas()
    return pd.MultiIndex.from_arrays([frame["prediction_id"], frame["variant"] == "shadow"])


class Contracts:
    """Contracts of a model's versions, each read from its bundle once."""

    def __init__(self, bundle_of: Any) -> None:
        self._bundle_of = bundle_of
        self._known: dict[str, Contract] = {}

    def of(self, version: str) -> Contract:
        """The contract of this version."""
        if version not in self._known:
            raw = (self._bundle_of(version) / "contract.json").read_bytes()
            self._known[version] = Contract.from_json(raw)
        return self._known[version]


def answers_of(model: Model, lake: Lake, period: str) -> pd.DataFrame:
    """All logged predictions of a period, of every variant; empty if there were none."""
    if not lake.exists(model.name, PREDICTIONS):
        return pd.DataFrame({"version": [], "variant": []})
    table = lake.read(model.name, PREDICTIONS, periods=[period])
    ordered = table.sort_by([("served_at", "ascending"), ("prediction_id", "ascending")])
    frame: pd.DataFrame = ordered.to_pandas()
    return frame


def predictions_of(model: Model, lake: Lake, period: str) -> pd.DataFrame:
    """The predictions of a period that champions answered; what reports are made of.

    Who else answered (a split's variants, the fallback) or only watched (the shadow) is judged
    by other means, and must not be counted as the champion.
    """
    found = answers_of(model, lake, period)
    return found[found["variant"] == "champion"].reset_index(drop=True)


def write_ground_truth(
    model: Model, lake: Lake, period: str, now: datetime
) -> tuple[Written, LabelChanges]:
    """Labels of a period that are known at `now`; also returns what differs from before."""
    found = known_labels(model, to_frame(lake.read(model.name, "raw_data", periods=[period])), now)
    changes = label_changes(ground_truth_of(model, lake, period), found)
    table = pa.Table.from_pandas(found, preserve_index=False).replace_schema_metadata(None)
    return lake.write_period(model.name, GROUND_TRUTH, period, table), changes


def known_labels(model: Model, rows: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Entity, event time, label and its time, of the source's rows whose label is known."""
    found = identified(model, rows)
    if WEIGHT in found:
        # Rows without a usable weight are in quarantine, and count for nothing.
        found = found[found[WEIGHT].notna()]
    return found[known(found, now)].drop_duplicates(KEYS, keep="last")


def ground_truth_of(model: Model, lake: Lake, period: str) -> pd.DataFrame:
    """Labels of a period as they were written last; empty if they never were."""
    if not lake.exists(model.name, GROUND_TRUTH):
        # Times even of no rows: two empty frames of different types could not be compared.
        none = pd.DataFrame({name: [] for name in (*KEYS, LABEL)}, dtype="object")
        return none.astype({"event_time": "datetime64[us, UTC]"})
    frame: pd.DataFrame = lake.read(model.name, GROUND_TRUTH, periods=[period]).to_pandas()
    return frame


def ground_truth_as_of(model: Model, lake: Lake, period: str, version: int) -> pd.DataFrame | None:
    """Labels of a period as of a version of the table; None if that is no longer kept."""
    try:
        table = lake.read(model.name, GROUND_TRUTH, periods=[period], version=version)
    except (DeltaError, FileNotFoundError):
        return None
    frame: pd.DataFrame = table.to_pandas()
    return frame


def labelled(
    model: Model, lake: Lake, period: str, predictions: pd.DataFrame, contract: Contract
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Truth (n,), served outputs (n, k) and rows of the predictions whose label is known.

    The rows tell when, as `label_known_at`, and how much they count (`weights_of`).
    """
    truth = lake.read(model.name, GROUND_TRUTH, periods=[period]).to_pandas()
    # A row that its time identifies (an hour, a day) has no other name to agree on.
    same = model.spec.entity == model.spec.event_time
    keys = ["event_time"] if same else ["entity", "event_time"]
    told = [LABEL, KNOWN_AT, *([WEIGHT] if WEIGHT in truth else [])]
    joined = predictions.merge(truth[[*keys, *told]], on=keys, how="inner")
    y = encode(joined[LABEL], model.spec.task, contract.classes)
    outputs = joined[output_columns(contract)].to_numpy(dtype=np.float64)
    return y, outputs, joined


def weights_of(model: Model, labelled_rows: pd.DataFrame) -> np.ndarray | None:
    """How much each labelled row counts (n,); None where the spec names no weight."""
    if not model.spec.weight:
        return None
    if WEIGHT not in labelled_rows:
        raise DataError(
            f"the labels of {model.name} have no weights yet: materialise its ground_truth again"
        )
    return labelled_rows[WEIGHT].to_numpy(dtype=np.float64)


def keep(lake: Lake, model: str, table: str, period: str, content: Mapping[str, Any]) -> Written:
    """Keep a report or decision of a period, as JSON."""
    text = json.dumps(content, sort_keys=True, default=str)
    return lake.write_period(model, table, period, pa.Table.from_pylist([{"content": text}]))


def kept(lake: Lake, model: str, table: str) -> dict[str, dict[str, Any]]:
    """All kept reports or decisions, by period, oldest first."""
    if not lake.exists(model, table):
        return {}
    rows = lake.read(model, table).to_pylist()
    found = {row[PERIOD]: json.loads(row["content"]) for row in rows}
    return dict(sorted(found.items()))


def evidence(lake: Lake, model: str, until: str) -> list[PeriodEvidence]:
    """What the reports of all periods up to `until` said, oldest first."""
    drift = kept(lake, model, "drift_reports")
    quality = kept(lake, model, "performance_reports")
    worth = kept(lake, model, STALENESS)
    served: dict[str, int] = {}
    found = []
    for period in sorted(set(drift) & set(quality)):
        if period > until:
            break
        version = quality[period]["version"]
        served[version] = served.get(version, 0) + 1
        one = _evidence(period, version, drift[period], quality[period], served[version])
        # Periods that were reported by an older release of this software have no plan.
        told = worth.get(period, {}).get("plan")
        found.append(replace(one, plan=plan_of(told)) if told else one)
    return found


def _evidence(
    period: str, version: str, drift: Mapping[str, Any], quality: Mapping[str, Any], served: int
) -> PeriodEvidence:
    return PeriodEvidence(
        period=period,
        version=version,
        drift_judged=drift["judged"],
        drift_flagged=tuple(drift["flagged"]),
        drift_alert=bool(drift["flagged"]),
        performance_judged=quality["judged"],
        harmed=quality["harmed"],
        loss=quality["loss"],
        reference_loss=quality["reference_loss"],
        accuracy=quality["metrics"].get("accuracy"),
        previous_is_better=quality["previous_is_better"],
        periods_since_release=served,
        decay_periods=quality.get("decay_periods", 0) if quality.get("decaying") else 0,
        harmed_part=quality.get("harmed_part", ""),
    )


def plan_of(content: Mapping[str, Any]) -> Plan:
    """A plan from what `asdict` made of it."""
    return Plan(**{**content, "outlook": Outlook(**content["outlook"])})


def decisions(lake: Lake, model: str) -> list[Decision]:
    """All decisions on a model, oldest period first."""
    return [
        Decision(**{**content, "reasons": tuple(content["reasons"])})
        for content in kept(lake, model, "decisions").values()
    ]


def decision_content(decision: Decision) -> dict[str, Any]:
    """A decision as `keep` takes it."""
    return {**asdict(decision), "reasons": list(decision.reasons)}


def most_served(predictions: pd.DataFrame) -> str:
    """The version that answered most of the predictions; the newer one of equals."""
    counts = Counter(str(version) for version in predictions["version"])
    return max(counts, key=lambda version: (counts[version], int(version)))
