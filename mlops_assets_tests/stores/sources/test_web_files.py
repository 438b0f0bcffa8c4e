"""Queries over files on the web: the same copies, without an extension of DuckDB's."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import DuckdbSource
from mlops_assets.stores.sources import column_names, newest, read
from mlops_assets_tests.site import Handler, Site, says
from mlops_assets_tests.stores.sources.samples import (
    COLUMNS,
    DAY,
    HOUR,
    csv_text,
    parquet,
    rows,
)


def query(text: str, seconds: float = 5) -> DuckdbSource:
    return DuckdbSource(kind="duckdb", query=text, timeout=timedelta(seconds=seconds))


def test_a_query_reads_a_file_on_the_web_as_on_disk(site: Site, tmp_path: Path):
    local = parquet(tmp_path)
    address = site.write("rows.parquet", (tmp_path / "rows.parquet").read_bytes())
    remote = query(f"FROM '{address}'")
    assert rows(remote, tmp_path).equals(rows(local, tmp_path))
    assert column_names(remote, tmp_path) == COLUMNS
    assert newest(remote, tmp_path, event_time="at", until=DAY + HOUR) == DAY
    assert site.downloads == 1


def test_files_here_and_there_of_several_kinds_are_joined(site: Site, tmp_path: Path):
    site.write("rows.csv", csv_text())
    site.write("vat.json", json.dumps([{"size": "L", "vat": 0.5}, {"size": "M", "vat": 0.25}]))
    (tmp_path / "names.csv").write_text("size,name\nL,large\nM,medium\n")
    source = query(
        f"FROM read_csv('{site.url}/rows.csv?version=2') JOIN '{site.url}/vat.json' USING (size) "
        "JOIN 'names.csv' USING (size)"
    )
    end = DAY + 24 * HOUR
    found = read(source, tmp_path, columns=("vat", "name"), event_time="at", start=DAY, end=end)
    assert found.to_pylist() == [
        {"vat": 0.25, "name": "medium"},
        {"vat": 0.5, "name": "large"},
    ]


def test_an_address_that_is_only_a_text_is_not_asked_for(site: Site, tmp_path: Path):
    site.write("rows.csv", csv_text())
    source = query(f"FROM '{site.url}/rows.csv' WHERE size <> '{site.url}/x.csv'")
    assert rows(source, tmp_path).num_rows > 0
    assert {path for path, _ in site.seen} == {"/rows.csv"}


def test_a_file_that_cannot_be_had_is_named_as_by_other_sources(site: Site, tmp_path: Path):
    with pytest.raises(SourceAwayError, match=r"rows\.csv' is not there: .*404"):
        rows(query(f"FROM '{site.url}/rows.csv'"), tmp_path)
    address = site.trick("page.csv", says(200, b"<html>", Content_Type="text/html"))
    with pytest.raises(SourceError, match="is a web page"):
        rows(query(f"FROM '{address}'"), tmp_path)


def test_a_download_takes_nothing_of_the_querys_time(site: Site, tmp_path: Path):
    """Each wait is shorter than the timeout, and all of them are longer."""
    body = csv_text().encode() + b"\n" * 5000

    def slowly(handler: Handler) -> None:
        handler.answer(200, b"", Content_Length=str(len(body)))
        for place in range(0, len(body), len(body) // 5):
            handler.site.closing.wait(0.6)
            handler.wfile.write(body[place : place + len(body) // 5])
            handler.wfile.flush()

    address = site.trick("rows.csv", slowly)
    assert rows(query(f"FROM '{address}'", seconds=2.5), tmp_path).num_rows == 5
