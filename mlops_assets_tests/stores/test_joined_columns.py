"""Columns joined by us, against ONNX Runtime on the same graph."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.stores.encoded_onnx import without_text
from mlops_assets.stores.joined_columns import (
    MOST_KEPT,
    Feature,
    JoinedColumns,
    JoinedRecord,
    joined_columns,
)

KINDS = {
    "a": TensorProto.DOUBLE,
    "b": TensorProto.FLOAT,
    "c": TensorProto.STRING,
    "d": TensorProto.STRING,
}
# Of a float64 that no float32 holds, one that is too large for it, and a missing one.
NUMBERS = np.array([0.1, 1e300, np.nan, -0.0, 16_777_217.0])
TEXTS = ["x", "new", "", "ö", "x"]
COLUMNS: dict[str, Column] = {
    "a": NUMBERS,
    "b": np.array([np.inf, 0.1, np.nan, -0.0, 7.0], dtype=np.float32),
    "c": Coded.of(TEXTS),
    "d": np.array(TEXTS, dtype=object),
}


def encoder(name: str) -> Any:
    return helper.make_node(
        "LabelEncoder",
        [name],
        [f"{name} encoded"],
        domain="ai.onnx.ml",
        keys_strings=["ö", "x", "never"],
        values_int64s=[0, 16_777_217, 2],
        default_int64=-1,
    )


def nodes() -> list[Any]:
    """Casts, encodes and joins all inputs, one of them twice."""
    return [
        encoder("c"),
        encoder("d"),
        helper.make_node("Reshape", ["d encoded", "shape"], ["d column"]),
        helper.make_node("Concat", ["c encoded", "d column"], ["texts"], axis=1),
        helper.make_node("Cast", ["texts"], ["texts as floats"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["b"], ["b as double"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["texts as floats"], ["more"], to=TensorProto.DOUBLE),
        helper.make_node("Concat", ["more", "b as double", "a", "more"], ["all"], axis=-1),
        helper.make_node("Cast", ["all"], ["as floats"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["as floats"], ["matrix"]),
    ]


def graph_of(nodes: list[Any]) -> Any:
    matrix = helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [None, None])
    inputs = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in KINDS.items()]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 1])
    scale = helper.make_tensor("scale", TensorProto.DOUBLE, [1], [2.0])
    return helper.make_graph(nodes, "columns", inputs, [matrix], [shape, scale])


def session_of(graph: Any) -> Any:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 9
    return onnxruntime.InferenceSession(model.SerializeToString())


def joined(nodes: list[Any]) -> JoinedColumns | None:
    graph = graph_of(nodes)
    encoders = without_text(graph)
    return joined_columns(graph, "matrix", session_of(graph), encoders)


def theirs(columns: dict[str, Column]) -> np.ndarray:
    feed = {
        name: (column.texts() if isinstance(column, Coded) else column).reshape(-1, 1)
        for name, column in columns.items()
    }
    found: np.ndarray = session_of(graph_of(nodes())).run(["matrix"], feed)[0]
    return found


def test_the_matrix_is_that_of_onnx_runtime():
    found = joined(nodes())
    assert found is not None
    matrix = found.matrix(COLUMNS)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix.T, theirs(COLUMNS), strict=True)
    assert np.signbit(matrix[2]).tolist() == np.signbit(COLUMNS["b"]).tolist()


def test_levels_are_encoded_anew_when_a_request_has_others():
    found = joined(nodes())
    assert found is not None
    for texts in (TEXTS, TEXTS, TEXTS[::-1], ["x"] * 5, TEXTS):
        columns = {**COLUMNS, "c": Coded.of(texts)}
        np.testing.assert_array_equal(found.matrix(columns).T, theirs(columns))


@pytest.mark.parametrize(("levels", "kept"), [(MOST_KEPT, 1), (MOST_KEPT + 1, 2)])
def test_levels_are_encoded_once_unless_they_are_very_many(levels: int, kept: int):
    asked = []

    def encode(texts: Iterable[str]) -> np.ndarray:
        asked.append(list(texts))
        return np.arange(levels)

    found = JoinedColumns([Feature("c", ())], {"c": encode})
    for _ in range(2):
        column = Coded(np.arange(levels), tuple(f"level {place}" for place in range(levels)))
        np.testing.assert_array_equal(found.matrix({"c": column}), [np.arange(levels)])
    assert len(asked) == kept


@pytest.mark.parametrize(
    ("place", "node"),
    [
        (5, helper.make_node("Mul", ["a", "scale"], ["b as double"])),
        (7, helper.make_node("Concat", ["b as double", "a"], ["all"], axis=0)),
        (7, helper.make_node("Identity", ["a"], ["all"])),
        (4, helper.make_node("Abs", ["texts"], ["texts as floats"])),
    ],
    ids=["a scale", "rows are joined", "an input is unused", "another function"],
)
def test_any_other_graph_is_left_to_onnx_runtime(place: int, node: Any):
    graph = graph_of([*nodes()[:place], node, *nodes()[place + 1 :]])
    encoders = without_text(graph)
    session = session_of(graph_of(nodes()))
    assert joined_columns(graph, "matrix", session, encoders) is None


def test_a_text_that_is_not_encoded_is_left_to_onnx_runtime():
    graph = graph_of(nodes())
    assert joined_columns(graph, "matrix", session_of(graph), {}) is None


def test_a_matrix_that_differs_from_that_of_onnx_runtime_is_not_used():
    graph, other = graph_of(nodes()), graph_of(nodes())
    encoders = without_text(graph)
    without_text(other)
    other.node[7].input[1:3] = ["a", "b as double"]
    assert joined_columns(graph, "matrix", session_of(graph), encoders) is not None
    assert joined_columns(graph, "matrix", session_of(other), encoders) is None


def test_a_tensor_that_nothing_makes_is_left_alone():
    graph = graph_of(nodes())
    encoders = without_text(graph)
    assert joined_columns(graph, "missing", session_of(graph), encoders) is None


def test_the_row_of_a_record_is_that_of_its_columns():
    made = joined(nodes())
    assert made is not None
    names = ["d", "b", "a", "c"]
    record = JoinedRecord(made, names)
    columns = {**COLUMNS, "b": np.array([np.inf, 0.1, np.nan, -0.0, 7.0], dtype=np.float32)}
    expected = made.matrix(columns).T
    for _ in range(2):
        for row, want in enumerate(expected):
            values = [columns[name].tolist()[row] for name in names]
            values = [None if value != value else value for value in values]
            np.testing.assert_array_equal(record.matrix(values), [want])


def test_texts_of_records_are_remembered_up_to_a_limit():
    def lengths(texts: Iterable[str]) -> np.ndarray:
        return np.array([*map(len, texts)])

    record = JoinedRecord(JoinedColumns([Feature("c", (np.int64,))], {"c": lengths}), ["c"])
    for size in range(2 * MOST_KEPT):
        assert record.matrix(["x" * size]) == size
    ((_, codes),) = record._features
    assert codes is not None
    assert len(codes) == MOST_KEPT
