"""Whole batches over real files and tables, killed and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.features import model_frame
from mlops_assets.domain.training import Trial, fit
from mlops_assets.stores import batch_run
from mlops_assets.stores.batch_input import open_input
from mlops_assets.stores.batch_run import BatchPlan, Summary, run_batch
from mlops_assets.stores.bundles import write_manifest
from mlops_assets.stores.onnx_export import to_onnx
from mlops_assets.stores.tracking import write_bundle
from mlops_assets_tests.waiting import eventually

CONTRACT = Contract(
    model="flight_delay",
    task="binary",
    columns=(
        ContractColumn("distance", "number", nullable=False),
        ContractColumn("seats", "integer", nullable=True),
        ContractColumn("carrier", "category", nullable=False),
    ),
    classes=("on_time", "late"),
    entity="flight",
    event_time="departs",
    max_rows=100,
)
ROWS = 6000
# One row in so many has no distance, and another one an infinite distance.
BROKEN = 100


def flights(rows: int, seed: int = 0) -> pa.Table:
    draw = np.random.default_rng(seed)
    distance = draw.uniform(10, 3000, rows)
    distance[1::BROKEN] = np.inf
    lost = np.zeros(rows, bool)
    lost[::BROKEN] = True
    return pa.table(
        {
            "flight": pa.array([f"F{n}" for n in range(rows)]),
            "departs": pa.array(np.arange(rows) * 1000, pa.timestamp("us", "UTC")),
            "distance": pa.array(distance, mask=lost),
            "seats": pa.array(draw.integers(20, 400, rows), mask=draw.random(rows) < 0.2),
            "carrier": pa.array(draw.choice(["AA", "UA", "DL", "café"], rows)),
            "note": pa.array(["not an input"] * rows),
        }
    )


def good_frame(table: pa.Table) -> Any:
    """The rows that can be scored, as the pipeline takes them."""
    frame = table.to_pandas()
    return model_frame(frame[np.isfinite(frame["distance"])], CONTRACT.columns)


@pytest.fixture(scope="module")
def model() -> Any:
    frame = good_frame(flights(800, seed=9))
    y = ((frame["distance"] > 900) ^ (frame["carrier"] == "AA")).to_numpy().astype(int)
    trial = Trial("t", "hist_gradient_boosting", {"max_iter": 20})
    return fit(trial, CONTRACT, [], frame, y, seed=0)


@pytest.fixture(scope="module")
def bundle(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    files = {"contract.json": CONTRACT.to_json(), "reference.json": b"{}"}
    write_bundle(folder, files=files, pipeline=model)
    (folder / "model.onnx").write_bytes(to_onnx(model, CONTRACT))
    write_manifest(folder, "onnx", {})
    return folder


@pytest.fixture
def plan(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchPlan:
    """One file of ten row groups, of which two make a part."""
    pq.write_table(flights(ROWS), tmp_path / "rows.parquet", row_group_size=600)
    monkeypatch.setattr(open_input, "__defaults__", ((), 1200))
    return BatchPlan(bundle, "4", "exact", str(tmp_path / "rows.parquet"), tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "_lock"
    }


def test_every_row_is_predicted_exactly_or_kept_with_its_reason(plan: BatchPlan, model: Any):
    summary = run_batch(plan, workers=2)
    bad = ROWS // BROKEN
    assert summary == Summary(
        model="flight_delay",
        version="4",
        engine="exact",
        rows=ROWS,
        predicted=ROWS - 2 * bad,
        rejected=2 * bad,
        reasons={"distance: missing, but not nullable": bad, "distance: not finite": bad},
        parts=5,
        skipped=0,
    )
    rows = flights(ROWS)
    found = pq.read_table(plan.output)
    expected = model.predict_proba(good_frame(rows))
    np.testing.assert_array_equal(found["probability_on_time"].to_numpy(), expected[:, 0])
    np.testing.assert_array_equal(found["probability_late"].to_numpy(), expected[:, 1])
    labels = np.array(CONTRACT.classes)[expected.argmax(axis=1)]
    assert found["prediction"].to_pylist() == labels.tolist()
    assert set(found["version"].to_pylist()) == {"4"}
    rejected = pq.read_table(plan.output / "_rejected")
    assert rejected.column_names[-1] == "reasons"
    both = np.concatenate([found["input_row"].to_numpy(), rejected["input_row"].to_numpy()])
    assert sorted(both.tolist()) == list(range(ROWS))
    # Each output row is the input row that it says it is.
    for part in (found, rejected):
        taken = rows.take(part["input_row"])
        assert part["flight"].to_pylist() == taken["flight"].to_pylist()
        assert part["departs"].to_pylist() == taken["departs"].to_pylist()
    told = json.loads((plan.output / "_summary.json").read_text())
    assert (told["version"], told["rejected"]) == ("4", 2 * bad)


def test_the_compiled_engine_follows_within_the_gates_tolerance(plan: BatchPlan, model: Any):
    summary = run_batch(replace(plan, engine="onnx"), workers=2)
    assert summary.engine == "onnx"
    found = pq.read_table(plan.output)["probability_late"].to_numpy()
    expected = model.predict_proba(good_frame(flights(ROWS)))[:, 1]
    assert 0 < np.abs(found - expected).max() < 1e-6


def test_the_number_of_workers_changes_no_byte(plan: BatchPlan, tmp_path: Path):
    run_batch(plan, workers=1)
    run_batch(replace(plan, output=tmp_path / "again"), workers=3)
    assert contents(plan.output) == contents(tmp_path / "again")


def test_finished_parts_are_not_scored_again(plan: BatchPlan):
    run_batch(plan, workers=2)
    before = contents(plan.output)
    kept = {path: path.stat().st_mtime_ns for path in plan.output.glob("part-*")}
    lost = plan.output / "part-00002.parquet"
    lost.unlink()
    # A part that lost its rejected rows is not finished either.
    (plan.output / "_rejected" / "part-00004.parquet").unlink()
    told: list[int] = []
    summary = run_batch(plan, workers=2, start=lambda rows: told.append)
    assert summary.skipped == 3
    assert told[0] == 3600
    assert sum(told) == ROWS
    assert contents(plan.output) == before
    changed = {path.name for path, time in kept.items() if path.stat().st_mtime_ns != time}
    assert changed == {"part-00002.parquet", "part-00004.parquet"}


KILLED = """
import sys, time
from pathlib import Path
from mlops_assets.stores import batch_input, batch_run
from mlops_assets.stores.batch_scoring import BatchScorer
bundle, rows, out = sys.argv[1:]
batch_input.open_input.__defaults__ = ((), 1200)
score = BatchScorer.score
def slow(self, *arguments):
    time.sleep(0.02)
    return score(self, *arguments)
