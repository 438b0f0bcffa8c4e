import re
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import (
    SqlSource,
)
from mlops_assets.stores.sources import column_names, newest, read
from mlops_assets_tests.stores.sources.samples import (
    DAY,
    HOUR,
    fill,
    parquet,
    rows,
    sqlite,
)


def test_an_event_time_kept_as_text_in_a_database_is_refused(tmp_path: Path):
    source = sqlite(tmp_path)
    engine = sa.create_engine(source.url)
    with engine.begin() as connection:
        connection.execute(sa.text("create table t (id integer, at text)"))
    engine.dispose()
    text = source.model_copy(update={"table": "t"})
    with pytest.raises(SourceError, match="'at' of table 't' has the type TEXT"):
        read(text, tmp_path, columns=("id", "at"), event_time="at", start=DAY, end=DAY)


def test_a_value_that_is_not_of_the_declared_type_is_refused(tmp_path: Path):
    source = sqlite(tmp_path)
    engine = sa.create_engine(source.url)
    with engine.begin() as connection:
        connection.execute(sa.text("update orders set items = 'many' where id = 1"))
    engine.dispose()
    with pytest.raises(SourceError, match="column 'items' of table 'orders' is declared INTEGER"):
        rows(source, tmp_path)


def test_a_table_that_is_not_there_is_named(tmp_path: Path):
    missing = sqlite(tmp_path).model_copy(update={"table": "main.nope"})
    with pytest.raises(SourceError, match=r"no table 'main\.nope'"):
        column_names(missing, tmp_path)


def test_a_sqlite_file_that_is_not_there_is_named_and_not_made(tmp_path: Path):
    source = SqlSource(kind="sql", url=f"sqlite:///{tmp_path}/none.db", table="orders")
    with pytest.raises(SourceError, match=r"none\.db' of source\.url is not there"):
        column_names(source, tmp_path)
    assert not (tmp_path / "none.db").exists()


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SHOP_URL", raising=False)
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="orders")
    with pytest.raises(SourceError, match="'SHOP_URL', which is not set"):
        rows(source, tmp_path)
    with pytest.raises(SourceError, match=r"source\.url or source\.url_env"):
        rows(SqlSource(kind="sql", table="orders"), tmp_path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+psycopg2://me:s3cret@127.0.0.1:1/shop", r"127\.0\.0\.1:1/shop"),
        ("postgresql+psycopg2://me@127.0.0.1:1/shop?password=s3cret", r"127\.0\.0\.1:1/shop"),
        ("postgresql+psycopg2://me:s3cret@127.0.0.1:x/shop", "no SQLAlchemy URL"),
        ("postgresql+psycopg2://me:a/s3cret@127.0.0.1/shop", "SHOP_URL"),
        ("s3cret", "no SQLAlchemy URL"),
        ("nosuch://me:s3cret@host/shop", "no SQLAlchemy URL"),
        ("mysql+mysqldb://me:s3cret@host/shop", "'MySQLdb' of the variable SHOP_URL is not inst"),
        ("sqlite:////nowhere/shop.db?password=s3cret", "is not there"),
    ],
)
def test_an_unreachable_database_is_told_without_its_password(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOP_URL", url)
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="orders")
    with pytest.raises(SourceError, match=words) as refused:
        rows(source, tmp_path)
    assert "SHOP_URL" in str(refused.value)
    if not url.startswith("sqlite"):
        assert "s3cret" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.postgres
