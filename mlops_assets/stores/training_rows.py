"""Training sets: freezing one from the lake's features, and reading its rows again."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.labels import (
    DIGEST,
    KNOWN_AT,
    LABEL,
    WEIGHT,
    classes_of,
    encode,
    known,
    recode,
)
from mlops_assets.domain.splits import PeriodRows, TrainingSet, split_periods
from mlops_assets.domain.time_blocks import TIME_BLOCKS, time_blocks
from mlops_assets.spec import Model
from mlops_assets.stores.lake import PERIOD, Lake, content_hash

TABLE = "training_sets"


@dataclass(frozen=True)
class Rows:
    """Labelled rows in order of time: `frame` (n, columns of the contract), `y` (n,).

    `weights` (n,) say how much each counts; None where all count the same. `blocks` (n,) say
    in which block of time each lies (domain.time_blocks).
    """

    frame: pd.DataFrame
    y: np.ndarray
    classes: tuple[str, ...]
    blocks: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def known_to(self, classes: tuple[str, ...]) -> np.ndarray:
        """The targets (n,) of a model that knows these classes; values of a regression as are."""
        return recode(self.y, self.classes, classes) if self.classes else self.y

    def drawn(self, picked: np.ndarray) -> "Rows":
        """The rows at `picked` (m,), with the classes that they still have."""
        frame, y = self.frame.iloc[picked], self.y[picked]
        classes = tuple(name for place, name in enumerate(self.classes) if (y == place).any())
        y = recode(y, self.classes, classes) if classes else y
        weights = None if self.weights is None else self.weights[picked]
        return Rows(frame, y, classes, self.blocks[picked], weights)


def freeze(model: Model, lake: Lake, now: datetime, last: int | None) -> TrainingSet:
    """Make the manifest of what can be trained on at `now`, and keep it in the lake.

    Only rows whose label was known at `now` are counted, in periods whose labels had matured: the
    first labels of a younger one are those of its easy rows. `last` limits the periods that a
    model is fitted on. Raises NotTrainableError when there are too few, or when some were made
    with another features.py than the spec's.
    """
    if not lake.exists(model.name, "features"):
        raise NotTrainableError(f"{model.name} has no features yet: materialise its data assets.")
    training = model.spec.training
    version = lake.version(model.name, "features")
    matured = set(model.matured(now))
    parts: dict[str, PeriodRows] = {}
    others: set[str] = set()
    for period in lake.periods(model.name, "features"):
        if period not in matured:
            continue
        rows = lake.read(model.name, "features", periods=[period], version=version)
        kept = _known_rows(rows, now)
        if len(kept):
            table = pa.Table.from_pandas(kept, preserve_index=False)
            parts[period] = PeriodRows(period, len(kept), content_hash(table))
            if not _of_these_functions(model, kept):
                others.add(period)
    split = split_periods(
        tuple(parts),
        validation=training.validation,
        holdout=training.holdout,
        last=last,
        least=training.window.min,
    )
    old = [period for period in split.periods if period in others]
    if old:
        raise NotTrainableError(
            f"the features of {model.name} in {len(old)} periods ({old[0]} … {old[-1]}) were "
            f"computed with another features.py: run the job {model.name}__ingest for them again"
        )
    manifest = TrainingSet(
        model=model.name,
        as_of=now.isoformat(),
        spec_hash=model.spec.content_hash(),
        table_version=version,
        split=split,
        periods=tuple(parts[period] for period in split.periods),
    )
    row = pa.Table.from_pylist([{"id": manifest.id, "manifest": manifest.to_json()}])
    lake.append_once(model.name, TABLE, row, source=f"training-set-{manifest.id}", position=1)
    return manifest


def load(model: str, lake: Lake, identifier: str) -> TrainingSet:
    """The manifest with this id. Raises NotTrainableError if it was never frozen."""
    found = manifests(model, lake).get(identifier)
    if found is None:
        raise NotTrainableError(
            f"{model} has no training set {identifier!r}: materialise training_set first."
        )
    return found


def manifests(model: str, lake: Lake) -> dict[str, TrainingSet]:
    """All manifests that were ever frozen, by id."""
    if not lake.exists(model, TABLE):
        return {}
    rows = lake.read(model, TABLE).to_pylist()
    return {row["id"]: TrainingSet.from_json(row["manifest"]) for row in rows}


def read(
    model: Model,
    lake: Lake,
    manifest: TrainingSet,
    periods: tuple[str, ...],
    classes: tuple[str, ...] | None = None,
) -> Rows:
    """The rows of `periods`, exactly as they were frozen.

    `classes` fixes the class order; by default it is that of the rows. A label outside of it is
    encoded as -1, which every loss counts as fully wrong.
    """
    table = lake.read(model.name, "features", periods=list(periods), version=manifest.table_version)
    rows = _known_rows(table, datetime.fromisoformat(manifest.as_of), others=(PERIOD,))
    if classes is None:
        classes = () if model.spec.task == "regression" else classes_of(rows[LABEL])
    return Rows(
        frame=rows[list(model.spec.input_names)].reset_index(drop=True),
        y=encode(rows[LABEL], model.spec.task, classes),
        classes=classes,
        blocks=blocks_in(model, rows),
        weights=weights_in(model, rows),
    )


def weights_in(model: Model, rows: pd.DataFrame) -> np.ndarray | None:
    """How much each row of the features counts (n,); None where the spec names no weight.

    Raises NotTrainableError for features that were made before it did.
    """
    if not model.spec.weight:
        return None
    if WEIGHT not in rows or rows[WEIGHT].isna().any():
        raise NotTrainableError(
            f"some features of {model.name} were made before the spec named a weight: run the job "
            f"{model.name}__ingest for all periods again"
        )
    return rows[WEIGHT].to_numpy(dtype=np.float64)


def blocks_in(model: Model, rows: pd.DataFrame) -> np.ndarray:
    """In which block of time each row of the features lies (n,); all periods have their own."""
    found = np.zeros(len(rows), dtype=np.intp)
    for place, period in enumerate(sorted(rows[PERIOD].unique())):
        mine = (rows[PERIOD] == period).to_numpy()
        found[mine] = place * TIME_BLOCKS + period_blocks(model, period, rows["event_time"][mine])
    return found


def period_blocks(model: Model, period: str, times: pd.Series) -> np.ndarray:
    """In which block of the period each of its event times (n,) lies."""
    bounds = model.calendar.bounds(period)
    return time_blocks(times.dt.tz_convert(None).to_numpy(), bounds.start, bounds.end)


def coverage(model: Model, lake: Lake, manifest: TrainingSet, periods: tuple[str, ...]) -> float:
    """The share of the rows of `periods` whose label was known when the set was frozen."""
    rows = lake.read(
        model.name,
        "features",
        periods=list(periods),
        version=manifest.table_version,
        columns=[LABEL, KNOWN_AT],
    ).to_pandas()
    return float(known(rows, datetime.fromisoformat(manifest.as_of)).mean()) if len(rows) else 0.0


def _of_these_functions(model: Model, rows: pd.DataFrame) -> bool:
    """Whether the inputs from the past are what the spec's functions compute."""
    digest = model.spec.functions_digest
    return not digest or (DIGEST in rows and bool((rows[DIGEST] == digest).all()))


def _known_rows(table: pa.Table, now: datetime, others: tuple[str, ...] = ()) -> pd.DataFrame:
    """The rows whose label is known, with the columns of features and `others`."""
    rows: pd.DataFrame = table.to_pandas()
    rows = rows[known(rows, now)]
    ordered = rows.sort_values(["event_time", "entity"], kind="stable")
    left_out = [name for name in (PERIOD, KNOWN_AT) if name in ordered and name not in others]
    return ordered.drop(columns=left_out)
