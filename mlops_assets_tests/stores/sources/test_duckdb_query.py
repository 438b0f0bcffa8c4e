from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import DuckdbSource
from mlops_assets.stores.sources import read
from mlops_assets_tests.stores.sources.samples import DAY, HOUR, parquet
from mlops_assets_tests.stores.sources.test_parquet import damage, grouped


def query(text: str, **options: object) -> DuckdbSource:
    return DuckdbSource(kind="duckdb", query=text, **options)


def test_files_of_several_kinds_are_joined_and_counted(tmp_path: Path):
    parquet(tmp_path)
    (tmp_path / "prices.csv").write_text("size,vat\nL,0.5\nM,0.25\n")
    source = query(
        "WITH taxed AS (SELECT * FROM 'rows.parquet' JOIN 'prices.csv' USING (size)) "
        'SELECT "at", sum(items)::BIGINT AS n, max(vat) AS vat FROM taxed GROUP BY ALL'
    )
    found = read(
        source, tmp_path, columns=("n", "vat"), event_time="at", start=DAY, end=DAY + 24 * HOUR
    )
    assert found.to_pylist() == [{"n": 3, "vat": 0.25}, {"n": 2, "vat": 0.5}]


def test_row_groups_of_other_periods_are_not_read(tmp_path: Path):
    grouped(tmp_path)
    damage(tmp_path / "days.parquet", (0, 2))
    day = DAY + timedelta(days=1)
    asked = {"columns": ("n",), "event_time": "at"}
    source = query("SELECT * FROM 'days.parquet'")
    found = read(source, tmp_path, **asked, start=day, end=day + timedelta(days=1))
    assert found["n"].to_pylist() == list(range(1000))
    with pytest.raises(SourceError, match=r"DuckDB cannot"):
        read(source, tmp_path, **asked, start=DAY, end=day)


def test_a_query_that_takes_too_long_is_interrupted(tmp_path: Path):
    endless = query(
        "SELECT TIMESTAMP '2024-01-01' AS at, sum(a.range * b.range) AS n "
        "FROM range(10000000) a, range(10000000) b",
        timeout=timedelta(seconds=0.3),
    )
    with pytest.raises(SourceAwayError, match=r"takes longer than 0\.3 s.*source\.timeout"):
        read(endless, tmp_path, columns=("n",), event_time="at", start=DAY, end=DAY + HOUR)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("SELECT * FROM 'gone.parquet'", SourceAwayError, r"gone\.parquet.*relative to the folder"),
        ("SELEC 1", SourceError, "cannot run source.query: Parser Error"),
        ("SELECT 1 AS at, 2 AS n", SourceError, "'at' of source.query is INTEGER"),
        ("SELECT 1 AS n", SourceError, "no column 'at'; it has n"),
        ("COPY (SELECT 1) TO 'out.csv'", SourceError, "must be one SELECT"),
        ("SELECT 1; SELECT 2", SourceError, "must be one SELECT"),
        ("SELECT now() AS at, 1 AS n) --", SourceError, "cannot run source.query"),
    ],
)
def test_a_query_that_cannot_be_run_is_told(
    text: str, error: type[SourceError], words: str, tmp_path: Path
):
    with pytest.raises(error, match=words) as found:
        read(query(text), tmp_path, columns=("n",), event_time="at", start=DAY, end=DAY + HOUR)
    assert type(found.value) is error
    assert not (tmp_path / "out.csv").exists()
