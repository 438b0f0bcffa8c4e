"""Whether a service is ready, asked the way its users ask."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from mlops_assets.domain.errors import ServiceError

# Takes the time at which the service was started (seconds since the epoch); raises ServiceError
# when waiting longer is pointless.
Probe = Callable[[float], bool]

PROBE_SECONDS = 2.0

_DAGSTER_QUERY = """{
  instance { daemonHealth { allDaemonStatuses { daemonType required lastHeartbeatTime } } }
  workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { __typename ... on PythonError { message causes { message } } }
  } } }
}"""
# What the webserver says of a code server that has not opened its port yet.
_UNREACHABLE = "DagsterUserCodeUnreachableError"


def answers(url: str) -> Probe:
    """Ready when a GET is answered with 200."""

    def probe(started: float) -> bool:
        try:
            return _fetch(url) is not None
        except (OSError, urllib.error.URLError):
            return False

    return probe


def listens(port: int) -> Probe:
    """Ready when a connection to this port of the loopback is accepted."""

    def probe(started: float) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), PROBE_SECONDS):
                return True
        except OSError:
            return False

    return probe


def dagster_works(webserver: str) -> Probe:
    """Ready when every required daemon has a heartbeat since its start and the code is loaded."""

    def probe(started: float) -> bool:
        try:
            raw = _fetch(f"{webserver}/graphql", {"query": _DAGSTER_QUERY})
        except (OSError, urllib.error.URLError):
            return False
        data = json.loads(raw).get("data") or {}
        return _daemons_live(data, started) and _code_is_loaded(data)

    return probe


def _daemons_live(data: dict[str, Any], started: float) -> bool:
    daemons = data.get("instance", {}).get("daemonHealth", {}).get("allDaemonStatuses", [])
    required = [daemon for daemon in daemons if daemon["required"]]
    # A heartbeat of an earlier daemon counts as healthy for half an hour.
    return bool(required) and all((one["lastHeartbeatTime"] or 0) >= started for one in required)


def _code_is_loaded(data: dict[str, Any]) -> bool:
    locations = (data.get("workspaceOrError") or {}).get("locationEntries", [])
    for location in locations:
        outcome = location["locationOrLoadError"]
        if location["loadStatus"] != "LOADED" or outcome is None:
            return False
        if outcome["__typename"] == "PythonError":
            if _UNREACHABLE in outcome["message"]:
                return False
            chain = [outcome, *outcome["causes"]]
            reasons = "\n".join(error["message"].strip() for error in chain)
            raise ServiceError(f"Dagster cannot load the definitions:\n{reasons}\n")
    return bool(locations)


def _fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    """The body of a 200 answer; raises URLError for another status or OSError for none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content
