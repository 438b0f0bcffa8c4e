"""Batch scoring, Parquet to Parquet: scikit-learn as commonly written, ours, and ours on Ray.

`python -m benchmarks.batch` trains the example model, makes rows, and scores them with each
contender in a process of its own, in turns. It prints rows/s (median of the rounds) without and
with the start of the process (Ray's actors start within the measured time either way), CPU
seconds and peak memory, whether the outputs are equal to scikit-learn's to the last bit, and the
ratios against the goals.
"""

import argparse
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

CONTENDERS = ("sklearn_1", "sklearn_all", "ours_exact", "ours_onnx", "ours_ray")
# Contender, the one it is compared with, and the least ratio of their rows/s.
GOALS = (("ours_exact", "sklearn_all", 1.2), ("ours_ray", "ours_exact", 0.7))
TRAINING_ROWS = 100_000
ROW_GROUP = 100_000
BATCH = 65_536


def main() -> None:
    """Run the benchmark, or one contender for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the results here.")
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ray", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(_run(arguments.contender, arguments.folder, arguments.ray)))
        return
    names = [n for n in CONTENDERS if n != "ours_ray" or not arguments.without_ray]
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as scratch:
        folder = Path(scratch)
        _prepare(folder, arguments.rows)
        results = _measure(folder, names, arguments.rows, arguments.rounds)
    goals = _show(results)
    if arguments.json:
        content = {"rows": arguments.rows, "results": results, "goals": goals}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def _prepare(folder: Path, rows: int) -> None:
    """A bundle of the example model, and a file of flights drawn with repetition."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    from mlops_assets.domain.features import model_frame
    from mlops_assets.domain.training import Trial, fit
    from mlops_assets.spec import ModelSpec
    from mlops_assets.stores.bundles import write_manifest
    from mlops_assets.stores.onnx_export import to_onnx
    from mlops_assets.stores.tracking import write_bundle

    package = Path(__file__).parent.parent / "mlops_assets"
    content = yaml.safe_load((package / "defs/flight_delay/defs.yaml").read_text())
    spec = ModelSpec.model_validate(content["attributes"])
    contract = spec.contract("flight_delay", ("0", "1"))
    source = pq.read_table(package / "data/flights_2013.parquet").replace_schema_metadata(None)
    known = source.filter(source["arrival_delay_minutes"].is_valid()).slice(0, TRAINING_ROWS)
    y = (known["arrival_delay_minutes"].to_numpy() > 15).astype(int)
    trial = Trial("t", "hist_gradient_boosting", {"learning_rate": 0.1, "max_leaf_nodes": 31})
    frame = model_frame(known.to_pandas(), contract.columns)
    pipeline = fit(trial, contract, spec.derived_steps(), frame, y, 0)
    bundle = folder / "bundle"
    bundle.mkdir()
    files = {"contract.json": contract.to_json(), "reference.json": b"{}"}
    write_bundle(bundle, files=files, pipeline=pipeline)
    (bundle / "model.onnx").write_bytes(to_onnx(pipeline, contract))
    write_manifest(bundle, "onnx", {})
    names = [spec.entity, spec.event_time, *spec.columns]
    drawn = np.random.default_rng(0)
    with pq.ParquetWriter(folder / "rows.parquet", source.select(names).schema) as writer:
        for start in range(0, rows, ROW_GROUP):
            places = drawn.integers(0, source.num_rows, min(ROW_GROUP, rows - start))
            writer.write_table(source.select(names).take(pa.array(places)))


def _measure(folder: Path, names: list[str], rows: int, rounds: int) -> list[dict[str, Any]]:
    """Every contender once per round, in turns, so that a busy minute hits all of them."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with _cluster() if "ours_ray" in names else nullcontext("") as address:
        for _ in range(rounds):
            for name in names:
                found[name].append(_child(name, folder, address))
    return [
        {
            "contender": name,
            "rows_per_s": round(rows / statistics.median(run["seconds"] for run in runs)),
            "rows_per_s_by_round": [round(rows / run["seconds"]) for run in runs],
            "rows_per_s_with_start": round(
                rows / statistics.median(run["whole_seconds"] for run in runs)
            ),
            "cpu_seconds": round(statistics.median(run["cpu_seconds"] for run in runs), 2),
            "peak_mb": max(run["peak_mb"] for run in runs),
            "equal_to_sklearn": _equal(folder, name),
        }
        for name, runs in found.items()
    ]


def _child(name: str, folder: Path, address: str) -> dict[str, Any]:
    shutil.rmtree(folder / name, ignore_errors=True)
    threads = "1" if name == "sklearn_1" else str(len(os.sched_getaffinity(0)))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.batch", "--contender", name]
    command += ["--folder", str(folder), "--ray", address if name == "ours_ray" else ""]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": threads, "RAY_USAGE_STATS_ENABLED": "0"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    whole = time.perf_counter() - started
    return {**json.loads(done.stdout.splitlines()[-1]), "whole_seconds": whole}


def _run(name: str, folder: Path, ray_address: str) -> dict[str, Any]:
    """Score all rows in this process; importing and loading the model are not counted."""
    work = (
        _sklearn(folder, name) if name.startswith("sklearn") else _ours(folder, name, ray_address)
    )
    before, started = time.process_time(), time.perf_counter()
    work()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - before,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> int:
    """Most memory that this process has had; getrusage counts its parent's, too."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024)


