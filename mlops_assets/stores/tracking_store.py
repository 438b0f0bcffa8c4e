"""The MLflow store, made once.

Several processes that create one SQLite store at the same moment crash in its migrations, so
whoever comes first does it under a lock.
"""

from pathlib import Path

from filelock import FileLock

LOCK_SECONDS = 300.0


def prepare_tracking_store(uri: str, artifacts: Path, locks: Path) -> None:
    """Create or migrate the SQL store at `uri`; a server (http) does that by itself.

    `artifacts` becomes the root of experiments that name no other. Waits at most `LOCK_SECONDS`
    for the lock in the folder `locks`, then raises filelock.Timeout.
    """
    if uri.startswith(("http://", "https://", "databricks")):
        return
    artifacts.mkdir(parents=True, exist_ok=True, mode=0o700)
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(locks / "tracking.lock", timeout=LOCK_SECONDS):
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        TrackingStore(uri, artifacts.as_uri())
        RegistryStore(uri)
