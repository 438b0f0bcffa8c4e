"""An ONNX graph that takes codes in place of text: ONNX Runtime copies every string of a batch.

A string input that goes straight into a label encoder or a one-hot encoder becomes an integer:
what the encoder would have made of the text is looked up once per distinct value.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import BundleError

Encode = Callable[[Iterable[str]], np.ndarray]


class EncodedOnnx:
    """Scores as the graph at `path` does, on one thread for each caller."""

    def __init__(self, contract: Contract, path: Path) -> None:
        import onnx
        import onnxruntime

        try:
            model = onnx.load(path)
            self._encoders = without_text(model.graph)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise BundleError(f"{path} is no ONNX model that we can run: {error}") from error
        names = [node.name for node in self._session.get_outputs()]
        self._output = "probabilities" if "probabilities" in names else names[-1]
        self._names = [column.name for column in contract.columns]

    def score(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Probabilities (n, classes) or values (n, 1) of n rows, float64."""
        feed = {name: self._fed(name, columns[name]).reshape(-1, 1) for name in self._names}
        output = self._session.run([self._output], feed)[0]
        return np.asarray(output, dtype=np.float64).reshape(len(output), -1)

    def _fed(self, name: str, column: Column) -> np.ndarray:
        if not isinstance(column, Coded):
            return column
        encode = self._encoders.get(name)
        found = column.texts() if encode is None else encode(column.values)[column.codes]
        return np.asarray(found)


def without_text(graph: Any) -> dict[str, Encode]:
    """Change the graph in place; returns how the texts of each changed input are encoded."""
    from onnx import TensorProto

    encoders: dict[str, Encode] = {}
    for part in graph.input:
        readers = [node for node in graph.node if part.name in node.input]
        if part.type.tensor_type.elem_type != TensorProto.STRING or len(readers) != 1:
            continue
        (node,) = readers
        found = _label_encoder(node) or _one_hot(node)
        if found is not None:
            encoders[part.name], part.type.tensor_type.elem_type = found
    return encoders


def _label_encoder(node: Any) -> tuple[Encode, int] | None:
    """The text becomes the number that the encoder gives; the node passes it on."""
    from onnx import TensorProto

    given = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type != "LabelEncoder" or "keys_strings" not in given:
        return None
    if "values_int64s" in given:
        numbers: list[Any] = list(given["values_int64s"].ints)
        other: Any = given["default_int64"].i if "default_int64" in given else -1
        kind, dtype = TensorProto.INT64, np.int64
    elif "values_floats" in given:
        numbers = list(given["values_floats"].floats)
        other = given["default_float"].f if "default_float" in given else -0.0
        kind, dtype = TensorProto.FLOAT, np.float32  # type: ignore[assignment]
    else:
        return None
    known = dict(zip((key.decode() for key in given["keys_strings"].strings), numbers, strict=True))
    node.op_type, node.domain = "Identity", ""
    del node.attribute[:]
    return lambda texts: np.array([known.get(text, other) for text in texts], dtype), kind


def _one_hot(node: Any) -> tuple[Encode, int] | None:
    """The text becomes its place among the categories, -1 if it is none of them."""
    from onnx import TensorProto, helper

    given = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type != "OneHotEncoder" or "cats_strings" not in given:
        return None
    cats = [text.decode() for text in given["cats_strings"].strings]
    known = {text: place for place, text in enumerate(cats)}
    node.attribute.remove(given["cats_strings"])
    node.attribute.append(helper.make_attribute("cats_int64s", list(range(len(cats)))))
    return lambda texts: np.array([known.get(t, -1) for t in texts], np.int64), TensorProto.INT64
