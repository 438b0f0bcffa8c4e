"""LitServe with batching."""

import orjson
from typing_extensions import override

from benchmarks.serving.servers.base import APPS, Launch, Server, Setup


class LitServe(Server):
    """One worker, batches of up to 64 requests."""

    name = "litserve"
    venv = "litserve"

    @override
    def launch(self, setup: Setup) -> Launch:
        command = [str(setup.python), "-m", f"{APPS}.lit_app", str(setup.built.joblib_file)]
        return Launch([*command, str(setup.port)])

    @override
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        found: list[float] = orjson.loads(answer)["probabilities"]
        return found
