"""BentoML with adaptive batching."""

import orjson
from typing_extensions import override

from benchmarks.serving.model import Columns
from benchmarks.serving.servers.base import APPS, HOST, ROOT, Launch, Server, Setup, records


class BentoMl(Server):
    """One worker; concurrent requests become one call of the pipeline."""

    name = "bentoml"
    venv = "bentoml"

    @override
    def launch(self, setup: Setup) -> Launch:
        command = [setup.program("bentoml"), "serve", f"{APPS}.bento_app:Predictor"]
        command += ["--working-dir", str(ROOT), "--host", HOST, "--port", str(setup.port)]
        home = setup.folder / "bentoml"
        environment = {
            "BENCHMARK_MODEL": str(setup.built.joblib_file),
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        return Launch(command, environment)

    @override
    def encode(self, columns: Columns, form: str) -> bytes:
        return orjson.dumps({"rows": records(columns)})

    @override
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        return [pair[1] for pair in orjson.loads(answer)]
