"""One cell in a process of its own: `python -m benchmarks.pipeline.cell WHAT WHO FOLDER COPIES`.

WHAT is `data`, from the source to features, or `cycle`, a retrain cycle on the first 12 weeks.
Prints a line of JSON: seconds of the start (imports, definitions) and of the work, CPU seconds,
the peak of the resident memory, and the rows of features.
"""

import json
import os
import resource
import sys
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.pipeline import data

RANGE = "dagster/asset_partition_range_"
# What our assets import where they use it; the script does so at its start.
HEAVY = ("pandera.pandas", "mlops_assets.assets.tables", "mlops_assets.domain.validation")


class Loop:
    """Our loop over a history, in a home of its own."""

    def __init__(self, folder: Path, name: str, copies: int) -> None:
        home, models = folder / f"home-{name}", folder / f"models-{name}"
        data.write_model(models, folder / f"source-{copies}", copies)
        os.environ |= {"MLOPS_HOME": str(home), "MLOPS_MODELS_DIR": str(models)}
        import dagster as dg

        from mlops_assets.cli.home import prepare_home
        from mlops_assets.definitions import defs
        from mlops_assets.resources import Stores
        from mlops_assets.settings import Settings

        self.settings = Settings.load()
        prepare_home(self.settings)
        self._definitions = defs()
        self.stores = Stores.of(self.settings)
        self._instance = dg.DagsterInstance.from_config(str(self.settings.dagster_home))

    def run(self, job: str, first: date | None = None, last: date | None = None) -> None:
        """One Dagster run of a job, over a range of periods as a backfill from the UI does it."""
        tags = {} if first is None else {f"{RANGE}start": str(first), f"{RANGE}end": str(last)}
        resolved = self._definitions.resolve_job_def(f"{data.MODEL}__{job}")
        resolved.execute_in_process(instance=self._instance, tags=tags)


def our_data(folder: Path, copies: int) -> dict[str, Any]:
    """The job `ingest` over the whole history in one run."""
    started = time.perf_counter()
    loop = Loop(folder, f"data-{copies}", copies)
    for name in HEAVY:
        import_module(name)
    ready = time.perf_counter()
    loop.run("ingest", data.first_period(copies), data.STOP - timedelta(weeks=1))
    done = time.perf_counter()
    rows = sum(held.rows for held in loop.stores.lake.held(data.MODEL, "features").values())
    return {"start_seconds": ready - started, "seconds": done - ready, "rows": rows}


def plain_data(folder: Path, copies: int) -> dict[str, Any]:
    """The same by a script."""
    started = time.perf_counter()
    from benchmarks.pipeline.plain import run

    ready = time.perf_counter()
    rows = run(data.files(folder / f"source-{copies}", copies), folder / f"plain-data-{copies}")
    return {"start_seconds": ready - started, "seconds": time.perf_counter() - ready, "rows": rows}


def our_cycle(folder: Path, copies: int) -> dict[str, Any]:
    """The jobs `ingest` and `train`: two Dagster runs."""
    started = time.perf_counter()
    loop = Loop(folder, "cycle", copies)
    from mlops_assets.stores.clock import Clock

    end = data.FIRST + timedelta(weeks=data.CYCLE_WEEKS)
    # All labels have matured by then.
    matured = datetime.combine(end + timedelta(weeks=1), time_of_day(), UTC)
    Clock(loop.settings.clock_file).set(matured)
    ready = time.perf_counter()
    loop.run("ingest", data.FIRST, end - timedelta(weeks=1))
    ingested = time.perf_counter()
    loop.run("train")
    done = time.perf_counter()
    champion = loop.stores.registry.alias(data.MODEL, "champion")
    return {
        "start_seconds": ready - started,
        "seconds": done - ready,
        "ingest_seconds": ingested - ready,
        "runs": 2,
        "released": champion is not None,
    }


def plain_cycle(folder: Path, copies: int) -> dict[str, Any]:
    """The same by a script."""
    from mlops_assets.settings import QUIET_ENVIRONMENT

    os.environ |= QUIET_ENVIRONMENT
    started = time.perf_counter()
    models = folder / "models-plain"
    data.write_model(models, folder / f"source-{copies}", copies)
    model = data.read_model(models)
    ready = time.perf_counter()
    from benchmarks.pipeline.plain_retrain import run

    out = folder / "plain-cycle"
    file = data.files(folder / f"source-{copies}", copies)[-1]
    found = run(model, file, out, data.CYCLE_WEEKS)
    return {
        "start_seconds": ready - started,
        "seconds": time.perf_counter() - ready,
        "log_loss": found["log_loss"],
    }


CELLS = {
    ("data", "ours"): our_data,
    ("data", "plain"): plain_data,
    ("cycle", "ours"): our_cycle,
    ("cycle", "plain"): plain_cycle,
}


def peak_megabytes() -> float:
    """The most memory this process has had resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def main(what: str, who: str, folder: Path, copies: int) -> None:
    """Do the work and print what it cost."""
    found = CELLS[what, who](folder, copies)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found["cpu_seconds"] = used.ru_utime + used.ru_stime
    found["peak_megabytes"] = peak_megabytes()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