BatchScorer.score = slow
print("go", flush=True)
plan = batch_run.BatchPlan(Path(bundle), "4", "exact", rows, Path(out))
batch_run.run_batch(plan, workers=2)
"""


def test_a_run_killed_at_any_moment_ends_with_the_same_output(plan: BatchPlan, tmp_path: Path):
    run_batch(replace(plan, output=tmp_path / "whole"), workers=2)
    code = [sys.executable, "-W", "ignore", "-c", KILLED]
    arguments = [str(plan.bundle), plan.input_path, str(plan.output)]
    for delay in (0.02, 0.12):
        run = subprocess.Popen([*code, *arguments], stdout=subprocess.PIPE)
        assert run.stdout is not None
        assert run.stdout.readline() == b"go\n"
        eventually(plan.output.exists, every=0.005)
        time.sleep(delay)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        run.stdout.close()
    assert not (plan.output / "_summary.json").exists()
    run_batch(plan, workers=2)
    assert contents(plan.output) == contents(tmp_path / "whole")


def test_output_of_another_run_is_refused_unless_it_may_go(plan: BatchPlan):
    run_batch(plan, workers=1)
    with pytest.raises(DataError, match=r"version was '4', is '5'.*Choose another folder"):
        run_batch(replace(plan, version="5"), workers=1)
    pq.write_table(flights(600, seed=5), plan.input_path)
    with pytest.raises(DataError, match="input was"):
        run_batch(plan, workers=1)
    assert len(list(plan.output.glob("part-*"))) == 5
    assert run_batch(replace(plan, version="5"), workers=1, overwrite=True).rows == 600
    assert set(pq.read_table(plan.output)["version"].to_pylist()) == {"5"}
    assert pq.read_table(plan.output / "_rejected").num_rows == 12


def test_a_folder_with_other_files_is_left_alone(plan: BatchPlan):
    plan.output.mkdir()
    (plan.output / "thesis.doc").write_text("years")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="holds other files"):
            run_batch(plan, workers=1, overwrite=overwrite)
    assert (plan.output / "thesis.doc").read_text() == "years"


def test_an_input_that_changes_meanwhile_is_told(plan: BatchPlan, monkeypatch: Any):
    def start(rows: int) -> Any:
        os.utime(plan.input_path, ns=(1, 1))
        return lambda done: None

    with pytest.raises(DataError, match="changed while it was scored"):
        run_batch(plan, workers=1, start=start)
    assert not (plan.output / "_summary.json").exists()


def test_two_runs_do_not_share_a_folder(plan: BatchPlan):
    def start(rows: int) -> Any:
        with pytest.raises(DataError, match="being written by another process"):
            run_batch(plan, workers=1)
        return lambda done: None

    assert run_batch(plan, workers=1, start=start).rows == ROWS


def test_a_folder_and_a_delta_table_are_read_like_a_file(plan: BatchPlan, tmp_path: Path):
    run_batch(plan, workers=1)
    expected = pq.read_table(plan.output).drop_columns(["input_row"]).sort_by("flight")
    rows = flights(ROWS)
    pq.write_to_dataset(rows, tmp_path / "folder", partition_cols=["carrier"])
    write_deltalake(str(tmp_path / "table"), rows, partition_by=["carrier"])
    for name in ("folder", "table"):
        source = str(tmp_path / name)
        found = replace(plan, input_path=source, output=tmp_path / f"{name} out")
        assert run_batch(found, workers=2).rows == ROWS
        table = pq.read_table(found.output).drop_columns(["input_row"]).sort_by("flight")
        assert table.equals(expected)


def test_a_delta_table_that_goes_on_growing_is_scored_as_it_was(plan: BatchPlan, tmp_path: Path):
    source = str(tmp_path / "table")
    write_deltalake(source, flights(ROWS))

    def start(rows: int) -> Any:
        write_deltalake(source, flights(100), mode="append")
        return lambda done: None

    found = replace(plan, input_path=source)
    assert run_batch(found, workers=1, start=start).rows == ROWS


def test_kept_columns_are_copied_and_unknown_ones_refused(plan: BatchPlan):
    with pytest.raises(DataError, match="no column 'nothing' to keep"):
        run_batch(replace(plan, keep=("nothing",)), workers=1)
    run_batch(replace(plan, keep=("note", "seats")), workers=1)
    found = pq.read_table(plan.output)
    assert set(found["note"].to_pylist()) == {"not an input"}
    taken = flights(ROWS).take(found["input_row"])
    assert found["seats"].to_pylist() == taken["seats"].to_pylist()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.parquet", "does not exist"),
        ("text.parquet", "cannot be read as Parquet"),
        ("empty.parquet", "has no rows"),
        ("other.parquet", "no column 'distance'"),
    ],
)
def test_an_unusable_input_is_an_error_that_says_why(
    plan: BatchPlan, tmp_path: Path, source: str, message: str
):
    (tmp_path / "text.parquet").write_text("a,b")
    pq.write_table(flights(0), tmp_path / "empty.parquet")
    pq.write_table(flights(9).drop_columns("distance"), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=message):
        run_batch(replace(plan, input_path=str(tmp_path / source)), workers=1)
    assert not plan.output.exists()


def test_output_inside_the_input_is_refused(plan: BatchPlan, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    pq.write_table(flights(9), tmp_path / "folder" / "rows.parquet")
    with pytest.raises(DataError, match="lies in the input"):
        run_batch(
            replace(plan, input_path=str(tmp_path / "folder"), output=tmp_path / "folder" / "out"),
            workers=1,
        )


def test_a_bundle_whose_pipeline_is_not_trusted_is_scored_by_its_graph(
    plan: BatchPlan, bundle: Path, tmp_path: Path
):
    import shutil

    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    skops.io.dump(FunctionTransformer(func=flights), other / "model.skops")
    write_manifest(other, "onnx", {})
    assert run_batch(replace(plan, bundle=other), workers=1).engine == "onnx"


def test_an_error_while_scoring_leaves_no_half_file(plan: BatchPlan, monkeypatch: Any):
    score = batch_run.BatchScorer.score

    def fails_late(self: Any, batch: Any, first_row: int, schemas: Any, known: Any) -> Any:
        if first_row >= 1800:
            raise MemoryError("no more")
        return score(self, batch, first_row, schemas, known)

    monkeypatch.setattr(batch_run.BatchScorer, "score", fails_late)
    with pytest.raises(MemoryError):
        run_batch(plan, workers=2)
    assert [path.name for path in plan.output.glob("*part*")] == ["part-00000.parquet"]
