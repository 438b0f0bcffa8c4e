"""`mlops replay`: take a model through a stretch of its history with a clock of its own."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from filelock import FileLock, Timeout

from mlops_assets.cli.home import prepare_home
from mlops_assets.cli.running import running_url
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings

LOCK = "replay.lock"
DATES = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("model")
@click.option("--from", "start", required=True, type=DATES, help="First day.")
@click.option("--to", "end", required=True, type=DATES, help="Day after the last one.")
@click.option("--live", is_flag=True, help="Against the running `mlops up`, over HTTP.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the result here.")
def replay(model: str, start: datetime, end: datetime, live: bool, target: Path | None) -> None:
    """Take MODEL through its history: requests, late labels, reports, decisions, retrains.

    In this process by default, with the same definitions and serving code, and no server. The
    clock stays where the replay ended; `mlops clock --system` resets it.
    """
    from mlops_assets.cli.replaying import count_releases as count
    from mlops_assets.cli.replaying import replay as run
    from mlops_assets.cli.replaying import stretch
    from mlops_assets.cli.specs import load_model
    from mlops_assets.cli.story import Story

    settings = Settings.load()
    found = load_model(settings, model)
    periods = stretch(found, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    if not periods:
        raise click.UsageError(f"no period of {model} begins between {start:%F} and {end:%F}")
    # Both import Dagster, which a mistake in the command need not wait for.
    from mlops_assets.cli.live_loop import LiveLoop
    from mlops_assets.cli.local_loop import LocalLoop

    with _alone(settings):
        prepare_home(settings)
        began = time.monotonic()
        before = count(settings, found)
        story = Story(model, len(periods))
        loop = (
            LiveLoop(settings, found, running_url(settings, "serve"))
            if live
            else LocalLoop(settings, found, story.note)
        )
        with loop, story:
            for row in run(settings, found, loop, periods, story.say, story.tell):
                story.add(row)
    result = story.end(settings, time.monotonic() - began, count(settings, found) - before)
    if target is not None:
        target.write_text(json.dumps(result, indent=1))


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """No other replay of this home meanwhile: both would move the clock that its models share.

    Raises ServiceError where one is under way. A killed one leaves no lock behind.
    """
    settings.locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.locks / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ServiceError(
            f"another replay of {settings.home} is under way, and both would move the clock that "
            "its models share: wait for its end, or give this one another MLOPS_HOME."
        ) from error
    try:
        yield
    finally:
        lock.release()
