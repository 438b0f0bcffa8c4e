import threading
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from deltalake import write_deltalake

from mlops_assets.cli import main
from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import CsvSource, DeltaSource, DuckdbSource, ParquetSource, Source
from mlops_assets.stores.sources import column_names, newest
from mlops_assets_tests.churn import churn, write_csv
from mlops_assets_tests.stores.sources.conftest import S3Server
from mlops_assets_tests.stores.sources.samples import (
    COLUMNS,
    DAY,
    HOUR,
    arrow,
    csv,
    delta,
    parquet,
    rows,
)


def test_a_missing_file_is_named_with_the_place_it_was_looked_for(tmp_path: Path):
    source = ParquetSource(kind="parquet", path="../gone.parquet")
    with pytest.raises(SourceError, match=r"'\.\./gone\.parquet' is not there: .*relative"):
        rows(source, tmp_path / "defs")


@pytest.fixture
def in_bucket(s3_server: S3Server, tmp_path: Path) -> Callable[[str], None]:
    """Copies a file of the test's folder into the bucket."""

    def copy(name: str, to: str = "") -> None:
        with s3_server.files.open_output_stream(f"shop/{to or name}") as stream:
            stream.write((tmp_path / name).read_bytes())

    return copy


@pytest.mark.parametrize("path", ["s3://shop/2024/rows.parquet", "s3://shop/2024", "s3://shop/2*/"])
def test_parquet_in_s3_is_read_as_on_disk(
    path: str, in_bucket: Callable[..., None], tmp_path: Path
):
    local = parquet(tmp_path)
    in_bucket("rows.parquet", "2024/rows.parquet")
    remote = ParquetSource(kind="parquet", path=path.replace("*/", "*/*.parquet"))
    assert rows(remote, tmp_path).equals(rows(local, tmp_path))
    assert column_names(remote, tmp_path) == COLUMNS
    until = DAY + 24 * HOUR
    assert newest(remote, tmp_path, event_time="at", until=until) == DAY + 3 * HOUR


def test_csv_in_s3_is_read_as_on_disk(in_bucket: Callable[..., None], tmp_path: Path):
    local = csv(tmp_path)
    in_bucket("rows.csv")
    remote = CsvSource(kind="csv", path="s3://shop/*.csv")
    assert rows(remote, tmp_path).equals(rows(local, tmp_path))


def test_duckdb_reads_s3_without_an_extension(in_bucket: Callable[..., None], tmp_path: Path):
    local = parquet(tmp_path)
    in_bucket("rows.parquet")
    remote = DuckdbSource(kind="duckdb", query="SELECT * FROM 's3://shop/*.parquet'")
    assert rows(remote, tmp_path).equals(rows(local, tmp_path))


def test_a_model_is_drafted_from_a_table_in_s3_and_passes_its_check(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLOPS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    write_csv(churn(), tmp_path / "churn.csv")
    with s3_server.files.open_output_stream("shop/new/churn.csv") as stream:
        stream.write((tmp_path / "churn.csv").read_bytes())
    named = ("--from", "s3://shop/new/churn.csv", "--time", "snapshot_at", "--label", "left")
    for command in (("new", "churn", *named), ("check", "churn")):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        assert "1,800 rows" in done.output
    written = (tmp_path / "models" / "churn" / "defs.yaml").read_text()
    assert 'path: "s3://shop/new/churn.csv"' in written


def test_a_delta_table_in_s3_is_read_as_on_disk(s3_server: S3Server, tmp_path: Path):
    options = {"aws_endpoint": s3_server.address, "allow_http": "true"}
    write_deltalake("s3://shop/table", arrow("UTC"), storage_options=options)
    remote = DeltaSource(kind="delta", path="s3://shop/table")
    assert rows(remote, tmp_path).equals(rows(delta(tmp_path), tmp_path))
    assert newest(remote, tmp_path, event_time="at", until=DAY + HOUR) == DAY


REMOTE: list[Source] = [
    ParquetSource(kind="parquet", path="s3://shop/rows.parquet", timeout=timedelta(seconds=1)),
    CsvSource(kind="csv", path="s3://shop/*.csv", timeout=timedelta(seconds=1)),
    DeltaSource(kind="delta", path="s3://shop/table", timeout=timedelta(seconds=1)),
    DuckdbSource(
        kind="duckdb", query="SELECT * FROM 's3://shop/x.parquet'", timeout=timedelta(seconds=1)
    ),
]
remotes = pytest.mark.parametrize("source", REMOTE, ids=lambda source: source.kind)


@remotes
def test_a_server_that_does_not_answer_in_time_is_away(
    source: Source, stopped_s3: S3Server, tmp_path: Path
):
    with pytest.raises(SourceAwayError, match=r"s3://shop.*AWS|source\.query: .*AWS"):
        rows(source, tmp_path)


@remotes
def test_a_server_that_is_not_running_is_away(
    source: Source, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(SourceAwayError, match="AWS"):
        rows(source, tmp_path)


@pytest.mark.parametrize("path", ["s3://shop/none.parquet", "s3://shop/none/*.parquet"])
def test_what_is_not_in_the_bucket_is_named(path: str, s3_server: S3Server, tmp_path: Path):
    with pytest.raises(SourceAwayError, match=r"is not there: shop/none.*AWS_ENDPOINT_URL"):
        rows(ParquetSource(kind="parquet", path=path), tmp_path)


class Forbidding(BaseHTTPRequestHandler):
    """A server that knows nobody."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@remotes
def test_a_server_that_refuses_is_not_asked_again(
    source: Source, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with ThreadingHTTPServer(("127.0.0.1", 0), Forbidding) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(SourceError, match=r"ACCESS_DENIED|403 Forbidden") as found:
                rows(source, tmp_path)
        finally:
            server.shutdown()
    assert type(found.value) is SourceError


def test_hidden_files_of_a_folder_and_below_are_no_data(tmp_path: Path):
    source = parquet(tmp_path)
    for name in ("days/1", "days/_temporary/0", "days/.old"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "rows.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes())
    (tmp_path / "days" / "_SUCCESS").write_text("")
    folder = ParquetSource(kind="parquet", path="days")
    assert rows(folder, tmp_path).equals(rows(source, tmp_path))


def test_globs_reach_below_with_two_stars(tmp_path: Path):
    source = parquet(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "rows.parquet").rename(tmp_path / "a" / "b" / "1.parquet")
    deep = source.model_copy(update={"path": "a/**/*.parquet"})
    assert rows(deep, tmp_path).num_rows == 5
    with pytest.raises(SourceAwayError, match=r"'a/\*\.parquet' is not there: .*matches no file"):
        rows(source.model_copy(update={"path": "a/*.parquet"}), tmp_path)


def test_a_delta_table_is_not_read_as_parquet(tmp_path: Path):
    delta(tmp_path)
    with pytest.raises(SourceError, match=r"'table' is a Delta table: .*kind: delta"):
        rows(ParquetSource(kind="parquet", path="table"), tmp_path)
