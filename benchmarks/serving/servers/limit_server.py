"""The limit: raw ASGI and ONNX Runtime, with nothing that a service also needs."""

import orjson
from typing_extensions import override

from benchmarks.serving.model import Columns
from benchmarks.serving.servers.base import Launch, Server, Setup, records, uvicorn


class Limit(Server):
    """No validation, no authentication, no log; the same compiled graph as ours."""

    def __init__(self, name: str, workers: int) -> None:
        self.name = name
        self._workers = workers

    @override
    def launch(self, setup: Setup) -> Launch:
        model = {"BENCHMARK_MODEL": str(setup.built.bundle / "model.onnx")}
        return Launch(uvicorn("limit_app", setup, self._workers), model)

    @override
    def encode(self, columns: Columns, form: str) -> bytes:
        """One row as an object, many as columns, which is what is fastest for each."""
        is_single = len(next(iter(columns.values()))) == 1
        return orjson.dumps(records(columns)[0] if is_single else columns)

    @override
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        return [pair[1] for pair in orjson.loads(answer)]
