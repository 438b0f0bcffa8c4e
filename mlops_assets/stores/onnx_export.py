"""Compile a fitted pipeline to ONNX, with one input per column of the contract.

Inputs are double, and the pipeline itself rounds to float32 just before its trees; a scaler in
float32 would move values across split points.
"""

from typing import Any

from mlops_assets.domain.contract import Contract
from mlops_assets.stores import derived_onnx
from mlops_assets.stores.boosted_onnx import register_converters

OPSET = {"": 17, "ai.onnx.ml": 3}


def to_onnx(pipeline: Any, contract: Contract) -> bytes:
    """Return the serialised graph.

    Outputs are `label` and `probabilities` for a classifier, `variable` for a regressor. Raises
    whatever skl2onnx raises for a step that it cannot convert, NotImplementedError for a boosting
    library's setting that has no equal in ONNX.
    """
    from skl2onnx import convert_sklearn, update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    from mlops_assets.domain.features import AsFloat32, DeriveColumns
    from mlops_assets.domain.imbalance import BalancedClasses, fitted_estimator

    register_converters()
    derived_onnx.register()
    update_registered_converter(
        DeriveColumns,
        "MlopsAssetsDeriveColumns",
        _derived_shape,
        _derived_graph,
        overwrite=True,
    )
    update_registered_converter(
        AsFloat32,
        "MlopsAssetsAsFloat32",
        _float32_shape,
        _float32_graph,
        overwrite=True,
        parser=_float32_parser,
    )
    # ONNX Runtime has no Imputer for doubles; a choice between two values needs none.
    update_registered_converter(
        SimpleImputer, "MlopsAssetsImputer", _imputer_shape, _imputer_graph, overwrite=True
    )
    inputs = [
        (
            column.name,
            StringTensorType([None, 1])
            if column.type == "category"
            else DoubleTensorType([None, 1]),
        )
        for column in contract.columns
    ]
    estimator, last = fitted_estimator(pipeline), pipeline.named_steps["model"]
    options = {id(estimator): {"zipmap": False}} if contract.task != "regression" else None
    plain = Pipeline([*pipeline.steps[:-1], ("model", estimator)])
    model = convert_sklearn(plain, initial_types=inputs, options=options, target_opset=OPSET)
    thresholds = _tree_thresholds(estimator)
    if thresholds:
        _round_thresholds_down(model.graph, thresholds)
    _name_inputs(model.graph, [column.name for column in contract.columns])
    if isinstance(last, BalancedClasses):
        _scale_probabilities(model.graph, last.scale_)
    return bytes(model.SerializeToString())


def _scale_probabilities(graph: Any, scale: Any) -> None:
    """Multiply the probabilities by `scale` (k,), make each row add up to 1, drop the label."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    told, label = "probabilities", "label"
    kind = next(one.type.tensor_type.elem_type for one in graph.output if one.name == told)
    for node in graph.node:
        node.output[:] = ["balanced" if name == told else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(scale.astype(np.float64), "class_scale"))
    axis = numpy_helper.from_array(np.array([1], dtype=np.int64), "class_axis")
    graph.initializer.append(axis)
    graph.node.extend(
        [
            helper.make_node("Cast", ["balanced"], ["precise"], to=TensorProto.DOUBLE),
            helper.make_node("Mul", ["precise", "class_scale"], ["scaled"]),
            helper.make_node("ReduceSum", ["scaled", "class_axis"], ["row_sum"], keepdims=1),
            helper.make_node("Div", ["scaled", "row_sum"], ["rescaled"]),
            helper.make_node("Cast", ["rescaled"], [told], to=kind),
        ]
    )
    # It is that of the balanced world; predictions follow the probabilities.
    kept = [output for output in graph.output if output.name != label]
    del graph.output[:]
    graph.output.extend(kept)


def _name_inputs(graph: Any, names: list[str]) -> None:
    """Give inputs their columns' names again, which the converter turned into identifiers."""
    new = {part.name: name for part, name in zip(graph.input, names, strict=True)}
    taken = {name for node in graph.node for name in node.output}
    for name in taken.intersection(names):
        raise ValueError(f"column {name!r} has the name of a step of the ONNX graph: rename it")
    for part in graph.input:
        part.name = new[part.name]
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]


def _tree_thresholds(estimator: Any) -> list[Any]:
    """The trees' thresholds as fitted, float64, one array per tree in the graph's order."""
    from sklearn.ensemble._forest import ForestClassifier, ForestRegressor

    if hasattr(estimator, "_predictors"):
        key = "num_threshold"
        return [tree.nodes[key] for iteration in estimator._predictors for tree in iteration]
    # Other ensembles of trees add them up in other ways, or in several graphs.
    if isinstance(estimator, ForestClassifier | ForestRegressor):
        return [tree.tree_.threshold for tree in estimator.estimators_]
    return []


