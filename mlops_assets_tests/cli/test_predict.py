"""The command against the serving code, behind a plain HTTP server instead of Ray."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets_tests.serving.conftest import Built, bundles, publish, records  # noqa: F401
from serving.auth import Tokens
from serving.http import PredictionService
from serving.models import ModelSet

Write = Callable[[Path, list[dict[str, Any]]], None]


SECRET = "secret-0123456789"


def token_file(folder: Path, token: str = SECRET) -> Path:
    path = folder / f"tokens{'' if token == SECRET else '-of-another'}"
    path.write_text(token)
    path.chmod(0o600)
    return path


class Server(ThreadingHTTPServer):
    service: PredictionService
    requests: list[int]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(len(json.loads(body)["records"]))
        self.answer(body)

    def answer(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.service.handle(self.command, self.path, headers, body)
        self.send_response(answer.status)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(bundles: dict[str, Built], tmp_path: Path) -> Iterator[Server]:  # noqa: F811
    publish(
        tmp_path / "state.json",
        flight_delay=("1", bundles["1"].folder),
        demand=("7", bundles["demand"].folder),
    )
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    server = Server(("127.0.0.1", 0), Handler)
    server.requests = []
    server.service = PredictionService(models, tmp_path / "log", Tokens(token_file(tmp_path)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    server.service.close()


@pytest.fixture
def run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLOPS_SERVE_TOKEN_FILE", str(tmp_path / "tokens"))

    def run(model: str, file: Path, *options: str, url: str = "") -> Result:
        url = url or f"http://127.0.0.1:{server.server_port}"
        return CliRunner().invoke(main, ["predict", model, str(file), "--url", url, *options])

    return run


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    pa.csv.write_csv(pa.Table.from_pylist(rows), path)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pa.parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.jsonl", write_json_lines),
        ("rows.csv", write_csv),
        ("rows.parquet", write_parquet),
    ],
)
def test_every_format_gives_the_same_predictions(
    run: Callable[..., Result], server: Server, tmp_path: Path, name: str, write: Write
):
    rows = records(250, seed=3)
    # Columns that a file has besides, one of which looks like a number and is none.
    full = [{**row, "flight": str(100 + n), "arrives_late": n % 2} for n, row in enumerate(rows)]
    write(tmp_path / name, full)
    result = run("flight_delay", tmp_path / name, "--json")
    assert result.exit_code == 0, result.output
    predictions = lines(result.stdout)
    assert server.requests == [100, 100, 50]
    body = {"records": rows[:100]}
    expected = server.service.handle(
        "POST",
        "/v1/models/flight_delay/predict",
        {"authorization": f"Bearer {SECRET}"},
        json.dumps(body).encode(),
    )
    assert [one["probability"] for one in predictions[:100]] == [
        one["probability"] for one in json.loads(expected.body)["predictions"]
    ]
    assert len({one["prediction_id"] for one in predictions}) == 250
    assert {(one["model"], one["version"]) for one in predictions} == {("flight_delay", "1")}


def test_missing_values_are_sent_as_null(
    run: Callable[..., Result], server: Server, tmp_path: Path
):
    (tmp_path / "rows.csv").write_text("hour,weather\n3,rain\n4,\n")
    result = run("demand", tmp_path / "rows.csv", "--json")
    assert [type(one["prediction"]) for one in lines(result.stdout)] == [float, float]


def test_predictions_are_written_to_a_file_or_shown_as_a_table(
    run: Callable[..., Result], tmp_path: Path
):
    write_json_lines(tmp_path / "rows.jsonl", records(30, seed=3))
    result = run("flight_delay", tmp_path / "rows.jsonl", "--output", str(tmp_path / "out.jsonl"))
    assert result.stdout == ""
    assert len(lines((tmp_path / "out.jsonl").read_text())) == 30
    shown = run("flight_delay", tmp_path / "rows.jsonl").stdout
    assert "on_time" in shown
    assert "and 10 more" in shown


def test_a_broken_row_is_an_error_with_its_field_and_place(
    run: Callable[..., Result], tmp_path: Path
):
    rows = records(150, seed=3)
    rows[120]["distance"] = None  # type: ignore[assignment]
    write_json_lines(tmp_path / "rows.jsonl", rows)
    result = run("flight_delay", tmp_path / "rows.jsonl", "--json")
    assert result.exit_code == 1
    assert "rows 100 to 149 (0 is the first): records[20].distance" in result.stderr
    assert "HTTP 422" in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.txt", "x", "'.txt' is none of .jsonl, .ndjson, .csv, .parquet"),
        ("rows.jsonl", "", "has no rows"),
        ("rows.jsonl", '{"distance": 1}\n[1]\n', "line 2: must be an object"),
        ("rows.jsonl", "{\n", "line 1: not JSON"),
        ("rows.jsonl", '{"a": 1}\n', "none of the model's columns; it has a, and the model takes"),
        ("rows.csv", "distance,carrier\nfar,AA\n", "far"),
        ("rows.parquet", "no parquet", "rows.parquet"),
    ],
)
def test_an_unusable_file_is_an_error_that_says_why(
    run: Callable[..., Result],
    server: Server,
    tmp_path: Path,
    name: str,
    content: str,
    message: str,
):
    (tmp_path / name).write_text(content)
    result = run("flight_delay", tmp_path / name)
    assert result.exit_code == 1
    assert message in result.stderr
    assert server.requests == []


def test_an_unknown_model_is_an_error_with_the_known_ones(
    run: Callable[..., Result], tmp_path: Path
):
    write_json_lines(tmp_path / "rows.jsonl", records(1, seed=3))
    result = run("nothing", tmp_path / "rows.jsonl")
    assert result.exit_code == 1
    assert "does not serve 'nothing'; it serves flight_delay, demand" in result.stderr


def test_an_endpoint_that_does_not_answer_is_an_error_with_its_address(
    run: Callable[..., Result], tmp_path: Path
):
    write_json_lines(tmp_path / "rows.jsonl", records(1, seed=3))
    result = run("demand", tmp_path / "rows.jsonl", url="http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "Error: http://127.0.0.1:1 does not answer" in result.stderr


def test_a_wrong_token_is_an_error_that_says_so(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wrong = token_file(tmp_path, "wrong-0123456789")
    monkeypatch.setenv("MLOPS_SERVE_TOKEN_FILE", str(wrong))
    write_json_lines(tmp_path / "rows.jsonl", records(1, seed=3))
    result = run("demand", tmp_path / "rows.jsonl")
    assert result.exit_code == 1
    assert "HTTP 401" in result.stderr
    assert "wrong-" not in result.stderr
