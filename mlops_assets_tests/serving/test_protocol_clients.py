"""The clients that people already have, against the endpoint as a process would serve it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from mlops_assets.stores.prediction_log import read_from, segments
from mlops_assets_tests.serving.conftest import CONTRACT, Built, frame, publish, records
from serving.http import PredictionService
from serving.models import ModelSet
from serving.protocols.arrow import ARROW

ROWS = records(40, seed=11)


def handler_of(service: PredictionService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = service.handle(self.command, self.path, headers, body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients") / "log"


@pytest.fixture(scope="module")
def endpoint(bundles: dict[str, Built], log: Path) -> Iterator[str]:
    """`host:port` of an endpoint that serves version 1 of the flight model."""
    publish(log.parent / "state.json", flight_delay=("1", bundles["1"].folder))
    models = ModelSet(log.parent / "state.json")
    models.refresh()
    service = PredictionService(models, log)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(service))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
    service.close()


@pytest.fixture(scope="module")
def expected(bundles: dict[str, Built]) -> np.ndarray:
    """Probabilities of ROWS by the pipeline itself."""
    return np.asarray(bundles["1"].pipeline.predict_proba(frame(ROWS, CONTRACT)))


def labels(probabilities: np.ndarray) -> list[str]:
    return [CONTRACT.classes[place] for place in probabilities.argmax(axis=1)]


def post(endpoint: str, path: str, **content: Any) -> httpx.Response:
    return httpx.post(f"http://{endpoint}{path}", **content)


@pytest.fixture
def triton(endpoint: str) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(endpoint)
    yield client
    client.close()


def inputs(is_binary: bool) -> list[InferInput]:
    """The tensors of ROWS, as numpy has them: a missing number is NaN."""
    tensors = []
    for column in CONTRACT.columns:
        kind: Any = {"category": object, "boolean": bool}.get(column.type, np.float64)
        values = np.array([row[column.name] for row in ROWS], dtype=kind).reshape(-1, 1)
        tensor = InferInput(column.name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values, binary_data=is_binary)
        if not is_binary and column.nullable:
            # NaN is no JSON; null is how JSON says missing.
            tensor._data = [None if value != value else value for value in tensor._data]
        tensors.append(tensor)
    return tensors


def test_triton_clients_learn_what_is_served(triton: InferenceServerClient):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("flight_delay")
    assert triton.is_model_ready("flight_delay", "1")
    assert not triton.is_model_ready("flight_delay", "9")
    assert not triton.is_model_ready("nothing")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton.get_model_metadata("flight_delay")
    assert metadata["versions"] == ["1"]
    assert [one["name"] for one in metadata["inputs"]] == [c.name for c in CONTRACT.columns]


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("version", ["", "1"])
def test_triton_clients_infer_in_bytes_and_in_json(
    triton: InferenceServerClient, expected: np.ndarray, is_binary: bool, version: str
):
    outputs = [
        InferRequestedOutput(name, binary_data=is_binary)
        for name in ("probabilities", "prediction")
    ]
    result = triton.infer(
        "flight_delay", inputs(is_binary), model_version=version, request_id="7", outputs=outputs
    )
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == (
        "7",
        "flight_delay",
        "1",
    )
    assert np.abs(result.as_numpy("probabilities") - expected).max() < 1e-5
    found = result.as_numpy("prediction").tolist()
    assert [text.decode() if is_binary else text for text in found] == labels(expected)


def test_triton_clients_may_use_one_id_for_many_requests(triton: InferenceServerClient):
    ids = set()
    for _ in range(2):
        result = triton.infer("flight_delay", inputs(is_binary=True), request_id="1")
        ids.update(result.as_numpy("prediction_id").tolist())
    assert len(ids) == 2 * len(ROWS)


def test_triton_clients_are_told_what_is_wrong(triton: InferenceServerClient):
    with pytest.raises(InferenceServerException, match=r"inputs\.carrier: is missing") as caught:
        triton.infer("flight_delay", inputs(is_binary=True)[:2])
    assert caught.value.status() == "422"
    with pytest.raises(InferenceServerException) as caught:
        triton.infer("nothing", inputs(is_binary=True))
    assert caught.value.status() == "404"


@pytest.fixture(scope="module")
def mlflow_client(endpoint: str) -> ScoringServerClient:
    host, _, port = endpoint.partition(":")
    return ScoringServerClient(host, port)


def test_mlflow_clients_wait_for_the_server_and_ask_its_version(
    mlflow_client: ScoringServerClient,
):
    mlflow_client.wait_server_ready(timeout=10)
    assert mlflow_client.get_version()


def test_mlflow_clients_send_frames_with_missing_values(
    mlflow_client: ScoringServerClient, expected: np.ndarray
):
    data = pd.DataFrame(ROWS)
    assert data["seats"].isna().any()
    assert mlflow_client.invoke(data)["predictions"] == labels(expected)
    answer = mlflow_client.invoke(data, params={"predict_method": "predict_proba"})
    assert np.abs(answer.get_predictions("ndarray") - expected).max() < 1e-5


def test_mlflow_clients_send_records(mlflow_client: ScoringServerClient, expected: np.ndarray):
    assert mlflow_client.invoke(ROWS)["predictions"] == labels(expected)


def test_mlflow_clients_are_told_what_is_wrong(mlflow_client: ScoringServerClient):
    with pytest.raises(Exception, match=r"422.*dataframe_split.carrier.*is missing"):
        mlflow_client.invoke(pd.DataFrame(ROWS).drop(columns="carrier"))


@pytest.mark.parametrize("path", ["/invocations", "/models/flight_delay/invocations"])
def test_csv_as_pandas_writes_it_is_scored(endpoint: str, expected: np.ndarray, path: str):
    text = pd.DataFrame(ROWS).to_csv(index=False)
    answer = post(endpoint, path, content=text, headers={"content-type": "text/csv"})
    assert answer.json() == {"predictions": labels(expected)}
    assert answer.headers["x-model-version"] == "1"


def test_every_orientation_of_mlflow_is_scored(endpoint: str, expected: np.ndarray):
    by_column = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    for body in (
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"inputs": by_column},
        {"inputs": ROWS},
    ):
        answer = post(endpoint, "/models/flight_delay/invocations", json=body)
        assert answer.json() == {"predictions": labels(expected)}


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_pandas_frame_travels_through_arrow_both_ways(
    endpoint: str, expected: np.ndarray, log: Path, compression: str | None
):
    data = pd.DataFrame(ROWS).assign(
        carrier=lambda rows: rows["carrier"].astype("category"),
        flight=[f"F{number}" for number in range(len(ROWS))],
        departs=pd.Timestamp("2013-06-01T12:00:00", tz="America/New_York"),
    )
    table = pa.Table.from_pandas(data, preserve_index=False)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    answer = post(
        endpoint,
        "/v1/models/flight_delay/predict",
        content=sink.getvalue().to_pybytes(),
        headers={"content-type": ARROW},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW)
    found = pa.ipc.open_stream(answer.content).read_pandas()
    assert np.abs(found[["p_on_time", "p_late"]].to_numpy() - expected).max() < 1e-5
    assert found["prediction"].tolist() == labels(expected)
    (path,) = segments(log / "flight_delay")
    last = read_from(path, 0)[0][-1]
    assert last.ids == found["prediction_id"].tolist()
    assert last.entities == data["flight"].tolist()
    assert set(last.event_times) == {"2013-06-01T16:00:00+00:00"}


def test_a_repeated_request_gets_the_same_answer_in_every_protocol(endpoint: str):
    for path, body in (
        ("/models/flight_delay/invocations", {"dataframe_records": ROWS}),
        ("/v1/models/flight_delay/predict", {"records": ROWS, "request_id": "once"}),
    ):
        headers = {"idempotency-key": "once-" + path[1:3]}
        one, again = (post(endpoint, path, json=body, headers=headers) for _ in range(2))
        assert one.content == again.content
        assert one.headers.get("x-prediction-id") == again.headers.get("x-prediction-id")
        body["extra"] = 1
        assert post(endpoint, path, json=body, headers=headers).status_code == 422


@pytest.mark.parametrize(
    ("path", "headers", "content", "status"),
    [
        ("/v2/models/flight_delay/infer", {}, b"{", 400),
        ("/v2/models/flight_delay/versions/9/infer", {}, b"{}", 404),
        ("/models/flight_delay/invocations", {"content-type": "text/plain"}, b"a", 415),
        ("/v1/models/flight_delay/predict", {"content-type": ARROW}, b"a", 400),
        ("/models/flight_delay/invocations", {}, b'{"inputs": 3}', 422),
    ],
)
def test_refusals_are_in_the_shape_of_the_protocol(
    endpoint: str, path: str, headers: dict[str, str], content: bytes, status: int
):
    answer = post(endpoint, path, headers=headers, content=content)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str if path.startswith("/v2") else dict)
