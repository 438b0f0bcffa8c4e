"""One report in a process of its own: `python -m benchmarks.monitoring.cell WHO FOLDER PERIOD`.

Prints a line of JSON: seconds per part, CPU seconds and the peak of the resident memory. The peak
is read from /proc: `getrusage` would count what the parent had before this process was born.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.monitoring.data import MODEL
from mlops_assets.domain.contract import Contract
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.period_batches import PREDICTIONS

SEED = 7


def ours(folder: Path, period: str) -> dict[str, Any]:
    """The drift report as its asset makes it: read in batches, test, draw."""
    from mlops_assets.domain.drift import judge
    from mlops_assets.domain.period_summary import summarise
    from mlops_assets.domain.profile import Profile
    from mlops_assets.domain.profile_rows import draw
    from mlops_assets.reports.evidently_drift import drift_html
    from mlops_assets.stores.period_batches import most_served_version, served_batches

    lake = Lake(str(folder / "lake"))
    contract = Contract.from_json((folder / "contract.json").read_bytes())
    reference = Profile.from_json((folder / "reference.json").read_bytes())
    started = time.perf_counter()
    version = most_served_version(lake, MODEL, period)
    summary = summarise(reference, served_batches(lake, contract, version, period), seed=SEED)
    read = time.perf_counter()
    report = judge(reference, summary, false_alarm_rate=0.01, min_effect=0.1, min_rows=1)
    judged = time.perf_counter()
    page = drift_html(report, draw(reference, 2_000, SEED), summary.sample, "benchmark")
    drawn = time.perf_counter()
    return {
        "rows": report.rows,
        "flagged": len(report.flagged),
        "tests": len(report.columns),
        "page_bytes": len(page),
        "read_seconds": read - started,
        "judge_seconds": judged - read,
        "draw_seconds": drawn - judged,
    }


def evidently(folder: Path, period: str) -> dict[str, Any]:
    """Evidently's drift preset as it comes, on the same rows in pandas."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    contract = Contract.from_json((folder / "contract.json").read_bytes())
    numbers = [column.name for column in contract.columns if column.type == "number"]
    categories = [column.name for column in contract.columns if column.type == "category"]
    names = [*numbers, *categories, "p_1"]
    started = time.perf_counter()
    lake = Lake(str(folder / "lake"))
    current = lake.read(MODEL, PREDICTIONS, periods=[period], columns=names).to_pandas()
    read = time.perf_counter()
    definition = DataDefinition(numerical_columns=[*numbers, "p_1"], categorical_columns=categories)
    sides = [
        Dataset.from_pandas(side, data_definition=definition)
        for side in (current, pd.read_parquet(folder / "reference.parquet")[names])
    ]
    snapshot = Report([DataDriftPreset()]).run(*sides)
    judged = time.perf_counter()
    page = snapshot.get_html_str(as_iframe=False)
    drawn = time.perf_counter()
    (count,) = [m["value"] for m in snapshot.dict()["metrics"] if "count" in str(m["value"])]
    return {
        "rows": len(current),
        "flagged": int(count["count"]),
        "page_bytes": len(page),
        "read_seconds": read - started,
        "judge_seconds": judged - read,
        "draw_seconds": drawn - judged,
    }


def peak_megabytes() -> float:
    """The most memory this process has had resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def main(who: str, folder: Path, period: str) -> None:
    """Make the report and print what it cost."""
    found = {"ours": ours, "evidently": evidently}[who](folder, period)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found["cpu_seconds"] = used.ru_utime + used.ru_stime
    found["peak_megabytes"] = peak_megabytes()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