def _round_thresholds_down(graph: Any, thresholds: list[Any]) -> None:
    """Make `x <= t` true for the same float32 values of x in the graph as in the fitted trees.

    The converter rounds a threshold to the nearest float32, which may be the very value that the
    tree sends to the other side; the greatest float32 that doesn't exceed it never is.
    """
    import numpy as np

    for node in graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        starts = np.cumsum([0, *(len(tree) for tree in thresholds[:-1])])
        places = starts[list(attributes["nodes_treeids"].ints)]
        places = places + np.array(attributes["nodes_nodeids"].ints)
        exact = np.concatenate(thresholds)[places].astype(np.float64)
        rounded = exact.astype(np.float32)
        down = np.nextafter(rounded, np.float32(-np.inf))
        rounded = np.where(rounded.astype(np.float64) > exact, down, rounded)
        is_split = np.array([mode == b"BRANCH_LEQ" for mode in attributes["nodes_modes"].strings])
        before = np.array(attributes["nodes_values"].floats, dtype=np.float32)
        values = np.where(is_split, rounded, before)
        del attributes["nodes_values"].floats[:]
        attributes["nodes_values"].floats.extend(values.tolist())


def _float32_parser(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    # The converter of the next step reads the type before shapes are inferred.
    from skl2onnx.common.data_types import FloatTensorType

    operator = scope.declare_local_operator("MlopsAssetsAsFloat32", model)
    operator.inputs.extend(inputs)
    output = scope.declare_local_variable("float32", FloatTensorType())
    operator.outputs.append(output)
    return operator.outputs


def _float32_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.n_features_in_])


def _float32_graph(scope: Any, operator: Any, container: Any) -> None:
    from onnx import TensorProto
    from skl2onnx.algebra.onnx_ops import OnnxCast

    graph = OnnxCast(
        operator.inputs[0],
        to=TensorProto.FLOAT,
        op_version=container.target_opset,
        output_names=operator.outputs[:1],
    )
    graph.add_to(scope, container)


def _imputer_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType

    operator.outputs[0].type = DoubleTensorType([None, len(operator.raw_operator.statistics_)])


def _imputer_graph(scope: Any, operator: Any, container: Any) -> None:
    import numpy as np
    from skl2onnx.algebra.onnx_ops import OnnxIsNaN, OnnxWhere

    here: dict[str, Any] = {"op_version": container.target_opset}
    source = operator.inputs[0]
    fill = np.nan_to_num(operator.raw_operator.statistics_.astype(np.float64)).reshape(1, -1)
    graph = OnnxWhere(
        OnnxIsNaN(source, **here), fill, source, output_names=operator.outputs[:1], **here
    )
    graph.add_to(scope, container)


def _derived_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType

    width = 2 if operator.raw_operator.kind == "cyclical" else 1
    operator.outputs[0].type = DoubleTensorType([None, width])


def _derived_graph(scope: Any, operator: Any, container: Any) -> None:
    import numpy as np
    from skl2onnx.algebra.onnx_ops import (
        OnnxAdd,
        OnnxConcat,
        OnnxCos,
        OnnxDiv,
        OnnxEqual,
        OnnxGather,
        OnnxGreater,
        OnnxIsNaN,
        OnnxLog,
        OnnxMul,
        OnnxOr,
        OnnxRound,
        OnnxSin,
        OnnxSub,
        OnnxWhere,
    )

    from mlops_assets.domain.features import DeriveColumns

    step = operator.raw_operator
    source = operator.inputs[0]
    version = container.target_opset
    here: dict[str, Any] = {"op_version": version}

    def constant(value: float) -> Any:
        return np.array([value], dtype=np.float64)

    def column(index: int) -> Any:
        return OnnxGather(source, np.array([index], dtype=np.int64), axis=1, **here)

    first, last = column(0), column(step.n_features_in_ - 1)
    nan, zero, one = constant(np.nan), constant(0.0), constant(1.0)
    final: dict[str, Any] = {**here, "output_names": operator.outputs[:1]}
    if step.kind == "difference":
        graph = OnnxSub(first, last, **final)
    elif step.kind == "product":
        graph = OnnxMul(first, last, **final)
    elif step.kind == "sum":
        total = first
        for index in range(1, step.n_features_in_ - 1):
            total = OnnxAdd(total, column(index), **here)
        graph = OnnxAdd(total, last, **final)
    elif step.kind == "ratio":
        empty = OnnxEqual(last, zero, **here)
        safe = OnnxWhere(empty, one, last, **here)
        graph = OnnxWhere(empty, nan, OnnxDiv(first, safe, **here), **final)
    elif step.kind == "log1p":
        usable = OnnxGreater(first, constant(-1.0), **here)
        safe = OnnxWhere(usable, first, zero, **here)
        logarithm = OnnxLog(OnnxAdd(safe, one, **here), **here)
        bad = OnnxOr(OnnxIsNaN(first, **here), OnnxEqual(usable, np.array([False]), **here), **here)
        graph = OnnxWhere(bad, nan, logarithm, **final)
    else:
        angle = OnnxMul(first, constant(2 * np.pi / float(step.cycle or 1.0)), **here)
        waves = OnnxConcat(OnnxSin(angle, **here), OnnxCos(angle, **here), axis=1, **here)
        scale = constant(DeriveColumns.CYCLE_SCALE)
        graph = OnnxDiv(OnnxRound(OnnxMul(waves, scale, **here), **here), scale, **final)
    graph.add_to(scope, container)