@pytest.mark.parametrize("zoned", [False, True])
def test_postgresql_gives_the_same_rows_as_a_file(
    zoned: bool, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(postgres_url, zoned=zoned)
    monkeypatch.setenv("SHOP_URL", postgres_url)
    for table in ("orders", "public.orders"):
        source = SqlSource(kind="sql", url_env="SHOP_URL", table=table)
        assert rows(source, tmp_path).equals(rows(parquet(tmp_path), tmp_path))
        assert rows(source, tmp_path, DAY, 2)["id"].to_pylist() == [1, 2]
        found = newest(source, tmp_path, event_time="at", until=DAY + 9 * HOUR)
        assert found == DAY + 3 * HOUR


@pytest.mark.postgres
def test_postgresql_keeps_no_connection_and_a_wrong_password_is_not_told(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(postgres_url)
    monkeypatch.setenv("SHOP_URL", postgres_url)
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="orders")
    rows(source, tmp_path)
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    count = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
    with engine.connect() as connection:
        assert connection.execute(sa.text(count)).scalar() == 1
    engine.dispose()
    monkeypatch.setenv("SHOP_URL", postgres_url.replace("tester:", "tester:wr0ng"))
    with pytest.raises(SourceError, match="does not answer as expected: OperationalError") as no:
        rows(source, tmp_path)
    assert "wr0ng" not in "".join(traceback.format_exception(no.value))


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """What is sent to databases, with its parameters."""
    sent: list[str] = []

    def listen(_connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
        sent.append(f"{text} {values}")

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    yield sent
    sa.event.remove(sa.Engine, "before_cursor_execute", listen)


def test_the_database_is_asked_for_the_period_alone(statements: list[str], tmp_path: Path):
    source = sqlite(tmp_path)
    statements.clear()
    rows(source, tmp_path)
    asked = [text for text in statements if "FROM orders" in text]
    assert len(asked) == 1
    assert re.search(r"WHERE orders\.at >= \? AND orders\.at < \?", asked[0])
    assert "('2024-01-01 00:00:00.000000', '2024-01-02 00:00:00.000000')" in asked[0]


def run(url: str, *texts: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for text in texts:
            connection.execute(sa.text(text))
    engine.dispose()


@pytest.mark.postgres
def test_a_statement_that_takes_too_long_is_stopped_by_the_server(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(postgres_url)
    monkeypatch.setenv("SHOP_URL", postgres_url)
    run(
        postgres_url,
        "CREATE OR REPLACE VIEW slow AS SELECT o.* FROM orders o, LATERAL "
        "(SELECT pg_sleep(30), o.id) s",
    )
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="slow", timeout=timedelta(seconds=0.3))
    try:
        with pytest.raises(SourceAwayError, match=r"takes longer than 0\.3 s: .*source\.timeout"):
            rows(source, tmp_path)
    finally:
        run(postgres_url, "DROP VIEW slow")


@pytest.mark.postgres
def test_what_may_pass_is_told_from_what_stays(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(postgres_url)
    run(
        postgres_url,
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN PASSWORD 'guest'",
    )
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="orders")
    place = sa.make_url(postgres_url)
    stays = [
        place.set(password="wr0ng"),
        place.set(username="guest", password="guest"),
    ]
    for url in stays:
        monkeypatch.setenv("SHOP_URL", url.render_as_string(hide_password=False))
        with pytest.raises(SourceError) as found:
            rows(source, tmp_path)
        assert type(found.value) is SourceError
    monkeypatch.setenv("SHOP_URL", place.set(port=1).render_as_string(hide_password=False))
    with pytest.raises(SourceAwayError, match=r"127\.0\.0\.1:1/postgres does not answer"):
        rows(source, tmp_path)


def test_a_database_that_accepts_and_says_nothing_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("SHOP_URL", f"postgresql+psycopg2://me:s3cret@127.0.0.1:{port}/shop")
        source = SqlSource(
            kind="sql", url_env="SHOP_URL", table="orders", timeout=timedelta(seconds=1)
        )
        with pytest.raises(SourceAwayError, match=f"127.0.0.1:{port}/shop does not answer"):
            rows(source, tmp_path)


@pytest.mark.postgres
def test_a_database_that_ends_the_connection_is_away(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(postgres_url)
    monkeypatch.setenv("SHOP_URL", postgres_url)
    run(
        postgres_url,
        "CREATE OR REPLACE VIEW waiting AS SELECT o.* FROM orders o, LATERAL "
        "(SELECT pg_sleep(30), o.id) s",
    )

    def end() -> None:
        engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
        text = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE query LIKE 'SELECT waiting%' AND pid <> pg_backend_pid()"
        )
        with engine.connect() as connection:
            while not connection.execute(sa.text(text)).scalar():
                connection.rollback()
                time.sleep(0.05)
        engine.dispose()

    ending = threading.Thread(target=end)
    ending.start()
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="waiting")
    try:
        with pytest.raises(SourceAwayError, match="does not answer as expected"):
            rows(source, tmp_path)
    finally:
        ending.join()
        run(postgres_url, "DROP VIEW waiting")
