import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.settings import PROJECT_ROOT
from mlops_assets.stores.online import OnlineStore
from mlops_assets_tests.deploy import commands
from mlops_assets_tests.deploy.conftest import (
    APP,
    DEPLOY,
    SETTINGS,
    documents,
    environment_of,
    instructions,
)

FILE = DEPLOY / "compose.yaml"
OURS = ("prepare", "mlflow", "dagster-code", "dagster-webserver", "dagster-daemon", "serving")


def check_schema(path: Path, schema: str) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [program, "--builtin-schema", schema, path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_file_fits_the_schema_of_compose():
    done = check_schema(FILE, "vendor.compose-spec")
    assert done.returncode == 0, done.stdout


def test_a_misspelt_key_would_not_fit(tmp_path: Path):
    bad = tmp_path / "compose.yaml"
    bad.write_text(FILE.read_text().replace("depends_on:", "depend_on:"))
    assert check_schema(bad, "vendor.compose-spec").returncode != 0


def test_no_container_fills_the_disk_with_what_it_writes(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        options = service["logging"]["options"]
        assert options["max-size"] == "10m", name
        assert int(options["max-file"]) <= 5, name


def test_the_whole_system_is_there(compose: dict[str, Any]):
    assert set(compose["services"]) == {*OURS, "postgres"}


@pytest.mark.parametrize("name", OURS)
def test_commands_and_healthchecks_are_the_codes(compose: dict[str, Any], name: str):
    service = compose["services"][name]
    commands.check(service["command"])
    if name != "prepare":
        kind, *check = service["healthcheck"]["test"]
        assert kind == "CMD"
        commands.check(check)


def test_settings_exist_and_those_of_the_images_are_not_contradicted(compose: dict[str, Any]):
    used = {
        name
        for service in compose["services"].values()
        for name in service.get("environment", {})
        if name.startswith("MLOPS_")
    }
    assert {"MLOPS_TRACKING_URI", "MLOPS_SERVE_TOKEN_FILE"} <= used <= SETTINGS


def test_images_are_built_from_files_that_are_there(compose: dict[str, Any]):
    for name in OURS:
        build = compose["services"][name]["build"]
        context = (DEPLOY / build["context"]).resolve()
        assert context == PROJECT_ROOT
        assert (context / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_hardened(compose: dict[str, Any], name: str):
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # HAProxy is started through a script below /tmp, and a tmpfs is noexec by default.
    assert service["tmpfs"] == ["/tmp:exec,mode=1777"]
    assert "user" not in service
    home = environment_of(DEPLOY / "docker" / "serving.Dockerfile")["MLOPS_HOME"]
    assert service["volumes"] == [f"state:{home}"]


def test_only_loopback_is_published_and_the_ports_are_those_of_the_commands(
    compose: dict[str, Any],
):
    published = {}
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            address, outside, inside = port.split(":")
            assert address == "127.0.0.1"
            published[name] = (outside, inside)
    assert published == {
        "serving": ("8000", "8000"),
        "mlflow": ("5000", "5000"),
        "dagster-webserver": ("3000", "3000"),
    }
    for name in ("mlflow", "dagster-webserver"):
        command = compose["services"][name]["command"]
        assert command[command.index("--port") + 1] == published[name][1]
    assert compose["services"]["serving"]["environment"]["MLOPS_SERVE_PORT"] == "8000"


def test_the_parts_find_each_other(compose: dict[str, Any]):
    services = compose["services"]
    server = documents(DEPLOY / "dagster" / "workspace.yaml")[0]["load_from"][0]["grpc_server"]
    assert server["host"] in services
    command = services[server["host"]]["command"]
    assert command[command.index("--port") + 1] == str(server["port"])
    for name in ("prepare", "dagster-code", "serving"):
        uri = services[name]["environment"]["MLOPS_TRACKING_URI"]
        assert uri == "http://mlflow:5000"
    allowed = services["mlflow"]["command"][-1].split(",")
    assert "mlflow:5000" in allowed
    backend = services["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    found = re.fullmatch(r"postgresql\+psycopg2://(\w+)@(\w+):(\d+)/(\w+)", backend)
    assert found is not None
    assert found.groups() == ("mlops", "postgres", "5432", "mlflow")
    assert services["dagster-code"]["environment"]["PGHOST"] == "postgres"
    assert services["postgres"]["environment"]["POSTGRES_USER"] == "mlops"
    storage = documents(DEPLOY / "dagster" / "dagster.yaml")[0]["storage"]["postgres"]
    assert storage["postgres_db"]["username"] == "mlops"
    assert storage["postgres_db"]["db_name"] == services["postgres"]["environment"]["POSTGRES_DB"]


def test_code_and_replicas_share_the_online_store(compose: dict[str, Any]):
    services = compose["services"]
    environments = [services[name]["environment"] for name in ("dagster-code", "serving")]
    (url,) = {one["MLOPS_ONLINE_URL"] for one in environments}
    assert OnlineStore(url).is_remote
    found = re.fullmatch(r"postgresql://(\w+)@(\w+):5432/(\w+)", url)
    assert found is not None
    user, host, database = found.groups()
    assert (user, host) == (services["postgres"]["environment"]["POSTGRES_USER"], "postgres")
    made = (DEPLOY / "postgres" / "databases.sql").read_text()
    assert f"CREATE DATABASE {database} OWNER {user};" in made
    assert "pgpass" in services["serving"]["secrets"]
    assert {one["PGPASSFILE"] for one in environments} == {"/run/secrets/pgpass"}


def test_paths_in_containers_are_in_the_images(compose: dict[str, Any]):
    copied = {
        rest.split()[-1]
        for name, rest in instructions(DEPLOY / "docker" / "dagster.Dockerfile")
        if name == "COPY"
    }
    assert "/app/deploy/dagster" in copied
    environment = environment_of(DEPLOY / "docker" / "dagster.Dockerfile")
    paths = {environment["MLOPS_DAGSTER_CONFIG"]}
    for service in compose["services"].values():
        paths |= {one for one in service.get("command", ()) if one.startswith(f"{APP}/")}
    assert len(paths) == 2
    for path in paths:
        assert path.startswith("/app/deploy/dagster/")
        assert (PROJECT_ROOT / Path(path).relative_to(APP)).is_file()
    assert environment["DAGSTER_HOME"] == f"{environment['MLOPS_HOME']}/dagster"


def test_dependencies_wait_for_health_and_networks_reach_them(compose: dict[str, Any]):
    services = compose["services"]
    count = 0
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            count += 1
            assert set(service["networks"]) & set(services[other]["networks"]), (name, other)
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
            if how["condition"] == "service_completed_successfully":
                assert services[other]["restart"] == "no"
    assert count >= 8
    assert compose["networks"]["inside"] == {"internal": True}
    # A port of a container that is on internal networks only is not published.
    for service in services.values():
        assert not service.get("ports") or "outside" in service["networks"]


def test_secrets_come_as_files_that_make_secrets_writes(compose: dict[str, Any], tmp_path: Path):
    folder = tmp_path / "secrets"
    script = [DEPLOY / "make-secrets", folder]
    subprocess.run(script, check=True, capture_output=True)
    made = {path.name: path for path in folder.iterdir()}
    assert {one["file"].removeprefix("./secrets/") for one in compose["secrets"].values()} == set(
        made
    )
    assert {path.stat().st_mode & 0o777 for path in made.values()} == {0o600}
    password = made["postgres_password"].read_text()
    assert len(password) == len(made["serve_token"].read_text()) == 64
    assert password != made["serve_token"].read_text()
    assert made["pgpass"].read_text() == f"postgres:5432:*:mlops:{password}\n"
    mounted = {
        value
        for service in compose["services"].values()
        for value in service.get("environment", {}).values()
        if value.startswith("/run/secrets/")
    }
    assert mounted == {f"/run/secrets/{name}" for name in made}


def test_secrets_are_never_overwritten(tmp_path: Path):
    (tmp_path / "pgpass").write_text("mine")
    done = subprocess.run(
        [DEPLOY / "make-secrets", tmp_path], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["pgpass"]


def test_postgres_can_read_its_databases_in_a_clone_for_its_owner_only(tmp_path: Path):
    """Without them PostgreSQL stops half-way, and takes its volume for complete ever after."""
    copy = Path(
        shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    )
    databases = copy / "postgres" / "databases.sql"
    databases.chmod(0o600)
    subprocess.run([copy / "make-secrets"], check=True, capture_output=True)
    assert databases.stat().st_mode & 0o777 == 0o644


def test_serving_reads_the_token_that_make_secrets_writes(tmp_path: Path):
    from mlops_assets.stores.tokens import read_tokens

    folder = tmp_path / "secrets"
    subprocess.run([DEPLOY / "make-secrets", folder], check=True, capture_output=True)
    assert read_tokens(folder / "serve_token") == ((folder / "serve_token").read_text(),)


def test_git_ignores_the_secrets():
    assert (DEPLOY / "secrets" / ".gitignore").read_text() == "*\n!.gitignore\n"
