"""Links into the Dagster UI, where one is known to run."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class Links:
    """Addresses below the UI's own; empty where that is not known."""

    base: str

    def asset(self, model: str, asset: str, period: str = "") -> str:
        """The page of an asset, or of one of its periods."""
        if not self.base:
            return ""
        page = f"{self.base.rstrip('/')}/assets/{quote(model)}/{quote(asset)}"
        return f"{page}?view=partitions&partition={quote(period, safe='')}" if period else page

    def checks(self, model: str, asset: str) -> str:
        """The page of an asset's checks."""
        return f"{page}?view=checks" if (page := self.asset(model, asset)) else ""

    def run(self, run_id: str) -> str:
        """The page of a run."""
        return f"{self.base.rstrip('/')}/runs/{quote(run_id)}" if self.base else ""


def dagster_address(services_file: Path) -> str:
    """The UI's address as `mlops up` published it; empty if it does not run, or runs without."""
    try:
        services = json.loads(services_file.read_bytes())["services"]
        return next((str(one["url"]) for one in services if one["name"] == "dagster"), "")
    except (OSError, ValueError, KeyError, TypeError):
        return ""
