"""As little as can stand between a socket and ONNX Runtime in Python."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import orjson

from benchmarks.serving.apps.columns import CATEGORIES, NUMBERS

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"]
)
TYPES: dict[str, Any] = {
    **dict.fromkeys(NUMBERS, np.float64),
    **dict.fromkeys(CATEGORIES, object),
}
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json")],
}


async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[..., Any]) -> None:
    """Any request is a prediction: one value or one list per column."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    columns = orjson.loads(body)
    feed = {name: np.array(columns[name], kind, ndmin=2).T for name, kind in TYPES.items()}
    output = session.run(["probabilities"], feed)[0]
    await send(START)
    answer = orjson.dumps(output, option=orjson.OPT_SERIALIZE_NUMPY)
    await send({"type": "http.response.body", "body": answer})
