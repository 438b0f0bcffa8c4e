"""An ONNX model in two halves, for requests of many rows: the graph up to its trees, and these.

ONNX Runtime walks trees row by row, which takes most of the time of a request of thousands of
rows. `domain.tree_scoring` finds the same leaves several times faster; the sums may differ in the
last bits of a float32, as any two orders of adding do. Both are compared when a model is loaded.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.tree_scoring import MOST_LEAVES, Tree, TreeScorer
from mlops_assets.stores.encoded_onnx import Encode, without_text
from mlops_assets.stores.joined_columns import (
    NUMBERS,
    JoinedColumns,
    JoinedRecord,
    joined_columns,
)

logger = logging.getLogger(__name__)

# The graph hands the trees one matrix of this name.
MATRIX = "features of the trees"
# From here on the look-ups, one per feature and row, cost as much as the walks.
MOST_FEATURES = 48
COMPARED_ROWS = 512
# Bytes. A graph is read at several times its size, and ensembles of small trees are smaller.
LARGEST = 32 * 1024 * 1024
DTYPES: dict[str, type] = {**NUMBERS, "tensor(string)": object}
TOLERANCE = 1e-6


@dataclass(frozen=True)
class BulkOnnx:
    """Scores many rows as ONNX Runtime would, within float32's rounding.

    `session` makes the trees' matrix, but where `joined` can.
    """

    session: Any
    joined: JoinedColumns | None
    dtypes: Mapping[str, type]
    encoders: Mapping[str, Encode]
    trees: TreeScorer
    base: np.ndarray
    link: str

    def score(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Probabilities (n, classes) or values (n, 1), float64."""
        if self.joined is not None:
            return self.of_matrix(self.joined.matrix(columns).T)
        feed: dict[str, np.ndarray] = {
            name: self._fed(name, columns[name]).reshape(-1, 1).astype(dtype, copy=False)
            for name, dtype in self.dtypes.items()
        }
        return self.of_matrix(self.session.run([MATRIX], feed)[0])

    def record_maker(self, names: Sequence[str]) -> JoinedRecord | None:
        """What makes the trees' row of one record, or None where ONNX Runtime is faster."""
        if self.joined is None or not self.trees.is_quick_for_few:
            return None
        return JoinedRecord(self.joined, names)

    def _fed(self, name: str, column: Column) -> np.ndarray:
        encode = self.encoders.get(name)
        if isinstance(column, Coded):
            return column.texts() if encode is None else encode(column.values)[column.codes]
        return column if encode is None else encode(column)

    def of_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """The same for the trees' own inputs, float32 of shape (n, features)."""
        sums = self.trees.sums(matrix).astype(np.float64) + self.base
        if self.link == "NONE":
            return np.asarray(sums)
        with np.errstate(over="ignore"):
            if self.link == "LOGISTIC":
                found = np.empty((len(sums), 2))
                np.divide(1.0, 1.0 + np.exp(-sums[:, 0]), out=found[:, 1])
                np.subtract(1.0, found[:, 1], out=found[:, 0])
                return found
            odds = np.exp(sums - sums.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def bulk_of(path: Path, output: str, options: Any) -> BulkOnnx | None:
    """The model at `path` in two halves, or None where ONNX Runtime had better do it alone.

    `output` names what is wanted of the graph, `options` are ONNX Runtime's of the session.
    """
    try:
        return _bulk_of(path, output, options)
    except Exception as error:  # noqa: BLE001 - whatever a graph holds, ONNX Runtime can serve it
        logger.warning("%s: many rows are left to ONNX Runtime: %r", path, error)
        return None


def _bulk_of(path: Path, output: str, options: Any) -> BulkOnnx | None:
    import onnx
    import onnxruntime

    if path.stat().st_size > LARGEST:
        return None
    model = onnx.load(path)
    made = [node for node in model.graph.node if output in node.output]
    if len(made) != 1 or made[0].op_type not in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
        return None
    node = made[0]
    try:
        trees, base, link = _ensemble(node)
    except ValueError as error:
        logger.info("%s: many rows are left to ONNX Runtime: %s", path.parent, error)
        return None
    if len(trees.features) > MOST_FEATURES:
        return None
    encoders = without_text(model.graph)
    half = _until(model, node)
    session = onnxruntime.InferenceSession(half.SerializeToString(), options)
    if session.get_outputs()[0].type != "tensor(float)":
        return None
    dtypes = {node.name: DTYPES[node.type] for node in session.get_inputs()}
    alone = onnxruntime.InferenceSession(_alone(model, node, output), options)
    joined = joined_columns(half.graph, MATRIX, session, encoders)
    bulk = BulkOnnx(session, joined, dtypes, encoders, trees, base, link)
    matrix = _probe(node)
    theirs = np.asarray(alone.run([output], {MATRIX: matrix})[0]).reshape(len(matrix), -1)
    gap = np.abs(bulk.of_matrix(matrix) - theirs) / np.maximum(np.abs(theirs), 1.0)
    if gap.shape != theirs.shape or not gap.max() <= TOLERANCE:
        logger.info("%s: our trees differ from ONNX Runtime's, which are used", path)
        return None
    return bulk


def _attributes(node: Any) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


def _ensemble(node: Any) -> tuple[TreeScorer, np.ndarray, str]:
    """The trees, what is added to their sums, and the link. Raises ValueError for other kinds."""
    # Before anything is made of the nodes: a forest has millions.
    most = _most_leaves(node)
    if most > MOST_LEAVES:
        raise ValueError(f"a tree has {most} leaves, the limit is {MOST_LEAVES}")
    given = _attributes(node)
    modes = {mode.decode() for mode in given["nodes_modes"]} - {"LEAF"}
    link = given.get("post_transform", b"NONE").decode()
    if len(modes) != 1 or not modes <= {"BRANCH_LEQ", "BRANCH_LT"}:
        raise ValueError(f"its trees branch by {sorted(modes)}")
    if given.get("aggregate_function", b"SUM") != b"SUM":
        raise ValueError("its trees are not summed")
    classes = len(given.get("classlabels_int64s") or given.get("classlabels_strings") or [])
    prefix = "class" if classes else "target"
    outputs = _outputs(given, prefix)
    used = len(set(outputs))
    kinds = {("LOGISTIC", 2, 1), ("NONE", 0, 1), ("SOFTMAX", classes, max(classes, 3))}
    if (link, classes, used) not in kinds:
        raise ValueError(f"{used} outputs with the link {link} for {classes} classes")
    base = np.array(given.get("base_values") or [0.0] * used, dtype=np.float64)
    if len(base) != used:
        raise ValueError(f"{len(base)} base values for {used} outputs")
    return TreeScorer(_trees(given, prefix), outputs, modes == {"BRANCH_LT"}), base, link


def _most_leaves(node: Any) -> int:
    """Leaves of the largest tree; a binary tree of n nodes has (n + 1) / 2."""
    places = next(one.ints for one in node.attribute if one.name == "nodes_treeids")
    trees = np.fromiter(places, dtype=np.int64, count=len(places))
    return (int(np.unique(trees, return_counts=True)[1].max()) + 1) // 2


def _outputs(given: dict[str, Any], prefix: str) -> list[int]:
    """The output to which each tree adds."""
    found: dict[int, set[int]] = {}
    for tree, output in zip(given[f"{prefix}_treeids"], given[f"{prefix}_ids"], strict=True):
        found.setdefault(tree, set()).add(output)
    if sorted(found) != list(range(len(found))) or any(len(one) != 1 for one in found.values()):
        raise ValueError("a tree has several outputs")
    return [next(iter(found[tree])) for tree in range(len(found))]


def _trees(given: dict[str, Any], prefix: str) -> list[Tree]:
    ids = list(zip(given["nodes_treeids"], given["nodes_nodeids"], strict=True))
    leaves = zip(given[f"{prefix}_treeids"], given[f"{prefix}_nodeids"], strict=True)
    outputs = dict(zip(leaves, given[f"{prefix}_weights"], strict=True))
    missing = given.get("nodes_missing_value_tracks_true") or [0] * len(ids)
    nodes: list[list[tuple[int, float, int, int, bool]]] = [[] for _ in range(ids[-1][0] + 1)]
    for place, (tree, node) in enumerate(ids):
        if node != len(nodes[tree]):
            raise ValueError("its nodes are not in order")
        is_leaf = given["nodes_modes"][place] == b"LEAF"
        nodes[tree].append(
            (
                given["nodes_featureids"][place],
                outputs[tree, node] if is_leaf else given["nodes_values"][place],
                -1 if is_leaf else given["nodes_truenodeids"][place],
                -1 if is_leaf else given["nodes_falsenodeids"][place],
                bool(missing[place]),
            )
        )
    return [Tree(*zip(*one, strict=True)) for one in nodes]


def _until(model: Any, node: Any) -> Any:
    """The graph without what comes after the trees' inputs."""
    import onnx

    part = onnx.ModelProto()
    part.CopyFrom(model)
    needed, kept = {node.input[0]}, []
    for one in reversed(list(part.graph.node)):
        if needed & set(one.output):
            needed |= set(one.input)
            kept.append(one)
    identity = onnx.helper.make_node("Identity", [node.input[0]], [MATRIX])
    nodes = [*reversed(kept), identity]
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    # Of whatever type it is.
    part.graph.output.append(onnx.ValueInfoProto(name=MATRIX))
    return part


def _alone(model: Any, node: Any, output: str) -> bytes:
    """A graph of the trees only."""
    import onnx

    trees = onnx.NodeProto()
    trees.CopyFrom(node)
    trees.input[0] = MATRIX
    kind = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([trees], "trees", [_matrix()], [kind])
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    alone.ir_version = model.ir_version
    content: bytes = alone.SerializeToString()
    return content


def _matrix() -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info(MATRIX, onnx.TensorProto.FLOAT, [None, None])


def _probe(node: Any) -> np.ndarray:
    """Rows at, just below and just above thresholds, and missing ones: where trees may differ."""
    given = _attributes(node)
    draw = np.random.default_rng(0)
    features = np.array(given["nodes_featureids"])
    values = np.array(given["nodes_values"], dtype=np.float32)
    inner = np.array(given["nodes_modes"]) != b"LEAF"
    matrix = np.zeros((COMPARED_ROWS, int(features.max()) + 1), dtype=np.float32)
    for feature in np.unique(features[inner]):
        at = draw.choice(values[inner & (features == feature)], COMPARED_ROWS)
        to = np.array([-np.inf, 0, np.inf], dtype=np.float32)[draw.integers(0, 3, COMPARED_ROWS)]
        with np.errstate(over="ignore", under="ignore"):
            moved = np.where(to == 0, at, np.nextafter(at, to))
        matrix[:, feature] = np.where(draw.random(COMPARED_ROWS) < 0.1, np.nan, moved)
    return matrix
