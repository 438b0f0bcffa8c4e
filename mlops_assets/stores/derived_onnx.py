"""Converters to ONNX of the steps that make derived columns, exact to the last bit.

Numbers are doubles throughout. What a step looks up by text becomes an integer first, since label
encoders give floats or integers only.
"""

from typing import Any

ML = {"op_domain": "ai.onnx.ml", "op_version": 2}


def register() -> None:
    """Tell skl2onnx about the steps; may be called again."""
    from skl2onnx import update_registered_converter
    from sklearn.preprocessing import TargetEncoder

    from mlops_assets.domain.bins import Bins
    from mlops_assets.domain.levels import FrequentLevels

    for kind, shape, graph in (
        (Bins, _bins_shape, _bins_graph),
        (FrequentLevels, _levels_shape, _levels_graph),
        (TargetEncoder, _target_shape, _target_graph),
    ):
        update_registered_converter(
            kind, f"MlopsAssets{kind.__name__}", shape, graph, overwrite=True
        )


def _doubles(operator: Any, width: int) -> None:
    from skl2onnx.common.data_types import DoubleTensorType

    operator.outputs[0].type = DoubleTensorType([None, width])


def _bins_shape(operator: Any) -> None:
    step = operator.raw_operator
    _doubles(operator, len(step.edges_) + 2 if step.one_hot else 1)


def _bins_graph(scope: Any, operator: Any, container: Any) -> None:
    import numpy as np
    from onnx import TensorProto
    from skl2onnx.algebra.onnx_ops import (
        OnnxCast,
        OnnxEqual,
        OnnxGreaterOrEqual,
        OnnxIsNaN,
        OnnxReduceSum,
        OnnxWhere,
    )

    step, source = operator.raw_operator, operator.inputs[0]
    here: dict[str, Any] = {"op_version": container.target_opset}
    final = {**here, "output_names": operator.outputs[:1]}
    # Without any edge, one that is reached by nothing that is counted: every number is in bin 0.
    edges = step.edges_ if len(step.edges_) else np.array([np.nan])
    reached = OnnxCast(
        OnnxGreaterOrEqual(source, edges.reshape(1, -1), **here), to=TensorProto.INT64, **here
    )
    count = OnnxReduceSum(reached, np.array([1], dtype=np.int64), keepdims=1, **here)
    found = OnnxWhere(OnnxIsNaN(source, **here), np.array([-1], dtype=np.int64), count, **here)
    if step.one_hot:
        places = np.arange(-1, len(step.edges_) + 1, dtype=np.int64).reshape(1, -1)
        found = OnnxEqual(found, places, **here)
    OnnxCast(found, to=TensorProto.DOUBLE, **final).add_to(scope, container)


def _levels_shape(operator: Any) -> None:
    step = operator.raw_operator
    _doubles(operator, len(step.levels_) + 1 if step.one_hot else 1)


def _levels_graph(scope: Any, operator: Any, container: Any) -> None:
    import numpy as np
    from onnx import TensorProto

    step = operator.raw_operator
    found = _looked_up(scope, operator, container, step.levels_, first=1, other=0)
    if step.one_hot:
        places = np.arange(len(step.levels_) + 1, dtype=np.int64)
        against = _constant(scope, container, places.reshape(1, -1))
        found = _node(scope, container, "Equal", [found, against])
    output = operator.outputs[0].full_name
    container.add_node(
        "Cast", [found], [output], op_version=13, to=TensorProto.DOUBLE, name=_name(scope, "Cast")
    )


def _target_shape(operator: Any) -> None:
    step = operator.raw_operator
    _doubles(operator, len(step.encodings_))


def _target_graph(scope: Any, operator: Any, container: Any) -> None:
    """A table of encodings, whose last row is for levels that training did not see."""
    import numpy as np

    step = operator.raw_operator
    if len(step.categories_) != 1:
        raise NotImplementedError("a target encoder of several columns at once")
    (levels,) = step.categories_
    means = np.atleast_1d(np.asarray(step.target_mean_, dtype=np.float64))
    table = np.column_stack(
        [np.append(found, mean) for found, mean in zip(step.encodings_, means, strict=True)]
    )
    place = _looked_up(scope, operator, container, levels, first=0, other=len(levels))
    flat = _node(
        scope,
        container,
        "Reshape",
        [place, _constant(scope, container, np.array([-1], dtype=np.int64))],
    )
    container.add_node(
        "Gather",
        [_constant(scope, container, table), flat],
        [operator.outputs[0].full_name],
        op_version=13,
        axis=0,
        name=_name(scope, "Gather"),
    )


def _looked_up(
    scope: Any, operator: Any, container: Any, levels: Any, *, first: int, other: int
) -> str:
    """Numbers of the levels from `first` on; `other` for text that is none of them."""
    output = str(scope.get_unique_variable_name("level"))
    container.add_node(
        "LabelEncoder",
        [operator.inputs[0].full_name],
        [output],
        name=_name(scope, "LabelEncoder"),
        keys_strings=[str(level) for level in levels],
        values_int64s=list(range(first, first + len(levels))),
        default_int64=other,
        **ML,
    )
    return output


def _constant(scope: Any, container: Any, values: Any) -> str:
    from onnx import TensorProto

    kind = TensorProto.INT64 if values.dtype.kind == "i" else TensorProto.DOUBLE
    name = str(scope.get_unique_variable_name("constant"))
    container.add_initializer(name, kind, values.shape, values.ravel().tolist())
    return name


def _node(scope: Any, container: Any, kind: str, inputs: list[str]) -> str:
    output = str(scope.get_unique_variable_name(kind.lower()))
    container.add_node(kind, inputs, [output], op_version=13, name=_name(scope, kind))
    return output


def _name(scope: Any, kind: str) -> str:
    return str(scope.get_unique_operator_name(kind))
