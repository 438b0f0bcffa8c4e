"""`mlops demo`: the closed loop on real flights, with real servers, in a few minutes."""

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from mlops_assets.cli.home import prepare_home
from mlops_assets.cli.services import standard_services
from mlops_assets.cli.supervisor import Supervisor
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings

MODEL = "flight_delay"
START = datetime(2013, 7, 1, tzinfo=UTC)
MARKER = ".demo"


@click.command()
@click.option("--weeks", default=6, show_default=True, type=click.IntRange(1, 24))
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the result here.")
def demo(weeks: int, target: Path | None) -> None:
    """Watch the loop close on real flights: train, release, serve, watch, retrain, swap.

    Starts Dagster and the HTTP endpoint, sends week after week of flights of 2013 as requests,
    lets labels arrive when flights land, and only watches: reports, decisions, trainings and
    releases are the daemon's own work. In the end it releases a broken version by hand, as in the
    MLflow UI, and watches how the guard takes it back. Stops all that it started.
    """
    from mlops_assets.cli.careless import careless_release
    from mlops_assets.cli.live_loop import LiveLoop
    from mlops_assets.cli.replaying import begins_at, replay, stretch
    from mlops_assets.cli.replaying import count_releases as count
    from mlops_assets.cli.specs import load_model
    from mlops_assets.cli.story import Story
    from mlops_assets.resources import Stores
    from mlops_assets.stores.clock import Clock

    began = time.monotonic()
    settings = _fresh_home(Settings.load())
    model = load_model(settings, MODEL)
    *periods, after = stretch(model, START, START + timedelta(weeks=weeks + 1))
    click.echo(f"The demo's home is {settings.home}; starting Dagster and the endpoint", err=True)
    prepare_home(settings)
    # The clock is set before the daemon starts, or it would begin with all of 2013.
    Clock(settings.clock_file).set(begins_at(model, periods[0]))
    services = standard_services(settings, ("dagster", "serve"))

    def report(name: str, event: str) -> None:
        click.echo(f"  {name}: {event}", err=True)

    try:
        with Supervisor(settings, services, report) as running:
            click.echo(
                f"Dagster {running.urls['dagster']}  endpoint {running.urls['serve']}", err=True
            )
            loop = LiveLoop(settings, model, running.urls["serve"], running.raise_if_failed)
            story = Story(MODEL, len(periods) + 1)
            with loop, story:
                for row in replay(settings, model, loop, periods, story.say, story.tell):
                    story.add(row)
                story.say("a broken version is released by hand, past the gates")
                story.add(careless_release(Stores.of(settings), model, loop, after))
    except KeyboardInterrupt:
        raise ServiceError("interrupted; everything that the demo started is stopped") from None
    result = story.end(settings, time.monotonic() - began, count(settings, model))
    if target is not None:
        target.write_text(json.dumps(result, indent=1))


def _fresh_home(settings: Settings) -> Settings:
    """A home of the demo's own below the user's, emptied; never one that is not the demo's."""
    home = settings.home / "demo"
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).exists():
            raise ServiceError(f"{home} exists and is not the demo's: move it away first")
        if (home / "up.json").exists():
            _refuse_if_running(home)
        shutil.rmtree(home)
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    (home / MARKER).touch()
    fresh = settings.model_copy(
        update={
            "home": home,
            "tracking_uri": "",
            "lake_uri": "",
            "models_dir": settings.models_dir / MODEL,
            "sensor_seconds": 1,
        }
    )
    # This process loads code that reads the settings too: it must see the same ones.
    os.environ.update(
        {name: value for name, value in fresh.environment().items() if name.startswith("MLOPS_")}
    )
    return fresh


def _refuse_if_running(home: Path) -> None:
    from mlops_assets.cli.running import read_running

    running = read_running(home / "up.json")
    if running is not None and not running.is_stale:
        raise ServiceError(f"the demo's home {home} is in use (pid {running.pid}): stop it first")
