"""What every server is sent means the same rows; what it answers is read as it is meant."""

import json

import pyarrow as pa
import pytest

from benchmarks.serving.__main__ import options, plan
from benchmarks.serving.model import CATEGORIES, NUMBERS, draw
from benchmarks.serving.servers import DEFAULT, SERVERS
from benchmarks.serving.venvs import PINS, packages

COLUMNS = draw(3, seed=5)
FIRST = {name: values[0] for name, values in COLUMNS.items()}


def rows_of(server: str, body: bytes) -> list[dict[str, object]]:
    """The rows of a body, by the server's own protocol."""
    said = json.loads(body)
    if server == "mlserver":
        columns = {one["name"]: one["data"] for one in said["inputs"]}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if server.startswith("mlflow"):
        table = said["dataframe_split"]
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    if server.startswith("limit"):
        return [dict(zip(said, row, strict=True)) for row in zip(*said.values(), strict=True)]
    rows: list[dict[str, object]] = said["rows" if server == "bentoml" else "records"]
    return rows


@pytest.mark.parametrize("name", list(SERVERS))
def test_every_server_is_sent_the_same_rows(name: str):
    rows = rows_of(name, SERVERS[name].encode(COLUMNS, "records"))
    assert rows[0] == FIRST
    assert len(rows) == 3


def test_our_other_formats_hold_the_same_rows():
    ours = SERVERS["ours"]
    assert json.loads(ours.encode(COLUMNS, "columns"))["columns"] == COLUMNS
    with pa.ipc.open_stream(ours.encode(COLUMNS, "arrow")) as stream:
        assert stream.read_all().to_pydict() == COLUMNS


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("fastapi", {"predictions": [{"probability": 0.2}, {"probability": 0.7}]}),
        ("mlflow", {"predictions": [[0.8, 0.2], [0.3, 0.7]]}),
        ("mlserver", {"outputs": [{"data": [0.8, 0.2, 0.3, 0.7], "shape": [2, 2]}]}),
        ("bentoml", [[0.8, 0.2], [0.3, 0.7]]),
        ("litserve", {"probabilities": [0.2, 0.7]}),
        ("limit", [[0.8, 0.2], [0.3, 0.7]]),
        (
            "ours",
            {"predictions": [{"probability": {"no": 1 - p, "yes": p}} for p in (0.2, 0.7)]},
        ),
    ],
)
def test_the_probability_of_the_second_class_is_read(name: str, answer: object):
    assert SERVERS[name].probabilities(json.dumps(answer).encode(), "records") == [0.2, 0.7]


def test_our_answers_in_arrow_are_read():
    sink = pa.BufferOutputStream()
    table = pa.table({"prediction_id": ["a", "b"], "p_no": [0.8, 0.3], "p_yes": [0.2, 0.7]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = sink.getvalue().to_pybytes()
    assert SERVERS["ours"].probabilities(answer, "arrow") == [0.2, 0.7]


def test_rows_are_the_same_for_the_same_seed_and_have_the_agreed_columns():
    assert draw(3, seed=5) == COLUMNS
    assert draw(3, seed=6) != COLUMNS
    assert (len(NUMBERS), len(CATEGORIES)) == (12, 8)
    assert list(COLUMNS) == [*NUMBERS, *CATEGORIES]


def test_the_agreed_servers_are_measured_by_default():
    agreed = {"fastapi", "mlflow", "mlserver", "bentoml", "litserve", "limit", "ours"}
    assert agreed <= set(DEFAULT)


def test_every_peer_has_an_environment_with_our_version_of_scikit_learn():
    import sklearn

    for name in PINS:
        assert f"scikit-learn=={sklearn.__version__}" in packages(name)
        assert all("==" in package for package in packages(name))
    assert {server.venv for server in SERVERS.values()} == {*PINS, ""}


def test_quick_is_one_window_of_a_second():
    asked = plan(options(["--quick", "--servers", "ours", "--rows", "1"]))
    assert (asked.effort.windows, asked.effort.seconds) == (1, 1)
    assert [server.name for server in asked.servers] == ["ours"]
    assert len(asked.cells("boosting")) == 3
