"""The matrix of a graph that only encodes, casts and joins its inputs, without ONNX Runtime.

Handing the columns of a thousand rows over and back takes as long as a third of their trees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.stores.encoded_onnx import Encode

# The types of numbers in a graph.
NUMBERS: dict[str, type] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
}
COMPARED_ROWS = 64
# Levels of a column: a client's text may be as long as its request.
MOST_KEPT = 1024


@dataclass(frozen=True)
class Feature:
    """A column of the matrix: an input, and the types that it is cast to one after the other."""

    name: str
    dtypes: tuple[type, ...]


@dataclass(frozen=True)
class JoinedColumns:
    """Makes the matrix of `features`; `encoders` are those of `encoded_onnx.without_text`."""

    features: Sequence[Feature]
    encoders: Mapping[str, Encode]
    # By feature, the levels that the last request had and what they are in the matrix: most
    # requests have the same.
    _levels: dict[Feature, tuple[tuple[str, ...], np.ndarray]] = field(
        default_factory=dict, init=False
    )

    def matrix(self, columns: Mapping[str, Column]) -> np.ndarray:
        """The matrix of n rows as float32 of shape (features, n)."""
        rows = len(next(iter(columns.values())))
        found = np.empty((len(self.features), rows), dtype=np.float32)
        # As in ONNX Runtime, what is too large becomes infinite.
        with np.errstate(over="ignore"):
            for feature, row in zip(self.features, found, strict=True):
                column = columns[feature.name]
                if isinstance(column, Coded):
                    self._encoded(feature, column.values).take(column.codes, out=row)
                else:
                    row[:] = self.cast(feature, column)
        return found

    def _encoded(self, feature: Feature, levels: tuple[str, ...]) -> np.ndarray:
        known, found = self._levels.get(feature, (None, None))
        if found is None or known != levels:
            found = self.cast(feature, levels).astype(np.float32, copy=False)
            if len(levels) <= MOST_KEPT:
                self._levels[feature] = levels, found
        return found

    def cast(self, feature: Feature, column: np.ndarray | tuple[str, ...]) -> np.ndarray:
        """The values of a column as its graph casts them, one type after the other."""
        encode = self.encoders.get(feature.name)
        found = np.asarray(column if encode is None else encode(column))
        for dtype in feature.dtypes:
            found = found.astype(dtype, copy=False)
        return found


class JoinedRecord:
    """Makes the row of one record, of which the values come in the order of `names`."""

    def __init__(self, joined: JoinedColumns, names: Sequence[str]) -> None:
        self._features = [
            (
                names.index(feature.name),
                _Codes(joined, feature) if feature.name in joined.encoders else None,
            )
            for feature in joined.features
        ]

    def matrix(self, values: Sequence[float | str | None]) -> np.ndarray:
        """What `JoinedColumns.matrix` makes of them, of shape (1, features); None is missing."""
        row = [values[at] if codes is None else codes[values[at]] for at, codes in self._features]
        with np.errstate(over="ignore"):
            return np.array([row], dtype=np.float64).astype(np.float32)


class _Codes(dict[Any, float]):
    """What the texts of a feature are in the matrix."""

    def __init__(self, joined: JoinedColumns, feature: Feature) -> None:
        self._joined, self._feature = joined, feature

    def __missing__(self, text: str) -> float:
        found = float(self._joined.cast(self._feature, (text,))[0])
        # Clients may invent any number of texts.
        if len(self) < MOST_KEPT:
            self[text] = found
        return found


def joined_columns(
    graph: Any, matrix: str, session: Any, encoders: Mapping[str, Encode]
) -> JoinedColumns | None:
    """What makes the tensor `matrix` of the graph, or None where that takes ONNX Runtime.

    `session` computes it of the same inputs, each of shape (n, 1); both are compared.
    """
    inputs = {one.name: NUMBERS.get(one.type) for one in session.get_inputs()}
    features = _features(graph, matrix, inputs)
    if features is None or {feature.name for feature in features} != inputs.keys():
        return None
    draw = np.random.default_rng(0)
    probe = {
        name: draw.normal(scale=1e9, size=COMPARED_ROWS).astype(dtype)
        for name, dtype in inputs.items()
    }
    for values in probe.values():
        if values.dtype.kind == "f":
            values[draw.random(COMPARED_ROWS) < 0.1] = np.nan
    theirs = session.run([matrix], {name: one.reshape(-1, 1) for name, one in probe.items()})[0]
    ours = JoinedColumns(features, {}).matrix(probe).T
    if not np.array_equal(ours, theirs, equal_nan=True):
        return None
    return JoinedColumns(features, encoders)


def _features(graph: Any, tensor: str, inputs: Mapping[str, type | None]) -> list[Feature] | None:
    """What the columns of a tensor are, or None where they are anything else."""
    from onnx import TensorProto, helper, numpy_helper

    if tensor in inputs:
        dtype = inputs[tensor]
        return None if dtype is None else [Feature(tensor, (dtype,))]
    makers = [node for node in graph.node if tensor in node.output]
    if len(makers) != 1:
        return None
    (node,) = makers
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Concat" and given["axis"] in (1, -1):
        parts = [_features(graph, name, inputs) for name in node.input]
        return None if None in parts else [one for part in parts if part for one in part]
    found = _features(graph, node.input[0], inputs) if node.input else None
    if found is None or node.op_type == "Identity":
        return found
    if node.op_type == "Cast":
        dtype = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}.get(given["to"])
        return dtype and [Feature(one.name, (*one.dtypes, dtype)) for one in found]
    if node.op_type == "Reshape" and len(found) == 1:
        shapes = [one for one in graph.initializer if one.name == node.input[1]]
        is_column = [numpy_helper.to_array(one).tolist() for one in shapes] == [[-1, 1]]
        return found if is_column else None
    return None
