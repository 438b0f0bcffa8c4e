"""A model that lives through a stretch of its history against real servers: Dagster, Ray Serve."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psutil

from mlops_assets.cli.live_loop import LiveLoop
from mlops_assets.cli.services import Service
from mlops_assets.domain.timeline import PeriodRow
from mlops_assets.resources import Stores
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets_tests.loop import environment


@dataclass(frozen=True)
class Lived:
    """What the periods brought, and processes that were still there after the end."""

    rows: list[PeriodRow]
    stores: Stores
    model: Model
    left: list[psutil.Process]


def live(
    root: Path,
    prepared_home: Path,
    name: str,
    start: datetime,
    end: datetime,
    kind: type[LiveLoop] = LiveLoop,
) -> Lived:
    """Take the model of `root/models` through all periods that begin in the stretch."""
    from mlops_assets.cli.home import prepare_home
    from mlops_assets.cli.replaying import begins_at, replay, stretch
    from mlops_assets.cli.services import standard_services
    from mlops_assets.cli.specs import load_model
    from mlops_assets.cli.supervisor import Supervisor
    from mlops_assets.stores.clock import Clock

    settings = Settings(
        home=root / "home",
        models_dir=root / "models",
        sensor_seconds=1,
        tracking_uri="",
        lake_uri="",
    )
    shutil.copytree(prepared_home, settings.home)
    prepare_home(settings)
    model = load_model(settings, name)
    periods = stretch(model, start, end)
    Clock(settings.clock_file).set(begins_at(model, periods[0]))
    services = tuple(_eager(standard_services(settings, ("dagster", "serve"))))
    before = {process.pid for process in psutil.process_iter()}
    with environment(**dict(os.environ)), Supervisor(settings, services) as running:
        loop = kind(settings, model, running.urls["serve"], running.raise_if_failed)
        with loop:
            rows = list(replay(settings, model, loop, periods, lambda text: None))
    left = [
        process
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.pid not in before and str(root) in " ".join(process.info["cmdline"] or [])
    ]
    return Lived(rows, Stores.of(settings), model, left)


def _eager(services: tuple[Service, ...]) -> Iterator[Service]:
    """The services, with a daemon that does not wait five seconds between its looks."""
    for service in services:
        if service.name != "dagster-daemon":
            yield service
            continue
        python, option, _, *arguments = service.command
        eager = "mlops_assets_tests.eager_daemon"
        yield replace(service, command=(python, option, eager, *arguments))
