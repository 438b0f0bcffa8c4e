from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from mlops_assets.domain.errors import SourceError, UnusableColumnError
from mlops_assets.spec.source import CsvSource, DeltaSource, DuckdbSource, ParquetSource, SqlSource
from mlops_assets.stores.sample import is_in_order, take_sample, take_usable_sample, time_columns
from mlops_assets_tests.churn import churn, write_csv

COLUMNS = ("snapshot_at", "age", "plan", "left")


@pytest.fixture
def table(tmp_path: Path) -> ParquetSource:
    churn(10).sample(frac=1, random_state=0).to_parquet(tmp_path / "churn.parquet")
    return ParquetSource(kind="parquet", path="churn.parquet")


def sample(source, folder: Path, limit: int):
    return take_sample(source, folder, columns=COLUMNS, event_time="snapshot_at", limit=limit)


def test_a_small_table_is_read_whole_in_order_of_time_and_in_its_types(table, tmp_path: Path):
    found = sample(table, tmp_path, 10_000)
    assert found.is_whole
    assert found.times.is_monotonic_increasing
    assert found.frame["snapshot_at"].is_monotonic_increasing
    assert list(found.frame.columns) == list(COLUMNS)
    assert str(found.frame["age"].dtype) == "Int64"


def test_a_large_table_is_sampled_over_all_its_time(table, tmp_path: Path):
    found = sample(table, tmp_path, 300)
    assert len(found.times) == 1500
    assert not found.is_whole
    assert 250 < len(found.frame) < 400
    assert not found.frame.duplicated().any() or len(found.frame.drop_duplicates()) > 250
    first, last = found.frame["snapshot_at"].iloc[[0, -1]]
    assert first == found.times.iloc[0]
    assert last == found.times.iloc[-1]


def test_rows_of_one_moment_are_never_read_twice(tmp_path: Path):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pd.DataFrame({"snapshot_at": [moment] * 1000, "n": range(1000)})
    frame.to_parquet(tmp_path / "one.parquet")
    found = take_sample(
        ParquetSource(kind="parquet", path="one.parquet"),
        tmp_path,
        columns=("snapshot_at", "n"),
        event_time="snapshot_at",
        limit=100,
    )
    assert found.frame["n"].is_unique


def test_the_columns_of_times_are_named(table, tmp_path: Path):
    assert set(time_columns(table, tmp_path)) == {"snapshot_at", "decided_at"}


def test_a_column_without_times_is_refused(table, tmp_path: Path):
    with pytest.raises(SourceError, match="'plan'"):
        take_sample(table, tmp_path, columns=COLUMNS, event_time="plan", limit=10)


def test_whether_a_file_is_in_order_is_told(table, tmp_path: Path):
    assert is_in_order(table, tmp_path, "snapshot_at") is False
    churn(2).to_parquet(tmp_path / "churn.parquet")
    assert is_in_order(table, tmp_path, "snapshot_at") is True
    text = CsvSource(kind="csv", path="churn.csv")
    write_csv(churn(2), tmp_path / "churn.csv")
    assert is_in_order(text, tmp_path, "snapshot_at") is True
    write_csv(churn(2)[::-1], tmp_path / "churn.csv")
    assert is_in_order(text, tmp_path, "snapshot_at") is False
    several = CsvSource(kind="csv", path=".")
    assert is_in_order(several, tmp_path, "snapshot_at") is None


def test_numbers_too_large_for_the_lake_are_refused_or_passed_over(tmp_path: Path):
    large = pd.Series([2**64 - 1, 7] * 150, dtype="uint64")
    churn(2).assign(digest=large).to_parquet(tmp_path / "churn.parquet")
    source = ParquetSource(kind="parquet", path="churn.parquet")
    wanted = {"columns": (*COLUMNS, "digest"), "event_time": "snapshot_at", "limit": 1000}
    with pytest.raises(UnusableColumnError, match=r"'digest' holds 18446744073709551615: .* text"):
        take_usable_sample(source, tmp_path, needed=("digest",), **wanted)
    assert take_usable_sample(source, tmp_path, **wanted).unusable == ("digest",)
    churn(2).assign(digest=large % 9).to_parquet(tmp_path / "churn.parquet")
    assert take_usable_sample(source, tmp_path, **wanted).unusable == ()


def test_columns_of_lists_are_passed_over_and_named(tmp_path: Path):
    churn(2).assign(tags=[["a"]] * 300).to_parquet(tmp_path / "churn.parquet")
    source = ParquetSource(kind="parquet", path="churn.parquet")
    wanted = {"columns": (*COLUMNS, "tags"), "event_time": "snapshot_at", "limit": 1000}
    with pytest.raises(UnusableColumnError, match=r"'tags' holds list<.*flatten it in the source"):
        take_sample(source, tmp_path, **wanted)
    found = take_usable_sample(source, tmp_path, **wanted)
    assert found.unusable == ("tags",)
    assert list(found.frame.columns) == list(COLUMNS)


@pytest.mark.parametrize("kind", ["parquet", "csv", "duckdb", "sql", "delta"])
def test_rows_without_a_time_are_counted_where_the_source_can_tell(kind: str, tmp_path: Path):
    from deltalake import write_deltalake
    from sqlalchemy import create_engine

    frame = churn(2)[["snapshot_at", "plan"]].assign(
        snapshot_at=lambda f: f["snapshot_at"].dt.tz_localize(None)
    )
    frame.loc[[3, 7, 8], "snapshot_at"] = pd.NaT
    frame.to_parquet(tmp_path / "t.parquet")
    write_csv(frame, tmp_path / "t.csv")
    write_deltalake(tmp_path / "delta", frame)
    engine = create_engine(f"sqlite:///{tmp_path / 't.db'}")
    frame.to_sql("t", engine, index=False)
    engine.dispose()
    source = {
        "parquet": ParquetSource(kind="parquet", path="t.parquet"),
        "csv": CsvSource(kind="csv", path="t.csv"),
        "duckdb": DuckdbSource(kind="duckdb", query="FROM 't.parquet'"),
        "sql": SqlSource(kind="sql", url=f"sqlite:///{tmp_path / 't.db'}", table="t"),
        "delta": DeltaSource(kind="delta", path="delta"),
    }[kind]
    columns = ("snapshot_at", "plan")
    found = take_sample(source, tmp_path, columns=columns, event_time="snapshot_at", limit=999)
    assert found.timeless == (0 if kind == "delta" else 3)
    assert len(found.times) == len(frame) - 3
