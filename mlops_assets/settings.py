"""Where the project keeps its state and how its parts find each other.

`Settings` is the only reader of the environment (prefix `MLOPS_`). Everything lives under
`MLOPS_HOME`, by default `.mlops/` in the project; deleting that folder is a clean start.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent

# Our dependencies phone home by default, MLflow waits four minutes for a dead server, and worse.
QUIET_ENVIRONMENT: Mapping[str, str] = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "GIT_PYTHON_REFRESH": "quiet",
    # Not unset: pandera would have pyarrow take every time for UTC, whatever its zone.
    "PYARROW_IGNORE_TIMEZONE": "",
    # Of a run over many periods, this many events share a commit.
    "DAGSTER_EVENT_BATCH_SIZE": "200",
}


class Settings(BaseSettings):
    """All that differs between a laptop and a cluster."""

    model_config = SettingsConfigDict(env_prefix="MLOPS_", frozen=True, extra="ignore")

    home: Path = Field(
        default=PROJECT_ROOT / ".mlops",
        description="Folder of all state: lake, MLflow store, Dagster home, bundles, logs.",
    )
    tracking_uri: str = Field(
        default="", description="MLflow tracking and registry URI; by default SQLite under home."
    )
    lake_uri: str = Field(
        default="", description="Root of the Delta tables; by default a folder under home."
    )
    online_url: str = Field(
        default="",
        description="Online store of history: sqlite:///path or postgresql://…; by default SQLite "
        "under home.",
    )
    models_dir: Path = Field(
        default=Path(__file__).resolve().parent / "defs",
        description="Folder with one subfolder per model, each holding a defs.yaml.",
    )
    dagster_config: str = Field(
        default="",
        description="A dagster.yaml to use instead of the generated one, for Dagster on Postgres.",
    )
    serve_host: str = Field(default="127.0.0.1", description="Address that the HTTP server binds.")
    serve_port: int = Field(default=8000, description="Port of the HTTP server.")
    serve_replicas: int = Field(
        default=2,
        description="Ray Serve replicas; with two, one may die and no request fails.",
        ge=1,
    )
    serve_token_file: Path | None = Field(
        default=None,
        description="File (mode 0600) with one or two bearer tokens, one per line; required when "
        "serve_host is not a loopback address. `mlops token` makes it.",
    )
    follow_seconds: float = Field(
        default=1.0, description="How often serving looks for a moved alias, in seconds.", gt=0
    )
    ray_address: str = Field(
        default="",
        description="Ray cluster that `mlops predict --out` scores on and parallel trials run on: "
        "host:port, ray://host:port, auto, or local for one on this machine; empty: none.",
    )
    dagster_url: str = Field(
        default="",
        description="Address of the Dagster UI, for the links in alerts; by default that of the "
        "running `mlops up`.",
    )
    sensor_seconds: int = Field(
        default=30, description="Least time between two ticks of each sensor, in seconds.", ge=1
    )

    @property
    def mlflow_uri(self) -> str:
        """The tracking URI in force."""
        return self.tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Where the default store keeps artifacts."""
        return self.home / "mlflow" / "artifacts"

    @property
    def lake_root(self) -> str:
        """The lake root in force."""
        return self.lake_uri or str(self.home / "lake")

    @property
    def online_store(self) -> str:
        """URL of the online store in force."""
        return self.online_url or f"sqlite:///{self.online_file}"

    @property
    def online_file(self) -> Path:
        """The online store on this machine."""
        return self.home / "online" / "history.db"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME: instance storage and the generated dagster.yaml."""
        return self.home / "dagster"

    @property
    def bundle_cache(self) -> Path:
        """The node's cache of verified serving bundles."""
        return self.home / "bundles"

    @property
    def serving_state(self) -> Path:
        """The pointer file that replicas watch."""
        return self.home / "serving" / "state.json"

    @property
    def serving_stats(self) -> Path:
        """Folder in which each replica keeps its counts."""
        return self.home / "serving" / "stats"

    @property
    def serving_answers(self) -> Path:
        """Folder in which each replica keeps its latest answers, for requests sent again."""
        return self.home / "serving" / "answers"

    @property
    def prediction_log(self) -> Path:
        """Folder of prediction log segments."""
        return self.home / "prediction_log"

    @property
    def reports(self) -> Path:
        """Folder of HTML reports and pictures."""
        return self.home / "reports"

    @property
    def downloads(self) -> Path:
        """Copies of the tables that sources have at http(s) addresses."""
        return self.home / "downloads"

    @property
    def backtests(self) -> Path:
        """Cache of what backtests have trained."""
        return self.home / "backtests"

    @property
    def logs(self) -> Path:
        """Folder of the supervised processes' logs."""
        return self.home / "logs"

    @property
    def locks(self) -> Path:
        """Folder of lock files."""
        return self.home / "locks"

    @property
    def clock_file(self) -> Path:
        """Where a replay keeps its clock; absent in live operation."""
        return self.home / "clock.json"

    @property
    def services_file(self) -> Path:
        """Addresses of the services that `mlops up` runs."""
        return self.home / "up.json"

    def environment(self) -> dict[str, str]:
        """The environment of a child process that must share these settings."""
        own = {
            f"MLOPS_{name.upper()}": str(value)
            for name in type(self).model_fields
            if (value := getattr(self, name)) not in (None, "")
        }
        return {
            **os.environ,
            **QUIET_ENVIRONMENT,
            **own,
            "DAGSTER_HOME": str(self.dagster_home),
        }

    @classmethod
    def load(cls) -> "Settings":
        """Read the environment and silence our dependencies' telemetry in this process."""
        for name, value in QUIET_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        settings = cls()
        return settings.model_copy(update={"home": settings.home.expanduser().resolve()})
