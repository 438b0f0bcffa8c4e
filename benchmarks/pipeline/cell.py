"""One cell in a process of its own: `python -m benchmarks.pipeline.cell WHO FOLDER COPIES`.

Prints a line of JSON: seconds of the start (imports, definitions) and of the work, CPU seconds,
the peak of the resident memory, and the rows of features.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.pipeline import data

RANGE = "dagster/asset_partition_range_"


def ours(folder: Path, copies: int) -> dict[str, Any]:
    """The job `ingest` over the whole history in one run, as a backfill from the UI does it."""
    started = time.perf_counter()
    home, models = folder / f"home-{copies}", folder / f"models-{copies}"
    data.write_model(models, folder / f"source-{copies}", copies)
    os.environ |= {"MLOPS_HOME": str(home), "MLOPS_MODELS_DIR": str(models)}
    import dagster as dg
    import pandera.pandas

    from mlops_assets.cli.home import prepare_home
    from mlops_assets.definitions import defs
    from mlops_assets.resources import Stores
    from mlops_assets.settings import Settings

    assert pandera.pandas
    settings = Settings.load()
    prepare_home(settings)
    job = defs().resolve_job_def(f"{data.MODEL}__ingest")
    lake = Stores.of(settings).lake
    last = data.STOP - data.YEAR / 52
    tags = {
        f"{RANGE}start": data.first_period(copies).isoformat(),
        f"{RANGE}end": last.isoformat(),
    }
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        ready = time.perf_counter()
        job.execute_in_process(instance=instance, tags=tags)
    done = time.perf_counter()
    rows = sum(held.rows for held in lake.held(data.MODEL, "features").values())
    return {"start_seconds": ready - started, "seconds": done - ready, "rows": rows}


def plain(folder: Path, copies: int) -> dict[str, Any]:
    """The same by a script."""
    started = time.perf_counter()
    from benchmarks.pipeline.plain import run

    ready = time.perf_counter()
    rows = run(data.files(folder / f"source-{copies}", copies), folder / f"plain-{copies}")
    return {
        "start_seconds": ready - started,
        "seconds": time.perf_counter() - ready,
        "rows": rows,
    }


def peak_megabytes() -> float:
    """The most memory this process has had resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def main(who: str, folder: Path, copies: int) -> None:
    """Do the work and print what it cost."""
    found = {"ours": ours, "plain": plain}[who](folder, copies)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found["cpu_seconds"] = used.ru_utime + used.ru_stime
    found["peak_megabytes"] = peak_megabytes()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
