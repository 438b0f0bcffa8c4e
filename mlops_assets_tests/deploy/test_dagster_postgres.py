"""The instance of deploy/dagster/dagster.yaml, on a real PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from mlops_assets.cli.home import DAGSTER_YAML
from mlops_assets.settings import Settings
from mlops_assets_tests.deploy.conftest import DEPLOY

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
