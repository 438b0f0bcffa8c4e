"""Scores record batches with a version's bundle, without the endpoint.

`exact` runs the fitted pipeline on coded categories: equal to scikit-learn to the last bit. `onnx`
runs the compiled graph: equal to what the endpoint answers, and faster. Both need the bundle's
hashes to hold, and neither unpickles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from mlops_assets.domain.batch_rows import Problem, check_rows, check_types
from mlops_assets.domain.coded import Column
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import BundleError
from mlops_assets.stores.bundles import (
    CONTRACT,
    ONNX_MODEL,
    SKOPS_MODEL,
    SkopsScorer,
    load_pipeline,
    verify,
)

Engine = Literal["exact", "onnx"]
ROW = "input_row"
REASONS = "reasons"
VERSION = "version"


class _Scores(Protocol):
    def score(self, columns: Mapping[str, Column]) -> np.ndarray: ...


@dataclass(frozen=True)
class Scored:
    """One batch: `predictions` of its good rows, `rejected` rows with reasons."""

    predictions: pa.RecordBatch
    rejected: pa.RecordBatch | None
    failures: dict[str, int] = field(default_factory=dict)


class BatchScorer:
    """A loaded version. `score` may be called by several threads at once."""

    def __init__(self, contract: Contract, version: str, engine: Engine, scores: _Scores) -> None:
        self.contract = contract
        self.version = version
        self.engine = engine
        self._scores = scores
        # As Python's own text, because numpy's is not what Arrow's dictionaries take.
        self._classes = pa.array(contract.classes, pa.string())
        self._version = pa.array([version], pa.string())

    def columns_of(self, schema: pa.Schema, keep: Sequence[str] = ()) -> list[str]:
        """Columns that are read: inputs, entity, event time, and what is kept."""
        check_types(schema, self.contract)
        names = [column.name for column in self.contract.asked]
        extras = (*self._identity(schema), *keep)
        return list(dict.fromkeys((*names, *extras)))

    def schemas(self, schema: pa.Schema, keep: Sequence[str] = ()) -> tuple[pa.Schema, pa.Schema]:
        """Schemas of predictions and of rejected rows, for input with this schema."""
        row = pa.field(ROW, pa.int64())
        kept = [schema.field(name) for name in dict.fromkeys((*self._identity(schema), *keep))]
        text = pa.dictionary(pa.int32(), pa.string())
        outputs = [pa.field("prediction", text if self.contract.classes else pa.float64())]
        outputs += [pa.field(f"probability_{name}", pa.float64()) for name in self.contract.classes]
        read = [schema.field(name) for name in self.columns_of(schema, keep)]
        return (
            pa.schema([row, *kept, *outputs, pa.field(VERSION, text)]),
            pa.schema([row, *read, pa.field(REASONS, pa.string())]),
        )

    def score(
        self,
        batch: pa.RecordBatch,
        first_row: int,
        schemas: Any,
        known: Sequence[Problem] = (),
    ) -> Scored:
        """Score a batch whose first row is number `first_row` of the input.

        `known` is what is wrong with its rows already.
        """
        checked = check_rows(batch, self.contract, known)
        predictions, rejected = schemas
        rows = pa.array(np.arange(first_row, first_row + batch.num_rows))
        bad = None
        good = batch
        if checked.good is not None:
            mask = pa.array(checked.good)
            reasons = pa.array(checked.reasons, pa.string())
            wrong = batch.filter(pa.array(~checked.good))
            bad = pa.RecordBatch.from_arrays(
                [
                    rows.filter(pa.array(~checked.good)),
                    *(wrong.column(name) for name in rejected.names[1:-1]),
                    reasons,
                ],
                schema=rejected,
            )
            good, rows = batch.filter(mask), rows.filter(mask)
        names = predictions.names[1 : -len(self._classes) - 2]
        kept = [good.column(name) for name in names]
        arrays = [rows, *kept, *self._outputs(checked.columns, good.num_rows)]
        found = pa.RecordBatch.from_arrays(arrays, schema=predictions)
        return Scored(found, bad, checked.failures)

    def _outputs(self, columns: Mapping[str, Column], rows: int) -> list[pa.Array]:
        classes = len(self._classes)
        scores = self._scores.score(columns) if rows else np.empty((0, max(1, classes)))
        version = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), self._version)
        if not classes:
            return [pa.array(scores[:, 0]), version]
        labels = pa.DictionaryArray.from_arrays(
            scores.argmax(axis=1).astype(np.int32), self._classes
        )
        # A copy of each column, because Arrow takes no strides.
        parts = [pa.array(np.ascontiguousarray(scores[:, place])) for place in range(classes)]
        return [labels, *parts, version]

    def _identity(self, schema: pa.Schema) -> list[str]:
        names = (self.contract.entity, self.contract.event_time)
        return [name for name in names if name and name in schema.names]


class _Plain:
    """Any fitted pipeline, on text."""

    def __init__(self, contract: Contract, path: Path) -> None:
        self._scorer = SkopsScorer(contract, path)

    def score(self, columns: Mapping[str, Column]) -> np.ndarray:
        return self._scorer.score(columns)


def load_batch_scorer(folder: Path, version: str, engine: Engine = "exact") -> BatchScorer:
    """Verify the bundle and load it for batches.

    A pipeline that must not be read (see `bundles.TRUSTED_TYPES`) is scored by its graph, whatever
    was asked for, and a bundle without a graph by its pipeline: `BatchScorer.engine` tells.
    Raises BundleError when the bundle does not verify, or neither can be loaded.
    """
    manifest = verify(folder)
    contract = Contract.from_json((folder / CONTRACT).read_bytes())
    if engine == "exact" or manifest.runtime != "onnx":
        try:
            scores = _exact(contract, folder / SKOPS_MODEL)
        except BundleError:
            if manifest.runtime != "onnx":
                raise
        else:
            return BatchScorer(contract, version, "exact", scores)
    from mlops_assets.stores.encoded_onnx import EncodedOnnx

    return BatchScorer(contract, version, "onnx", EncodedOnnx(contract, folder / ONNX_MODEL))


def _exact(contract: Contract, path: Path) -> _Scores:
    from mlops_assets.domain.encoded import EncodedPipeline

    try:
        return EncodedPipeline(load_pipeline(path), contract)
    except ValueError:
        return _Plain(contract, path)
