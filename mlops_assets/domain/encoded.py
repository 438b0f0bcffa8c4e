"""A fitted pipeline on columns whose categories are coded: the same numbers, without the text.

Encoders are asked once per distinct value instead of once per row; all else is computed by the
fitted steps themselves. Trees see exactly what they see in the pipeline, so their outputs are
equal to the last bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from mlops_assets.domain.bins import Bins
from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract
from mlops_assets.domain.features import AsFloat32, DeriveColumns
from mlops_assets.domain.training import outputs_of

Fill = Callable[[np.ndarray, Mapping[str, Column]], None]
# Batches bring the same dictionaries again and again, but a file of free text does not.
REMEMBERED_TABLES = 256
MOST = "max_categories"


class EncodedPipeline:
    """Scores as `pipeline` does; raises ValueError for a pipeline that is not made by us."""

    def __init__(self, pipeline: Pipeline, contract: Contract) -> None:
        first = pipeline.named_steps.get("features")
        if first is None or not hasattr(first, "transformers_"):
            raise ValueError("the pipeline has no step `features`")
        self._contract = contract
        self._rest = Pipeline(pipeline.steps[1:])
        if "n_jobs" in pipeline[-1].get_params():
            # Batches are scored side by side, so each takes one thread.
            pipeline[-1].set_params(n_jobs=1)
        rounded = any(isinstance(step, AsFloat32) for _, step in pipeline.steps[1:])
        self._dtype: Any = np.float32 if rounded else np.float64
        places = first.output_indices_
        self._width = max(place.stop for place in places.values())
        self._fills = [
            _fill(transformer, list(names), places[name])
            for name, transformer, names in first.transformers_
            if name != "remainder"
        ]

    def score(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Probabilities (n, classes) or values (n, 1) of n rows, float64."""
        some = next(iter(columns.values()))
        rows = len(some.codes if isinstance(some, Coded) else some)
        matrix = np.empty((rows, self._width), dtype=self._dtype)
        for fill in self._fills:
            fill(matrix, columns)
        return outputs_of(self._rest, matrix, self._contract.task)  # type: ignore[arg-type]


def _fill(transformer: Any, names: list[str], place: slice) -> Fill:
    """How the columns at `place` are computed."""
    if isinstance(transformer, OneHotEncoder | OrdinalEncoder):
        return _Encoder(transformer, names, place.start)
    if isinstance(transformer, FunctionTransformer) and transformer.func is None:

        def copy(matrix: np.ndarray, columns: Mapping[str, Column]) -> None:
            for offset, name in enumerate(names):
                matrix[:, place.start + offset] = columns[name]

        return copy

    own = isinstance(transformer, DeriveColumns | Bins)

    def transform(matrix: np.ndarray, columns: Mapping[str, Column]) -> None:
        only = columns[names[0]]
        if isinstance(only, Coded) and len(names) == 1:
            # A step of one category depends on the level alone.
            levels = pd.DataFrame({names[0]: np.array(only.values, dtype=object)})
            matrix[:, place] = np.asarray(transformer.transform(levels))[only.codes]
            return
        values = np.column_stack([_numeric(columns[name]) for name in names])
        matrix[:, place] = transformer.transform(
            values if own else pd.DataFrame(values, columns=names, copy=False)
        )

    return transform


def _numeric(column: Column) -> np.ndarray:
    if isinstance(column, Coded):
        raise ValueError("a category is given to a step for numbers")
    return column


@dataclass
class _Encoder:
    """Fills the outputs of one-hot or ordinal encoded columns, from `start` on."""

    encoder: OneHotEncoder | OrdinalEncoder
    names: list[str]
    start: int
    tables: dict[tuple[int, tuple[str, ...]], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_hot = isinstance(self.encoder, OneHotEncoder)
        settings = self.encoder.get_params()
        if settings.get("drop") is not None or settings["min_frequency"] or settings[MOST]:
            raise ValueError("the encoder drops or joins categories")
        widths = [len(known) if one_hot else 1 for known in self.encoder.categories_]
        self.starts = np.cumsum([0, *widths]).tolist()

    def __call__(self, matrix: np.ndarray, columns: Mapping[str, Column]) -> None:
        for place, name in enumerate(self.names):
            column = columns[name]
            if not isinstance(column, Coded):
                raise ValueError(f"category {name!r} is not coded")
            first, last = self.start + self.starts[place], self.start + self.starts[place + 1]
            matrix[:, first:last] = self._table(place, column.values)[column.codes]

    def _table(self, place: int, values: tuple[str, ...]) -> np.ndarray:
        """The encoding of each value, of shape (values, width)."""
        key = (place, values)
        found = self.tables.get(key)
        if found is None:
            frame = pd.DataFrame(
                {
                    name: np.array(
                        values if other == place else [MISSING_CATEGORY] * len(values), dtype=object
                    )
                    for other, name in enumerate(self.names)
                }
            )
            encoded = np.asarray(self.encoder.transform(frame), dtype=np.float64)
            found = encoded[:, self.starts[place] : self.starts[place + 1]]
            if len(self.tables) >= REMEMBERED_TABLES:
                self.tables.clear()
            self.tables[key] = found
        return found
