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
