"""up.json: which services of this home run, and where."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_assets.cli.processes import is_running
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically


@dataclass(frozen=True)
class RunningService:
    """One supervised process; `url` is empty for a helper without an address."""

    name: str
    pid: int
    url: str


@dataclass(frozen=True)
class Running:
    """What a supervisor has started. `created` is its own start, in seconds since the epoch."""

    pid: int
    created: float
    token: str
    ready: bool
    services: tuple[RunningService, ...]

    @property
    def urls(self) -> dict[str, str]:
        """Address by service name."""
        return {service.name: service.url for service in self.services if service.url}

    @property
    def is_stale(self) -> bool:
        """Whether the supervisor was killed and could not take its file away."""
        return not is_running(self.pid, self.created)

    def write(self, path: Path) -> None:
        """Publish, whole or not at all."""
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())


def read_running(path: Path) -> Running | None:
    """What up.json says; nothing if it is absent or unreadable."""
    try:
        data = json.loads(path.read_bytes())
        services = tuple(RunningService(**service) for service in data.pop("services"))
        return Running(services=services, **data)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def running_url(settings: Settings, name: str) -> str:
    """Address of a service of the running `mlops up`; raises ServiceError if there is none."""
    running = read_running(settings.services_file)
    if running is None or running.is_stale:
        raise ServiceError(f"nothing runs on {settings.home}: start it with `mlops up`.")
    if name not in running.urls:
        raise ServiceError(
            f"`mlops up` (pid {running.pid}) runs without {name!r}; it has "
            f"{', '.join(running.urls) or 'no service with an address'}."
        )
    return running.urls[name]
