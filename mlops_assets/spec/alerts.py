"""What a model's `defs.yaml` may say about its alerts."""

from pydantic import Field

from mlops_assets.spec.part import Part


class Alerting(Part):
    """Who is told what: always the daemon's log, and the channels of an environment variable."""

    urls_env: str = Field(
        default="MLOPS_ALERT_URLS",
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds Apprise URLs, separated by blanks; they carry "
        "credentials, so they never stand here.",
    )
    stale_after: int = Field(
        default=1,
        ge=0,
        description="Periods that may be over without having been ingested before the data counts "
        "as stale.",
    )