def _sklearn(folder: Path, name: str) -> Any:
    """Batches as frames through the fitted pipeline, as most teams write it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlops_assets.domain.contract import Contract
    from mlops_assets.stores.bundles import load_pipeline

    pipeline = load_pipeline(folder / "bundle/model.skops")
    contract = Contract.from_json((folder / "bundle/contract.json").read_bytes())
    columns = [column.name for column in contract.columns]

    def work() -> None:
        (folder / name).mkdir()
        source = pq.ParquetFile(folder / "rows.parquet")
        kept = [contract.entity, contract.event_time]
        writer = None
        for batch in source.iter_batches(BATCH, columns=[*kept, *columns]):
            outputs = pipeline.predict_proba(batch.select(columns).to_pandas())
            arrays = [*(batch.column(c) for c in kept), outputs.argmax(axis=1), *outputs.T.copy()]
            found = pa.table(arrays, names=[*kept, "prediction", "probability_0", "probability_1"])
            writer = writer or pq.ParquetWriter(folder / name / "part.parquet", found.schema)
            writer.write_table(found)
        if writer:
            writer.close()

    return work


def _ours(folder: Path, name: str, ray_address: str) -> Any:
    from mlops_assets.stores import batch_ray
    from mlops_assets.stores.batch_run import BatchPlan, run_batch
    from mlops_assets.stores.batch_scoring import load_batch_scorer

    engine: Any = "onnx" if name == "ours_onnx" else "exact"
    plan = BatchPlan(folder / "bundle", "1", engine, str(folder / "rows.parquet"), folder / name)
    load_batch_scorer(plan.bundle, plan.version, engine)
    if name == "ours_ray":
        import ray.data  # noqa: F401

        batch_ray.connect(ray_address)
    workers = len(os.sched_getaffinity(0))
    return lambda: run_batch(plan, workers=workers, ray_address=ray_address)


def _equal(folder: Path, name: str) -> bool:
    import pyarrow.parquet as pq

    columns = ["probability_0", "probability_1"]
    expected = pq.read_table(folder / "sklearn_1", columns=columns).combine_chunks()
    found = pq.read_table(folder / name, columns=columns).combine_chunks()
    return bool(found.equals(expected))


@contextmanager
def _cluster() -> Iterator[str]:
    """A Ray cluster of this machine, which runs before anything is measured.

    It has a token of its own, which only this benchmark's processes know.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block"]
    command += [f"--port={port}", "--include-dashboard=false", "--disable-usage-stats"]
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        time.sleep(5)  # the node registers itself a moment after its port is open
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(timeout=60)


def _show(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    print(
        f"{'contender':<12} {'rows/s':>10} {'with start':>10} {'CPU s':>8} {'peak MB':>8}  "
        "equal to scikit-learn"
    )
    for result in results:
        equal = "to the last bit" if result["equal_to_sklearn"] else "no"
        print(
            f"{result['contender']:<12} {result['rows_per_s']:>10,} "
            f"{result['rows_per_s_with_start']:>10,} {result['cpu_seconds']:>8.1f} "
            f"{result['peak_mb']:>8,}  {equal}   {result['rows_per_s_by_round']}"
        )
    rates = {result["contender"]: result["rows_per_s"] for result in results}
    goals = []
    for name, other, least in GOALS:
        if name in rates:
            ratio = rates[name] / rates[other]
            goals.append({"goal": f"{name} / {other}", "least": least, "ratio": round(ratio, 2)})
            met = "met" if ratio >= least else "MISSED"
            print(f"{name} / {other}: {ratio:.2f}, goal at least {least}: {met}")
    return goals


if __name__ == "__main__":
    main()
