"""A lake with served predictions, one period per number of rows, and the reference they face."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.profile import build
from mlops_assets.stores.lake import PERIOD, Lake
from mlops_assets.stores.period_batches import PREDICTIONS

MODEL = "benchmark"
REFERENCE_ROWS = 20_000
CHUNK_ROWS = 250_000
# Longer periods repeat these rows under new ids: writing is not what is measured.
DISTINCT_CHUNKS = 4


def contract(columns: int) -> Contract:
    """Half of the columns are numbers, half categories."""
    numbers = (columns + 1) // 2
    return Contract(
        MODEL,
        "binary",
        tuple(
            ContractColumn(f"column_{index:02}", "number" if index < numbers else "category", True)
            for index in range(columns)
        ),
        ("0", "1"),
        "entity",
        "event_time",
        1_000,
    )


def write(folder: Path, columns: int, periods: Sequence[int]) -> None:
    """Fill the folder: contract.json, reference.json, reference.parquet and a lake."""
    folder.mkdir(parents=True)
    agreed = contract(columns)
    rng = np.random.default_rng(columns)
    reference = _rows(rng, agreed, REFERENCE_ROWS)
    arrays = {
        column.name: reference[column.name].to_numpy(zero_copy_only=False)
        for column in agreed.columns
    }
    outputs = np.column_stack([reference[name].to_numpy() for name in ("p_0", "p_1")])
    profile = build(arrays, agreed.columns, outputs, agreed.classes)
    (folder / "contract.json").write_bytes(agreed.to_json())
    (folder / "reference.json").write_bytes(profile.to_json())
    pq.write_table(reference, folder / "reference.parquet")
    most = min(max(periods), CHUNK_ROWS)
    distinct = min(DISTINCT_CHUNKS, -(-max(periods) // most))
    chunks = [_rows(rng, agreed, most) for _ in range(distinct)]
    lake = Lake(str(folder / "lake"))
    for rows in periods:
        for number, start in enumerate(range(0, rows, CHUNK_ROWS)):
            part = chunks[number % len(chunks)].slice(0, min(CHUNK_ROWS, rows - start))
            logged = _logged(part, rows, start)
            lake.append_once(MODEL, PREDICTIONS, logged, source=f"{rows}-{start}", position=1)


def _rows(rng: np.random.Generator, agreed: Contract, rows: int) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for place, column in enumerate(agreed.columns):
        if column.type == "number":
            values = rng.normal(place, 1 + place, rows)
            columns[column.name] = pa.array(values if place % 3 else np.rint(values))
        else:
            levels = 2 + 4 * place
            weights = 1 / np.arange(1, levels + 1)
            codes = rng.choice(levels, rows, p=weights / weights.sum())
            names = pa.array([f"level {level} of column {place}" for level in range(levels)])
            columns[column.name] = names.take(pa.array(codes))
    score = rng.beta(2, 3, rows)
    return pa.table({**columns, "p_0": 1 - score, "p_1": score})


def _logged(part: pa.Table, rows: int, start: int) -> pa.Table:
    """Rows of the prediction log, with ids that are all different."""
    count = part.num_rows
    return (
        part.append_column(
            "prediction_id", pa.array([f"{rows}-{start + row:08}-0" for row in range(count)])
        )
        .append_column("version", pa.array(["1"] * count))
        .append_column("variant", pa.array(["champion"] * count))
        .append_column(PERIOD, pa.array([str(rows)] * count))
    )
