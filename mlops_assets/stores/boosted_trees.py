"""LightGBM and XGBoost models as trees that ONNX compares exactly as the libraries do.

The pipeline rounds to float32 before its trees, so all values are float32 on both sides. LightGBM
asks `x <= t` with t in float64: the greatest float32 that doesn't exceed t gives the same answers.
XGBoost asks `x < t` with t in float32. A missing value follows each split's own rule. Categories
are ordinals, so there are no splits by sets.

Sources: LightGBM's `Tree::NumericalDecision` (include/LightGBM/tree.h) and XGBoost's
`RegTree::GetNext` (include/xgboost/tree_model.h).
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Mode = Literal["BRANCH_LEQ", "BRANCH_LT"]
Link = Literal["NONE", "LOGISTIC", "SOFTMAX", "EXP"]


@dataclass(frozen=True)
class Node:
    """A split (`value` is its threshold), or a leaf (`left` is -1, `value` its weight)."""

    feature: int
    value: float
    left: int
    right: int
    missing_left: bool


@dataclass(frozen=True)
class Forest:
    """Trees that add up to `outputs` scores; tree i adds to score i modulo `outputs`."""

    trees: tuple[tuple[Node, ...], ...]
    mode: Mode
    outputs: int
    base: tuple[float, ...]
    link: Link


def forest_of(estimator: Any) -> Forest:
    """The fitted trees of a LightGBM or XGBoost estimator of their scikit-learn interfaces.

    Raises NotImplementedError, naming the setting, for what has no equal in ONNX.
    """
    if type(estimator).__module__.startswith("lightgbm"):
        return _lightgbm(estimator)
    return _xgboost(estimator)


def _lightgbm(estimator: Any) -> Forest:
    params = estimator.get_params()
    if params.get("linear_tree"):
        raise NotImplementedError("lightgbm with linear_tree=True has no equal in ONNX")
    model = estimator.booster_.dump_model()
    kind, *settings = str(model["objective"]).split()
    link = {
        "binary": "LOGISTIC",
        "multiclass": "SOFTMAX",
        **dict.fromkeys(("poisson", "gamma", "tweedie"), "EXP"),
        **dict.fromkeys(
            ("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "NONE"
        ),
    }.get(kind)
    if link is None or "sqrt" in settings:
        raise NotImplementedError(f"lightgbm's objective {model['objective']!r} is not converted")
    trees, outputs = model["tree_info"], int(model["num_tree_per_iteration"])
    # A forest's trees are averaged; `sigmoid` stretches the score.
    scale = outputs / len(trees) if model["average_output"] else 1.0
    for setting in settings:
        if setting.startswith("sigmoid:"):
            scale *= float(setting.removeprefix("sigmoid:"))
    found = tuple(tuple(_lightgbm_nodes(tree["tree_structure"], scale)) for tree in trees)
    return Forest(found, "BRANCH_LEQ", outputs, (), link)  # type: ignore[arg-type]


def _lightgbm_nodes(root: dict[str, Any], scale: float) -> Iterator[Node]:
    """The nodes in an order in which each one's place is known before it is named."""
    queue, count = [root], 1
    while queue:
        node = queue.pop(0)
        if "leaf_value" in node:
            yield Node(0, node["leaf_value"] * scale, -1, -1, False)
            continue
        if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
            raise NotImplementedError("lightgbm's splits by category or zero are not converted")
        threshold = float(node["threshold"])
        # Where training saw no missing value, LightGBM takes one for 0.
        left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
        yield Node(node["split_feature"], _float32_below(threshold), count, count + 1, bool(left))
        queue += [node["left_child"], node["right_child"]]
        count += 2


def _float32_below(value: float) -> float:
    """The greatest float32 that doesn't exceed `value`."""
    with np.errstate(over="ignore"):  # LightGBM's last threshold may be 1e300
        rounded = np.float32(value)
    below = np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > value else rounded
    return float(below)


