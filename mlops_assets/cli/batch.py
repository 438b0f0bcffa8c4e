"""`mlops predict --out`: large files and tables, scored here with the bundle of a version."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.domain.errors import DataError, ReleaseError, SpecError
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.stores.batch_history import BatchPast
    from mlops_assets.stores.batch_run import Summary


@dataclass(frozen=True)
class BatchOptions:
    """What the command line says of a batch."""

    out: Path
    version: str | None
    engine: str
    keep: tuple[str, ...]
    workers: int | None
    overwrite: bool


def score_here(
    settings: Settings, model: str, source: str, options: BatchOptions, *, as_json: bool
) -> None:
    """Score `source`, a path or a table of the model's lake, into the folder `options.out`."""
    from mlops_assets.stores.batch_run import BatchPlan, run_batch

    path = _located(settings, model, source)
    version, bundle = _bundle(settings, model, options.version)
    plan = BatchPlan(
        bundle=bundle,
        version=version,
        engine=options.engine,  # type: ignore[arg-type]
        input_path=path,
        output=options.out.resolve(),
        keep=options.keep,
        past=_past(settings, model, bundle),
    )
    started = time.perf_counter()
    with _progress(show=not as_json) as start:
        summary = run_batch(
            plan,
            workers=options.workers or len(os.sched_getaffinity(0)),
            ray_address=settings.ray_address,
            overwrite=options.overwrite,
            start=start,
        )
    seconds = time.perf_counter() - started
    if as_json:
        content = {**vars(summary), "out": str(options.out), "seconds": round(seconds, 3)}
        click.echo(json.dumps(content))
    else:
        _tell(summary, options.out, seconds)


def _past(settings: Settings, model: str, bundle: Path) -> "BatchPast | None":
    """Where inputs from the past are looked up, if the version has any and there is a past."""
    from mlops_assets.cli.specs import load_model
    from mlops_assets.domain.contract import Contract
    from mlops_assets.stores.batch_history import BatchPast
    from mlops_assets.stores.bundles import CONTRACT

    if not Contract.from_json((bundle / CONTRACT).read_bytes()).history:
        return None
    try:
        found = load_model(settings, model)
    except SpecError:
        # Rows that bring these inputs need no past; the others are told.
        return None
    return BatchPast.newest(found, settings.lake_root)


def _located(settings: Settings, model: str, source: str) -> str:
    """Absolute path of a file or folder, or the URI of a table of the model's lake."""
    if "://" in source:
        return source
    if Path(source).exists():
        return str(Path(source).resolve())
    from mlops_assets.stores.lake import Lake

    lake = Lake(settings.lake_root)
    if "/" not in source and lake.exists(model, source):
        return lake.path(model, source)
    raise DataError(f"{source} is neither a file or folder, nor a table of {model} in the lake.")


def _bundle(settings: Settings, model: str, version: str | None) -> tuple[str, Path]:
    """The version (the champion by default) and the folder of its verified bundle."""
    from mlops_assets.cli.models import open_registry, registry_errors
    from mlops_assets.stores.registry import CHAMPION

    registry = open_registry(settings)
    if registry is None:
        raise ReleaseError(f"{model} has no version: there is no registry at {settings.home} yet.")
    with registry_errors():
        if version is None:
            champion = registry.alias(model, CHAMPION)
            if champion is None:
                raise ReleaseError(
                    f"{model} has no champion; `mlops status` lists versions, and --version N "
                    "scores with one of them."
                )
            version = champion.version
        return version, registry.cached_bundle(model, version, settings.bundle_cache)


@contextmanager
def _progress(*, show: bool) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """A bar on stderr, which is not shown where nobody looks at it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (show and console.is_terminal),
    )

    def start(rows: int) -> Callable[[int], None]:
        task: Any = bar.add_task("Rows", total=rows)
        return lambda done: bar.advance(task, done)

    with bar:
        yield start


def _tell(summary: "Summary", out: Path, seconds: float) -> None:
    rate = f", {summary.rows / seconds:,.0f} rows/s" if not summary.skipped else ""
    click.echo(
        f"{summary.predicted:,} predictions of {summary.model} version {summary.version} in {out} "
        f"({summary.parts} parts, {summary.skipped} were there; {seconds:.1f} s{rate})"
    )
    if summary.looked_up:
        click.echo(f"looked up in the lake as of each row's time: {', '.join(summary.looked_up)}")
    if summary.rejected:
        click.echo(f"{summary.rejected:,} rows could not be scored; they are in {out}/_rejected:")
        for reason, count in list(summary.reasons.items())[:10]:
            click.echo(f"  {count:>10,}  {reason}")
