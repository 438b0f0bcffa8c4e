"""A model's labelled past, read from the lake at once, as a backtest trains and judges on it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.labels import KNOWN_AT, LABEL, known
from mlops_assets.domain.row_sample import Keys
from mlops_assets.spec import Model
from mlops_assets.stores.lake import PERIOD, Lake, content_hash
from mlops_assets.stores.scouts import row_keys
from mlops_assets.stores.training_rows import blocks_in, weights_in

TABLE = "features"
KEY = "row_key"


@dataclass(frozen=True, eq=False)
class PastRows:
    """All rows of `periods`, oldest first: `frame` (n, columns of the contract), `label` (n,).

    Period i has the rows `starts[i]:starts[i + 1]`, and could be judged at `times[i]`; `known`
    (n,) says whose label was known by then. `keys` (n,) are by what rows are sampled, `content`
    names these very rows, and `weights` (n,) how much they count; None where all count the same.
    `blocks` (n,) are those of time that the rows' places lie in (domain.time_blocks).
    """

    periods: tuple[str, ...]
    times: tuple[datetime, ...]
    starts: NDArray[np.intp]
    frame: pd.DataFrame
    label: pd.Series
    known: NDArray[np.bool_]
    keys: Keys
    content: str
    blocks: NDArray[np.intp]
    weights: NDArray[np.float64] | None = None

    def place(self, first: int, last: int) -> slice:
        """Where the rows of the periods first, …, last - 1 are."""
        return slice(int(self.starts[first]), int(self.starts[last]))

    @property
    def labelled(self) -> list[int]:
        """Rows with a known label, by period."""
        return [int(part.sum()) for part in np.split(self.known, self.starts[1:-1])]

    def weights_of(self, place: slice, mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """How much the rows in `mask` of a place count."""
        return None if self.weights is None else self.weights[place][mask]

    def shuffled(self, seed: int) -> "PastRows":
        """The same rows dealt to the periods by chance: a history in which nothing changes."""
        order = np.random.default_rng(seed).permutation(len(self.frame))
        return replace(
            self,
            frame=self.frame.iloc[order].reset_index(drop=True),
            label=self.label.iloc[order].reset_index(drop=True),
            known=self.known[order],
            weights=None if self.weights is None else self.weights[order],
            keys=self.keys[order],
            content=hashlib.sha256(f"{self.content} shuffled {seed}".encode()).hexdigest(),
        )


def read_past(model: Model, lake: Lake, periods: Sequence[str]) -> PastRows:
    """Read these periods, without those that have no known label.

    A label counts if it was known when the period was judged (`monitoring.wait` after its end).
    Raises DataError if the lake holds none of it.
    """
    there = set(lake.periods(model.name, TABLE))
    table = (
        lake.read(model.name, TABLE, periods=[one for one in periods if one in there])
        if there
        else pa.table({PERIOD: pa.array([], pa.string())})
    )
    if not table.num_rows:
        raise DataError(
            f"the lake has no features of {model.name} in the {len(periods)} periods that were "
            f"asked for: run the job {model.name}__ingest for them"
        )
    rows = table.append_column(KEY, pa.array(row_keys(table))).to_pandas()
    rows = rows.sort_values([PERIOD, "event_time", "entity"], kind="stable")
    found = []
    for period, part in rows.groupby(PERIOD, sort=True):
        judged_at = model.calendar.bounds(str(period)).end + model.spec.monitoring.wait
        is_known = known(part, judged_at).to_numpy(dtype=bool)
        if is_known.any():
            found.append((str(period), judged_at, part, is_known))
    if not found:
        raise DataError(
            f"no label of {model.name} was known within monitoring.wait of its period's end"
        )
    everything = pd.concat([part for _, _, part, _ in found], ignore_index=True)
    mask = np.concatenate([is_known for _, _, _, is_known in found])
    content = pa.Table.from_pandas(everything.assign(is_known=mask), preserve_index=False)
    return PastRows(
        periods=tuple(period for period, _, _, _ in found),
        times=tuple(judged_at for _, judged_at, _, _ in found),
        starts=np.cumsum([0, *(len(part) for _, _, part, _ in found)]),
        frame=everything[list(model.spec.input_names)],
        label=everything[LABEL],
        known=mask,
        keys=everything[KEY].to_numpy(),
        content=content_hash(content.drop_columns([KNOWN_AT, KEY])),
        blocks=blocks_in(model, everything),
        weights=weights_in(model, everything),
    )
