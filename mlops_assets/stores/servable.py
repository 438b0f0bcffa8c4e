"""Whether a fitted pipeline can be served at all: compiled, or read by skops from a list of types.

Nothing that is served is ever unpickled, so a class that neither ONNX nor our list of trusted types
knows cannot serve, however well it predicts. That is told before a search is spent on it.
"""

from typing import Any

from mlops_assets.domain.contract import Contract
from mlops_assets.stores.bundles import TRUSTED_TYPES
from mlops_assets.stores.onnx_export import to_onnx


def why_not_compiled(pipeline: Any, contract: Contract) -> tuple[bytes, str]:
    """The ONNX graph, or an empty one and why there is none."""
    try:
        return to_onnx(pipeline, contract), ""
    except Exception as error:  # noqa: BLE001 - converters of other libraries raise anything
        told = " ".join(str(error).split())
        return b"", f"the pipeline does not convert: {told or repr(error)}"


def untrusted_types(stored: bytes) -> tuple[str, ...]:
    """Types in a skops file that serving would refuse."""
    import skops.io

    return tuple(sorted(set(skops.io.get_untrusted_types(data=stored)) - set(TRUSTED_TYPES)))


def stored(pipeline: Any) -> bytes:
    """The pipeline in skops' format. Raises ValueError for what it has no form for."""
    import skops.io

    try:
        content: bytes = skops.io.dumps(pipeline)
    except Exception as error:  # estimators of other libraries raise anything
        raise ValueError(f"skops cannot store it: {error!r}") from error
    return content


def why_not_servable(pipeline: Any, contract: Contract) -> str:
    """Why neither runtime could serve a pipeline like this one; empty if one can."""
    import onnxruntime

    graph, refused = why_not_compiled(pipeline, contract)
    if graph:
        try:
            onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - it has an exception of its own per mishap
            graph, refused = b"", f"the compiled pipeline does not run: {error}"
    try:
        types = untrusted_types(stored(pipeline))
    except ValueError as error:
        # The bundle keeps the fitted pipeline besides the graph.
        return str(error)
    if graph or not types:
        return ""
    return f"{refused[:300]}; and serving reads no pickle, so it does not trust {', '.join(types)}"
