"""Makes MLOPS_HOME ready, once: folders, dagster.yaml, and the databases of Dagster and MLflow.

Fresh SQLite stores crash when several processes migrate them at once, so all of it happens under
one lock. The two heavy libraries are imported in processes of their own, side by side, so that a
command that only starts others stays small.
"""

import hashlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically

FORMAT = 1
MARKER = "prepared.json"
LOCK_SECONDS = 300.0

DAGSTER_YAML = """\
# Written by mlops; it is written anew when mlops or Dagster is upgraded.
telemetry: {enabled: false}
nux: {enabled: false}
# How far the download of a source's file has come.
python_logs: {managed_python_loggers: [mlops_assets.stores.sources.copies]}
run_queue:
  max_concurrent_runs: 2
  dequeue_interval_seconds: 1
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 60
  max_runtime_seconds: 14400
  poll_interval_seconds: 10
run_retries:
  enabled: true
  max_retries: 1
  # Assets have retry policies of their own; what is run again is a run whose process was lost.
  retry_on_asset_or_op_failure: false
sensors: {use_threads: true, num_workers: 4}
schedules: {use_threads: true, num_workers: 2}
"""
# In SQLite only, where Dagster keeps it by default.
EVENT_LOG_YAML = """\
event_log_storage:
  module: mlops_assets.event_log
  class: OpenSqliteEventLog
  config: {base_dir: %s}
"""


def prepare_home(settings: Settings) -> None:
    """Make the home ready; returns at once when it is. Raises ServiceError if it cannot be."""
    wanted = _fingerprint(settings)
    if _is_prepared(settings, wanted):
        return
    _make_folders(settings)
    try:
        with FileLock(settings.locks / "prepare.lock", timeout=LOCK_SECONDS):
            if _is_prepared(settings, wanted):
                return
            write_atomically(settings.dagster_home / "dagster.yaml", _dagster_yaml(settings))
            # A home that was moved or copied has its databases.
            if {**_found(settings), "home": wanted["home"]} != wanted:
                _run_side_by_side(settings, ("initialise_dagster", "initialise_mlflow"))
            write_atomically(settings.home / MARKER, json.dumps(wanted).encode())
    except Timeout:
        raise ServiceError(
            f"{settings.home} is being prepared by another process for more than "
            f"{LOCK_SECONDS:.0f} s; end that process, or delete the folder to start afresh."
        ) from None


def initialise_dagster() -> None:
    """Create or migrate the SQLite stores of the instance in DAGSTER_HOME."""
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        instance.upgrade()
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
        instance.get_daemon_heartbeats()


def initialise_mlflow() -> None:
    """Create or migrate the MLflow store."""
    from mlops_assets.stores.tracking_store import prepare_tracking_store

    settings = Settings.load()
    prepare_tracking_store(settings.mlflow_uri, settings.mlflow_artifacts, settings.locks)


def _dagster_yaml(settings: Settings) -> bytes:
    """The instance's configuration: the user's, or ours."""
    template = _template(settings)
    if settings.dagster_config:
        return template
    return template % json.dumps(str(settings.dagster_home / "history" / "runs")).encode()


def _template(settings: Settings) -> bytes:
    """The configuration, without our own one's folder."""
    if not settings.dagster_config:
        return (DAGSTER_YAML + EVENT_LOG_YAML).encode()
    try:
        return Path(settings.dagster_config).read_bytes()
    except OSError as error:
        raise ServiceError(
            f"MLOPS_DAGSTER_CONFIG={settings.dagster_config} cannot be read ({error.strerror}): "
            "name a dagster.yaml, or unset it to use SQLite."
        ) from error


def _fingerprint(settings: Settings) -> dict[str, str | int]:
    return {
        "format": FORMAT,
        "home": str(settings.dagster_home),
        "dagster": version("dagster"),
        "mlflow": version("mlflow"),
        "tracking_uri": settings.tracking_uri,
        "dagster_yaml": hashlib.sha256(_template(settings)).hexdigest(),
    }


def _found(settings: Settings) -> dict[str, str | int]:
    """What the home was prepared for; empty if it never was."""
    try:
        found = json.loads((settings.home / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_prepared(settings: Settings, wanted: dict[str, str | int]) -> bool:
    return _found(settings) == wanted and (settings.dagster_home / "dagster.yaml").exists()


def _make_folders(settings: Settings) -> None:
    folders = [
        settings.home,
        settings.dagster_home,
        settings.mlflow_artifacts.parent,
        settings.mlflow_artifacts,
        settings.bundle_cache,
        settings.serving_state.parent,
        settings.prediction_log,
        settings.reports,
        settings.logs,
        settings.locks,
    ]
    try:
        for folder in folders:
            if not folder.exists():
                # Only the owner may read predictions, data and logs.
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ServiceError(
            f"MLOPS_HOME={settings.home} cannot be used: {error}. Set it to a writable folder."
        ) from error


def _run_side_by_side(settings: Settings, functions: tuple[str, ...]) -> None:
    """Call functions of this module, each in a process of its own, and wait for all."""
    started: list[tuple[subprocess.Popen[bytes], Path]] = []
    try:
        for name in functions:
            log = settings.logs / f"{name}.log"
            code = f"from mlops_assets.cli.home import {name}; {name}()"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    env=settings.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            started.append((process, log))
        for process, log in started:
            if process.wait() != 0:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise ServiceError(f"{settings.home} could not be prepared, see {log}: {last}")
    finally:
        for process, _ in started:
            if process.poll() is None:
                process.kill()
                process.wait()


if __name__ == "__main__":
    # For a deployment, where one container does this before all others start.
    prepare_home(Settings.load())
