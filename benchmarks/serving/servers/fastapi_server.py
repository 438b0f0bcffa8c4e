"""FastAPI around the scikit-learn pipeline, as most teams write it."""

import orjson
from typing_extensions import override

from benchmarks.serving.servers.base import Launch, Server, Setup, uvicorn


class FastApi(Server):
    """One process; validation by a pydantic model; predict and predict_proba in the handler."""

    name = "fastapi"

    @override
    def launch(self, setup: Setup) -> Launch:
        model = {"BENCHMARK_MODEL": str(setup.built.joblib_file)}
        return Launch(uvicorn("fastapi_app", setup), model)

    @override
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        return [one["probability"] for one in orjson.loads(answer)["predictions"]]
