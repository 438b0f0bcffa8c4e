"""What deploy/ keeps in PostgreSQL, on a real one: Dagster's instance and the online store."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psycopg2
import pytest
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from mlops_assets.cli.home import DAGSTER_YAML
from mlops_assets.domain.errors import StoreAwayError
from mlops_assets.settings import Settings
from mlops_assets.stores.online import KeyHistory, OnlineStore
from mlops_assets_tests.deploy.conftest import DEPLOY, documents

FILE = DEPLOY / "dagster" / "dagster.yaml"
MATERIALIZE = """
import dagster as dg

@dg.asset
def small():
    return dg.MaterializeResult(metadata={"rows": 3})

with dg.DagsterInstance.get() as instance:
    assert dg.materialize([small], instance=instance).success
with dg.DagsterInstance.get() as instance:
    event = instance.get_latest_materialization_event(small.key)
    print(type(instance.run_storage).__name__, event.asset_materialization.metadata["rows"].value)
"""


@pytest.fixture(scope="module")
def databases(postgres_url: str) -> dict[str, str]:
    """The databases and the user of the compose file; returns libpq's variables."""
    url = make_url(postgres_url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    statements = [
        f"CREATE ROLE mlops LOGIN PASSWORD '{url.password}'",
        "CREATE ROLE replica LOGIN PASSWORD 'secret'",
        "CREATE DATABASE dagster OWNER mlops",
        *(DEPLOY / "postgres" / "databases.sql").read_text().split(";\n"),
    ]
    with engine.connect() as connection:
        for statement in filter(str.strip, statements):
            connection.execute(text(statement))
    engine.dispose()
    return {
        "PGHOST": str(url.host),
        "PGPORT": str(url.port),
        "password": str(url.password),
    }


@pytest.fixture
def environment(databases: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """What the containers have: host and port, and a file with the password."""
    secret = tmp_path / "pgpass"
    password = databases["password"].replace("\\", "\\\\").replace(":", "\\:")
    secret.write_text(f"{databases['PGHOST']}:{databases['PGPORT']}:*:mlops:{password}\n")
    secret.chmod(0o600)
    found = {name: databases[name] for name in ("PGHOST", "PGPORT")}
    return {"PGPASSFILE": str(secret), **found}


def run(code: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.postgres
def test_a_prepared_home_keeps_dagsters_runs_in_postgres(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # As in the containers: MLflow is a server, so only Dagster's tables are made here.
    home = {
        "MLOPS_HOME": str(tmp_path / "home"),
        "MLOPS_TRACKING_URI": "http://mlflow:5000",
        "MLOPS_DAGSTER_CONFIG": str(FILE),
    }
    prepare = [sys.executable, "-m", "mlops_assets.cli.home"]
    variables = {**os.environ, **environment, **home}
    done = subprocess.run(prepare, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings = Settings(home=tmp_path / "home")
    assert (settings.dagster_home / "dagster.yaml").read_text() == FILE.read_text()

    done = run(MATERIALIZE, {**environment, "DAGSTER_HOME": str(settings.dagster_home)})
    assert done.stdout.split() == ["PostgresRunStorage", "3"], done.stderr
    assert not list(settings.dagster_home.rglob("*.db"))
    assert rows("dagster", "runs", environment) == 1


@pytest.mark.postgres
def test_without_its_scheme_the_instance_does_not_load(environment: dict[str, str], tmp_path: Path):
    """Why the scheme is in the file; when this fails, it can go."""
    (tmp_path / "dagster.yaml").write_text(FILE.read_text().replace("scheme: ", "# scheme: "))
    done = run(MATERIALIZE, {**environment, "DAGSTER_HOME": str(tmp_path)})
    assert done.returncode != 0
    assert "psycopg" in done.stderr


@pytest.mark.postgres
def test_the_database_of_mlflow_is_there_and_the_user_may_use_it(environment: dict[str, str]):
    assert rows("mlflow", "pg_database", environment) >= 2


def rows(database: str, table: str, environment: dict[str, str]) -> Any:
    url = "postgresql+psycopg2://mlops@{PGHOST}:{PGPORT}/".format(**environment) + database
    engine = create_engine(url, connect_args={"passfile": environment["PGPASSFILE"]})
    with engine.connect() as connection:
        counted = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
    engine.dispose()
    return counted


def test_on_postgres_dagster_behaves_as_on_one_machine():
    """But for the storage, the file says what `mlops up` writes."""
    ours = yaml.safe_load(FILE.read_text())
    assert ours.pop("storage")
    assert ours == yaml.safe_load(DAGSTER_YAML)


def online_urls() -> dict[str, str]:
    """What the files set MLOPS_ONLINE_URL to: where Dagster runs, and where replicas do."""
    services = documents(DEPLOY / "compose.yaml")[0]["services"]
    (settings,) = (
        one
        for one in documents(DEPLOY / "kubernetes" / "base" / "settings.yaml")
        if "MLOPS_ONLINE_URL" in one.get("data", {})
    )
    return {
        "dagster": services["dagster-code"]["environment"]["MLOPS_ONLINE_URL"],
        "compose": services["serving"]["environment"]["MLOPS_ONLINE_URL"],
        "kubernetes": settings["data"]["MLOPS_ONLINE_URL"],
    }


def here(url: str, environment: dict[str, str], user: str = "mlops") -> str:
    """A file's URL, on the server of this test."""
    place = f"{user}@{environment['PGHOST']}:{environment['PGPORT']}"
    return urlsplit(url)._replace(netloc=place).geturl()


@pytest.mark.postgres
def test_the_online_store_takes_its_password_from_where_the_files_put_it(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    urls = online_urls()
    # Compose: the file of the secret, for whoever publishes and whoever reads.
    monkeypatch.setenv("PGPASSFILE", environment["PGPASSFILE"])
    known = KeyHistory(np.array([1, 2]), {"late": np.array([0.5, 3.0])}, {})
    publisher = OnlineStore(here(urls["dagster"], environment))
    publisher.publish("m", [("plane", "N1", known)], since=None, until=9)
    _, found = OnlineStore(here(urls["compose"], environment)).read("m", {"plane": ["N1"]})
    assert found["plane", "N1"].to_bytes() == known.to_bytes()
    # Kubernetes: a variable of the Secret, and here a user who may do nothing but read.
    with psycopg2.connect(here(urls["kubernetes"], environment)) as connection:
        connection.cursor().execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO replica")
    connection.close()
    monkeypatch.delenv("PGPASSFILE")
    replica = OnlineStore(here(urls["kubernetes"], environment, "replica"))
    with pytest.raises(StoreAwayError):
        replica.read("m", {"plane": ["N1"]})
    monkeypatch.setenv("PGPASSWORD", "secret")
    assert replica.read("m", {"plane": ["N1"]})[1].keys() == {("plane", "N1")}
    with pytest.raises(StoreAwayError):
        replica.publish("m", [], since=None, until=10)
