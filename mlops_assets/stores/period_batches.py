"""A period's served rows as drift is judged on them: in batches, whatever their number."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mlops_assets.domain.answer_columns import answer_columns
from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract
from mlops_assets.domain.period_summary import Batch
from mlops_assets.domain.row_sample import Keys
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.prediction_log import output_columns

PREDICTIONS = "predictions"
ID = "prediction_id"
CHAMPION = ds.field("variant") == "champion"


def most_served_version(lake: Lake, model: str, period: str) -> str:
    """The version by which champions answered most of a period; of equals the newer; "" if none."""
    counts: Counter[str] = Counter()
    if lake.exists(model, PREDICTIONS):
        for batch in lake.batches(
            model, PREDICTIONS, periods=[period], columns=["version"], where=CHAMPION
        ):
            counts.update(batch.column("version").to_pylist())
    return max(counts, key=lambda version: (counts[version], int(version)), default="")


def served_batches(lake: Lake, contract: Contract, version: str, period: str) -> Iterator[Batch]:
    """What champions of this version were asked in the period, and what they answered."""
    for rows in lake.batches(
        contract.model,
        PREDICTIONS,
        periods=[period],
        columns=[ID, *(c.name for c in contract.columns), *output_columns(contract)],
        where=CHAMPION & (ds.field("version") == version),
        dictionaries=[c.name for c in contract.columns if c.type == "category"],
    ):
        yield as_batch(rows, contract)


def as_batch(rows: pa.RecordBatch, contract: Contract) -> Batch:
    """Rows of the prediction log by column, answers included, with a hash of their ids as keys."""
    outputs = [numbers(rows.column(name)) for name in output_columns(contract)]
    columns: dict[str, Column] = {}
    for column in contract.columns:
        read = categories if column.type == "category" else numbers
        columns[column.name] = read(rows.column(column.name))
    answers = answer_columns(np.column_stack(outputs), contract.classes)
    return Batch({**columns, **answers}, hashed_keys(rows.column(ID)))


def numbers(array: pa.Array) -> np.ndarray:
    """Float64 with NaN for missing."""
    kind = array.type
    array = array.cast(pa.uint8()) if pa.types.is_boolean(kind) else array
    values: np.ndarray = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def categories(array: pa.Array) -> Coded:
    """Codes and texts, MISSING_CATEGORY for missing."""
    coded = array if pa.types.is_dictionary(array.type) else pc.dictionary_encode(array)
    texts = [MISSING_CATEGORY if v is None else str(v) for v in coded.dictionary.to_pylist()]
    codes = coded.indices
    if codes.null_count:
        codes = codes.cast(pa.int32()).fill_null(len(texts))
        texts.append(MISSING_CATEGORY)
    return Coded(codes.to_numpy(zero_copy_only=False), tuple(texts))


def hashed_keys(ids: pa.Array) -> Keys:
    """Hashes that are the same in every process (SipHash with pandas' fixed key)."""
    hashed: Keys = pd.util.hash_array(
        ids.to_numpy(zero_copy_only=False).astype(object), categorize=False
    )
    return hashed
