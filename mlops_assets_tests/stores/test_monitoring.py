"""The way of a prediction from the log into the lake."""

import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.lookahead import Outlook, plan
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.log_lag import LogLag, log_lag
from mlops_assets.stores.monitoring import (
    GROUND_TRUTH,
    PREDICTIONS,
    STALENESS,
    Contracts,
    evidence,
    ground_truth_as_of,
    ground_truth_of,
    ingest_predictions,
    keep,
    write_ground_truth,
)
from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter

SPEC = {
    "task": "binary",
    "source": {"kind": "csv", "path": "rows.csv"},
    "entity": "id",
    "event_time": "at",
    "label": {"column": "minutes", "above": 15, "known_at": "known"},
    "period": {"every": "daily", "start": "2026-01-01"},
    "columns": {"distance": "number?", "kind": "category?"},
}


class Log:
    """The log of one model, with its lake and the bundles of its versions."""

    def __init__(self, home: Path) -> None:
        (home / "rows.csv").touch()
        self.model = Model("letters", ModelSpec.model_validate(SPEC), home)
        self.contract: Contract = self.model.spec.contract("letters", ("0", "1"))
        self.bundle = home / "bundle"
        self.bundle.mkdir()
        (self.bundle / "contract.json").write_bytes(self.contract.to_json())
        self.folder = home / "log"
        self.lake = Lake(str(home / "lake"))

    def ingest(self) -> int:
        contracts = Contracts(lambda version: self.bundle)
        return ingest_predictions(self.model, self.lake, self.folder, contracts)

    def rows(self) -> list[tuple[str, str, str]]:
        """Prediction id, variant and version of every row."""
        found = self.lake.read("letters", PREDICTIONS).to_pylist()
        return sorted((one["prediction_id"], one["variant"], one["version"]) for one in found)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def answered(stem: str, request_id: str = "", rows: int = 1, **change: object) -> LoggedRequest:
    record = LoggedRequest(
        request_id=request_id or stem,
        at="2026-01-01T12:00:00+00:00",
        version="1",
        variant="champion",
        latency_ms=0.5,
        ids=[f"{stem}-{row}" for row in range(rows)],
        entities=["e"] * rows,
        event_times=[None] * rows,
        features={"distance": [1.5] * rows, "kind": ["letter"] * rows},
        outputs=[[0.25, 0.75]] * rows,
    )
    return replace(record, **change)  # type: ignore[arg-type]


def test_an_open_segment_is_ingested_as_it_grows_and_nothing_twice(log: Log):
    writer = SegmentWriter(log.folder)
    found = []
    for number in range(3):
        writer.append(answered(f"s{number}", rows=2))
        found.append(log.ingest())
        found.append(log.ingest())
    writer.close()
    assert found == [2, 0, 2, 0, 2, 0]
    assert [row[0] for row in log.rows()] == [f"s{n}-{row}" for n in range(3) for row in (0, 1)]
    assert log_lag(log.folder) == LogLag(0, 0)


def test_a_torn_tail_is_left_out_and_counted_and_the_next_segment_is_ingested(log: Log):
    torn = SegmentWriter(log.folder, "a")
    torn.append(answered("s1"))
    os.write(torn._handle, b'{"request_id":"s2","at"')
    torn.close()
    after = SegmentWriter(log.folder, "b")
    after.append(answered("s3"))
    assert log.ingest() == 2
    assert log.ingest() == 0
    assert [row[0] for row in log.rows()] == ["s1-0", "s3-0"]
    assert log_lag(log.folder) == LogLag(0, 1)
    after.close()


