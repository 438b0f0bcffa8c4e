"""LightGBM and XGBoost estimators as ONNX: converters for skl2onnx, over `boosted_trees`."""

from typing import Any

from mlops_assets.stores.boosted_trees import Forest, forest_of

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
