"""`mlflow models serve` with the scikit-learn flavour."""

import subprocess

import orjson
from typing_extensions import override

from benchmarks.serving.model import Columns
from benchmarks.serving.servers.base import APPS, HOST, ROOT, Launch, Server, Setup


class Mlflow(Server):
    """The scoring server, in its environment instead of one that it would make by itself."""

    venv = "mlflow"
    path = "/invocations"

    def __init__(self, name: str, workers: int) -> None:
        self.name = name
        self._workers = workers

    @override
    def launch(self, setup: Setup) -> Launch:
        saved = setup.folder / "mlflow_model"
        command = [str(setup.python), "-m", f"{APPS}.save_mlflow"]
        command += [str(setup.built.joblib_file), str(saved)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        serve = [setup.program("mlflow"), "models", "serve", "--model-uri", str(saved)]
        serve += ["--env-manager", "local", "--host", HOST, "--port", str(setup.port)]
        # It starts uvicorn by name from the PATH.
        path = {"PATH": f"{setup.python.parent}:/usr/bin:/bin"}
        return Launch([*serve, "--workers", str(self._workers), "--timeout", "120"], path)

    @override
    def encode(self, columns: Columns, form: str) -> bytes:
        rows = list(zip(*columns.values(), strict=True))
        return orjson.dumps({"dataframe_split": {"columns": list(columns), "data": rows}})

    @override
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        return [pair[1] for pair in orjson.loads(answer)["predictions"]]
