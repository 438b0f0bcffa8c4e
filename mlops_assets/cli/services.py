"""What `mlops up` runs: commands, addresses and probes. All listens on loopback.

Only the HTTP endpoint can be told otherwise (MLOPS_SERVE_HOST), and then demands a token.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_assets.cli.probes import Probe, answers, dagster_works, listens
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.ports import LOOPBACK, free_ports, is_free

DEFINITIONS = "mlops_assets.definitions"
ALL = ("dagster", "mlflow", "serve")
# The first run waits for the imports of the process that it is forked from. On a small machine
# under load that takes longer than the 60 s after which Dagster would call the run failed.
GRPC_TIMEOUT = "DAGSTER_GRPC_TIMEOUT_SECONDS"
FIRST_RUN_SECONDS = "300"


@dataclass(frozen=True)
class Service:
    """One process to supervise."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    # Names of services that must be ready before this one is started.
    after: tuple[str, ...] = ()
    # How long it may take to get ready, and how long to end by itself.
    ready_seconds: float = 120.0
    grace_seconds: float = 10.0
    # Whether its children are told to end too, or end in the order that it chooses.
    signals_group: bool = True


def standard_services(
    settings: Settings,
    names: Sequence[str] = ALL,
    ports: Mapping[str, int] | None = None,
    definitions: str = DEFINITIONS,
) -> tuple[Service, ...]:
    """The services of these names (of `ALL`) on the given ports, or else on free ones.

    `definitions` is the module that Dagster loads. Raises ServiceError when a port is taken.
    """
    ports = {name: port for name, port in (ports or {}).items() if port}
    for name, port in ports.items():
        if name in names and not is_free(port):
            raise ServiceError(
                f"port {port} for {name} is taken: choose another, or none to get a free one."
            )
    free = iter(free_ports(len(ALL) + 1))
    at = {name: ports.get(name, next(free)) for name in ALL}
    services: list[Service] = []
    if "serve" in names:
        services.append(_serving(settings, at["serve"]))
    if "dagster" in names:
        services.extend(_dagster(settings, at["dagster"], next(free), definitions))
    if "mlflow" in names and not settings.tracking_uri.startswith(("http://", "https://")):
        services.append(_mlflow(settings, at["mlflow"]))
    return tuple(services)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def _dagster(
    settings: Settings, port: int, code_port: int, definitions: str
) -> tuple[Service, Service, Service]:
    """One code server for webserver and daemon.

    `dagster dev` would start two more processes, take 200 MB and 6 s more, and be slower to stop.
    """
    workspace = settings.dagster_home / "workspace.yaml"
    server = {"host": LOOPBACK, "port": code_port, "location_name": "mlops_assets"}
    # JSON is YAML.
    write_atomically(workspace, json.dumps({"load_from": [{"grpc_server": server}]}).encode())
    url = f"http://{LOOPBACK}:{port}"
    address = ("-h", LOOPBACK, "-p")
    environment = {GRPC_TIMEOUT: os.environ.get(GRPC_TIMEOUT, FIRST_RUN_SECONDS)}
    code = Service(
        name="dagster-code",
        command=_python(
            *("mlops_assets.code_server", *address, str(code_port), "-m", definitions),
            # Without it a definition that fails to load ends the process, and no page tells why.
            "--lazy-load-user-code",
        ),
        probe=listens(code_port),
    )
    webserver = Service(
        name="dagster",
        command=_python("dagster_webserver", *address, str(port), "-w", str(workspace)),
        probe=answers(f"{url}/server_info"),
        environment=environment,
        url=url,
        after=("dagster-code",),
    )
    daemon = Service(
        name="dagster-daemon",
        command=_python("dagster._daemon", "run", "-w", str(workspace)),
        probe=dagster_works(url),
        environment=environment,
        after=("dagster-code",),
    )
    return code, webserver, daemon


def _mlflow(settings: Settings, port: int) -> Service:
    url = f"http://{LOOPBACK}:{port}"
    return Service(
        name="mlflow",
        command=_python(
            *("mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"),
            *("--artifacts-destination", settings.mlflow_artifacts.as_uri()),
            *("--allowed-hosts", f"{LOOPBACK}:{port},localhost:{port}"),
        ),
        # A database URL can hold a password, and command lines are public on a machine.
        environment={"MLFLOW_BACKEND_STORE_URI": settings.mlflow_uri},
        probe=answers(f"{url}/health"),
        url=url,
    )


def _serving(settings: Settings, port: int) -> Service:
    host = LOOPBACK if settings.serve_host in ("0.0.0.0", "localhost") else settings.serve_host  # noqa: S104
    url = f"http://{host}:{port}"
    return Service(
        name="serve",
        command=_python("serving"),
        environment={"MLOPS_SERVE_PORT": str(port)},
        probe=answers(f"{url}/health"),
        url=url,
        ready_seconds=150.0,
        grace_seconds=15.0,
        # Ray's processes must outlive the requests under way.
        signals_group=False,
    )