@pytest.mark.parametrize("second", ["champion", "challenger", "fallback"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_request_that_two_replicas_answered_counts_once(log: Log, second: str, at_once: bool):
    one, other = SegmentWriter(log.folder, "a"), SegmentWriter(log.folder, "b")
    one.append(answered("h", "mine"))
    if not at_once:
        assert log.ingest() == 1
    other.append(answered("h", "mine", variant=second, version="2"))
    other.append(answered("s2"))
    assert log.ingest() == (2 if at_once else 1)
    assert log.rows() == [("h-0", "champion", "1"), ("s2-0", "champion", "1")]
    one.close()
    other.close()


def test_nothing_but_repeats_moves_on_too(log: Log):
    for segment in ("a", "b"):
        writer = SegmentWriter(log.folder, segment)
        writer.append(answered("h", "mine"))
        writer.close()
    assert log.ingest() == 1
    assert log.ingest() == 0
    assert log_lag(log.folder) == LogLag(0, 0)


def test_a_shadow_of_a_prediction_is_a_row_of_its_own_and_once_too(log: Log):
    writer = SegmentWriter(log.folder)
    for _ in range(2):
        writer.append(answered("h", "mine"))
        writer.append(answered("h", "mine", variant="shadow", version="2"))
    assert log.ingest() == 2
    assert log.rows() == [("h-0", "champion", "1"), ("h-0", "shadow", "2")]
    writer.close()


def test_the_first_period_of_all_may_have_no_row_whose_label_is_known(log: Log):
    at = datetime(2026, 1, 2, tzinfo=UTC)
    rows = {"id": ["a"], "at": [at], "minutes": [None], "known": [at]}
    log.lake.write_period("letters", "raw_data", "2026-01-01", pa.table(rows)[:0])
    written, changes = write_ground_truth(log.model, log.lake, "2026-01-01", at)
    assert (written.rows, changes.came, changes.withdrawn) == (0, 0, 0)


def test_labels_of_before_are_read_until_their_version_is_gone(log: Log):
    from deltalake import DeltaTable

    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for minutes in (5.0, 30.0):
        rows = {"id": ["a"], "at": [at], "minutes": [minutes], "known": [at]}
        log.lake.write_period("letters", "raw_data", "2026-01-01", pa.table(rows))
        _, changes = write_ground_truth(log.model, log.lake, "2026-01-01", at)
    assert (changes.came, changes.changed) == (0, 1)
    newest = log.lake.version("letters", GROUND_TRUTH)
    asked = (log.model, log.lake, "2026-01-01")
    before = ground_truth_as_of(*asked, newest - 1)
    assert before is not None
    assert list(before["label"]) == ["0"]
    assert list(ground_truth_of(*asked)["label"]) == ["1"]
    DeltaTable(log.lake.path("letters", GROUND_TRUTH)).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False
    )
    assert ground_truth_as_of(*asked, newest - 1) is None
    assert ground_truth_as_of(*asked, newest + 9) is None


OUTLOOK = Outlook(
    version="1",
    age=3,
    live_rows=5000,
    fresh_rows=8000,
    rows_per_period=1000.0,
    drift=0.01,
    growth=0.5,
    excess=-0.001,
    delay=2,
    window=8,
)
DRIFT = {"judged": True, "flagged": ["distance"]}
QUALITY = {
    "version": "1",
    "judged": True,
    "harmed": False,
    "loss": 0.41,
    "reference_loss": 0.4,
    "metrics": {"accuracy": 0.9},
    "previous_is_better": False,
}


def test_evidence_has_the_plan_and_the_decay_that_were_kept_with_the_reports(tmp_path: Path):
    lake = Lake(str(tmp_path))
    worth = plan(OUTLOOK, price=50.0, periods=20)
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        keep(lake, "letters", "drift_reports", day, DRIFT)
    # The first report is of a release of this software that knew neither.
    keep(lake, "letters", "performance_reports", "2026-01-01", QUALITY)
    slow = {**QUALITY, "decaying": True, "decay_periods": 4}
    keep(lake, "letters", "performance_reports", "2026-01-02", slow)
    keep(lake, "letters", STALENESS, "2026-01-02", {"plan": asdict(worth), "reason": "told"})
    rising = {**QUALITY, "decaying": False, "decay_periods": 2}
    keep(lake, "letters", "performance_reports", "2026-01-03", rising)
    keep(lake, "letters", STALENESS, "2026-01-03", {"plan": None, "reason": "told"})
    old, decaying, new = evidence(lake, "letters", "2026-01-03")
    assert (old.plan, decaying.plan, new.plan) == (None, worth, None)
    assert [one.decay_periods for one in (old, decaying, new)] == [0, 4, 0]
    assert [one.proven_harm for one in (old, decaying, new)] == [False, True, False]