def _xgboost(estimator: Any) -> Forest:
    if not math.isnan(float(estimator.missing)):
        raise NotImplementedError("xgboost with `missing` other than NaN has no equal in ONNX")
    learner = json.loads(bytes(estimator.get_booster().save_raw("json")))["learner"]
    objective, booster = learner["objective"]["name"], learner["gradient_booster"]
    link = {
        "binary:logistic": "LOGISTIC",
        "multi:softprob": "SOFTMAX",
        **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "EXP"),
        **dict.fromkeys(
            ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
            "NONE",
        ),
    }.get(objective)
    if link is None or booster["name"] != "gbtree":
        raise NotImplementedError(f"xgboost's {booster['name']} with {objective} is not converted")
    model, params = booster["model"], learner["learner_model_param"]
    outputs = max(1, int(params["num_class"]), int(params["num_target"]))
    per_round = outputs * int(model["gbtree_model_param"]["num_parallel_tree"])
    expected = [place % per_round * outputs // per_round for place in range(len(model["trees"]))]
    if model["tree_info"] != expected or int(params["num_target"]) > 1:
        raise NotImplementedError("xgboost's trees with several targets are not converted")
    base = np.atleast_1d(json.loads(params["base_score"])).astype(np.float64)
    if link == "LOGISTIC":
        base = np.log(base / (1 - base))
    elif link == "EXP":
        base = np.log(base)
    order = _by_turns(expected, outputs)
    trees = tuple(tuple(_xgboost_nodes(model["trees"][place])) for place in order)
    return Forest(trees, "BRANCH_LT", outputs, tuple(base.tolist()), link)  # type: ignore[arg-type]


def _by_turns(targets: list[int], outputs: int) -> list[int]:
    """Places of the trees in an order in which their targets take turns."""
    own = [[place for place, target in enumerate(targets) if target == k] for k in range(outputs)]
    return [place for places in zip(*own, strict=True) for place in places]


def _xgboost_nodes(tree: dict[str, Any]) -> Iterator[Node]:
    if any(tree["split_type"]) or int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise NotImplementedError("xgboost's splits by category or vector leaves are not converted")
    for left, right, value, feature, missing_left in zip(
        tree["left_children"],
        tree["right_children"],
        tree["split_conditions"],
        tree["split_indices"],
        tree["default_left"],
        strict=True,
    ):
        yield Node(feature, value, left, right, bool(missing_left))


def tree_attributes(forest: Forest, *, classes: int) -> dict[str, Any]:
    """Attributes of ONNX's TreeEnsembleClassifier, or of the Regressor where `classes` is 0."""
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    columns: dict[str, list[Any]] = {name: [] for name in NODE_COLUMNS}
    for tree_id, tree in enumerate(forest.trees):
        for node_id, node in enumerate(tree):
            leaf = node.left < 0
            row = (
                tree_id,
                node_id,
                0 if leaf else node.feature,
                0.0 if leaf else node.value,
                "LEAF" if leaf else forest.mode,
                0 if leaf else node.left,
                0 if leaf else node.right,
                int(not leaf and node.missing_left),
            )
            for name, value in zip(NODE_COLUMNS, row, strict=True):
                columns[name].append(value)
            if leaf:
                found = (tree_id, node_id, tree_id % forest.outputs, node.value)
                for name, value in zip(leaves, found, strict=True):
                    leaves[name].append(value)
    prefix = "class" if classes else "target"
    attributes: dict[str, Any] = {f"nodes_{name}": values for name, values in columns.items()}
    attributes |= {f"{prefix}_{name}": values for name, values in leaves.items()}
    if forest.base:
        base = forest.base if len(forest.base) == forest.outputs else forest.base * forest.outputs
        attributes["base_values"] = list(base)
    if classes:
        attributes["classlabels_int64s"] = list(range(classes))
        attributes["post_transform"] = forest.link
    else:
        attributes["n_targets"] = 1
    return attributes


NODE_COLUMNS = (
    "treeids",
    "nodeids",
    "featureids",
    "values",
    "modes",
    "truenodeids",
    "falsenodeids",
    "missing_value_tracks_true",
)


def register_converters() -> None:
    """Teach skl2onnx the estimators of those libraries that are installed."""
    from importlib.util import find_spec

    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    kinds: list[tuple[type, bool]] = []
    if find_spec("lightgbm"):
        import lightgbm

        kinds += [(lightgbm.LGBMClassifier, True), (lightgbm.LGBMRegressor, False)]
    if find_spec("xgboost"):
        import xgboost

        kinds += [(xgboost.XGBClassifier, True), (xgboost.XGBRegressor, False)]
    for kind, classifies in kinds:
        update_registered_converter(
            kind,
            f"MlopsAssets{kind.__name__}",
            calculate_linear_classifier_output_shapes
            if classifies
            else calculate_linear_regressor_output_shapes,
            _classifier_graph if classifies else _regressor_graph,
            overwrite=True,
            options={"zipmap": [True, False, "columns"], "nocl": [True, False]}
            if classifies
            else None,
        )


def _classifier_graph(scope: Any, operator: Any, container: Any) -> None:
    forest = forest_of(operator.raw_operator)
    if forest.link not in ("LOGISTIC", "SOFTMAX"):
        raise NotImplementedError(f"a classifier with the link {forest.link} is not converted")
    container.add_node(
        "TreeEnsembleClassifier",
        [operator.inputs[0].full_name],
        [output.full_name for output in operator.outputs],
        op_domain="ai.onnx.ml",
        op_version=3,
        name=scope.get_unique_operator_name("TreeEnsembleClassifier"),
        **tree_attributes(forest, classes=len(operator.raw_operator.classes_)),
    )


def _regressor_graph(scope: Any, operator: Any, container: Any) -> None:
    forest = forest_of(operator.raw_operator)
    output = operator.outputs[0].full_name
    scores = scope.get_unique_variable_name("scores") if forest.link == "EXP" else output
    container.add_node(
        "TreeEnsembleRegressor",
        [operator.inputs[0].full_name],
        [scores],
        op_domain="ai.onnx.ml",
        op_version=3,
        name=scope.get_unique_operator_name("TreeEnsembleRegressor"),
        **tree_attributes(forest, classes=0),
    )
    if forest.link == "EXP":
        name = scope.get_unique_operator_name("Exp")
        container.add_node("Exp", [scores], [output], op_version=13, name=name)
