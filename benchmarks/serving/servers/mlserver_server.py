"""MLServer with its scikit-learn runtime, over the Open Inference Protocol."""

import json
import shutil

import orjson
from typing_extensions import override

from benchmarks.serving.model import NAME, Columns
from benchmarks.serving.servers.base import HOST, Launch, Server, Setup, free_port


class MlServer(Server):
    """One inference worker, which is its default."""

    name = "mlserver"
    venv = "mlserver"
    path = f"/v2/models/{NAME}/infer"

    @override
    def launch(self, setup: Setup) -> Launch:
        folder = setup.folder / "mlserver"
        folder.mkdir()
        shutil.copy(setup.built.joblib_file, folder / "model.joblib")
        model = {
            "name": NAME,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": "./model.joblib"},
        }
        grpc, metrics = free_port(), free_port()
        settings = {
            "host": HOST,
            "http_port": setup.port,
            "grpc_port": grpc,
            "metrics_port": metrics,
            "debug": False,
            # By default they lie in the working directory.
            "metrics_dir": str(folder / "metrics"),
        }
        (folder / "model-settings.json").write_text(json.dumps(model))
        (folder / "settings.json").write_text(json.dumps(settings))
        return Launch([setup.program("mlserver"), "start", str(folder)])

    @override
    def encode(self, columns: Columns, form: str) -> bytes:
        inputs = [
            {
                "name": name,
                "shape": [len(values), 1],
                "datatype": "BYTES" if isinstance(values[0], str) else "FP64",
                "data": values,
                **({"parameters": {"content_type": "str"}} if isinstance(values[0], str) else {}),
            }
            for name, values in columns.items()
        ]
        return orjson.dumps(
            {
                "parameters": {"content_type": "pd"},
                "inputs": inputs,
                "outputs": [{"name": "predict_proba"}],
            }
        )

    @override
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        data: list[float] = orjson.loads(answer)["outputs"][0]["data"]
        return data[1::2]
