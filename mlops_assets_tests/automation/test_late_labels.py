"""Labels that come or change after a period was closed, and periods that wait for theirs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlops_assets.stores import monitoring, performance_reports
from mlops_assets_tests.loop import Loop, errors

MODEL, PERIOD = "late", "2026-01-10"
NEW, LATE, RETRAIN = (f"{MODEL}__{name}" for name in ("new_periods", "late_labels", "retrain"))
MISSING, CHANGED = 12, 5


@dataclass
class Story:
    """A served day, watched before its labels were known, closed, and restated."""

    loop: Loop
    watch: list[Any]
    before: dict[str, Any]
    quiet: Any
    asked: list[Any]
    restated: Any
    after: Any
    cursor: str


def incomplete(path: Path) -> None:
    """Take some labels of the day away."""
    good = pq.read_table(path)
    frame = good.to_pandas()
    rows = frame.index[(frame["sent_at"].dt.day == 10) & frame["hours"].notna()][:MISSING]
    frame.loc[rows, "hours"] = None
    pq.write_table(good.schema.empty_table().from_pandas(frame, schema=good.schema), path)


def corrected(path: Path, good: Any) -> None:
    """Give them back, and change others that were known before."""
    frame = good.to_pandas()
    known = frame.index[(frame["sent_at"].dt.day == 10) & (frame["hours"] > 24)][MISSING:]
    frame.loc[known[:CHANGED], "hours"] = 1.0
    pq.write_table(good.schema.empty_table().from_pandas(frame, schema=good.schema), path)


@pytest.fixture(scope="module")
def story(loop: Loop) -> Iterator[Story]:
    """The day from its end to its restatement, as the sensors ask."""
    loop.history(MODEL, "2026-01-09", "2026-01-01", "2026-01-08")
    path = loop.models / MODEL / "rows.parquet"
    good = pq.read_table(path)
    loop.serve(MODEL, PERIOD, loop.requests(MODEL, PERIOD))
    incomplete(path)
    loop.at("2026-01-11")
    watch = []
    for _ in range(3):
        (request,) = loop.tick(NEW).run_requests
        watch.append(request)
        result = loop.follow(request)
        assert result.success, errors(result)
    loop.at("2026-01-14T06:00")
    result = loop.run(f"{MODEL}__close", PERIOD)
    assert result.success, errors(result)
    before = performance_reports.history(loop.stores.lake, MODEL)[PERIOD]
    cursor = loop.tick(RETRAIN).cursor or "0"
    quiet = loop.tick(LATE)
    corrected(path, good)
    asked = [loop.tick(LATE) for _ in range(2)]
    restated = loop.follow(asked[0].run_requests[0])
    assert restated.success, errors(restated)
    yield Story(loop, watch, before, quiet, asked, restated, loop.tick(LATE), cursor)
    pq.write_table(good, path)


def test_a_period_is_watched_before_its_labels_are_known(story: Story):
    assert [request.run_key for request in story.watch] == [
        "ingest:2026-01-09:2026-01-10",
        "watch:2026-01-09:2026-01-09",
        f"watch:{PERIOD}:{PERIOD}",
    ]
    shown = story.loop.materialization(MODEL, "performance_estimate", PERIOD).metadata
    assert shown["predictions"].value == story.before["predictions"]
    assert shown["estimated_loss"].value == story.before["estimate"]["loss"]
    assert shown["estimate_error"].value == "no period has matured yet"
    assert "](data:image/png;base64," in str(shown["estimate"].value)
    nothing = story.loop.materialization(MODEL, "performance_estimate", "2026-01-09").metadata
    assert nothing["reason"].value == "nothing was served in this period"


def test_labels_that_are_as_they_were_reported_start_nothing(story: Story):
    for told in (story.quiet, story.after):
        assert not told.run_requests
        assert told.skip_message == (
            f"the labels of the last 1 closed periods of {MODEL} are those that their reports "
            "were made of"
        )


def test_late_and_changed_labels_ask_for_one_restatement(story: Story):
    (first,), (second,) = (told.run_requests for told in story.asked)
    assert first.run_key == second.run_key
    assert first.run_key.startswith(f"restate:{PERIOD}:")
    assert (first.job_name, first.partition_key) == (f"{MODEL}__restate", PERIOD)
    reason = f"labels of {PERIOD}: {MISSING} came, {CHANGED} changed"
    assert first.tags["mlops/reason"] == reason


def test_a_restated_report_keeps_what_it_said_before(story: Story):
    lake = story.loop.stores.lake
    now = performance_reports.history(lake, MODEL)[PERIOD]
    assert now["labelled"] == story.before["labelled"] + MISSING
    assert now["loss"] != story.before["loss"]
    (found,) = performance_reports.restatements(lake, MODEL)
    assert found == {
        "period": PERIOD,
        "at": "2026-01-14T06:00:00+00:00",
        "changes": {"came": MISSING, "changed": CHANGED, "withdrawn": 0},
        "loss_before": story.before["loss"],
        "loss_after": now["loss"],
        "coverage_before": story.before["coverage"],
        "coverage_after": now["coverage"],
        "harmed_before": story.before["harmed"],
        "harmed_after": now["harmed"],
    }
    shown = story.loop.materialization(MODEL, "performance_report", PERIOD).metadata
    (record,) = shown["restatements"].records
    assert record.data["labels came"] == str(MISSING)
    assert record.data["labels changed"] == str(CHANGED)
    (history,) = monitoring.evidence(lake, MODEL, PERIOD)
    assert history.loss == now["loss"]


def test_a_restatement_decides_nothing(story: Story):
    loop = story.loop
    decided = loop.instance.fetch_materializations(
        loop.materialization(MODEL, "retrain_decision", PERIOD).asset_key, limit=10
    ).records
    assert len(decided) == 1
    events = {event.asset_key.path[-1] for event in materializations(story.restated)}
    assert events == {
        "raw_data",
        "validated_data",
        "features",
        "ground_truth",
        "performance_report",
        "model_card",
    }
    told = loop.tick(RETRAIN, story.cursor)
    assert not told.run_requests
    assert f"performance_report {PERIOD}" in str(told.skip_message)


def test_a_restatement_that_runs_twice_is_recorded_once(story: Story):
    result = story.loop.run(f"{MODEL}__restate", PERIOD)
    assert result.success, errors(result)
    assert len(performance_reports.restatements(story.loop.stores.lake, MODEL)) == 1


def materializations(result: Any) -> list[Any]:
    """What a run materialised."""
    return [
        event.event_specific_data.materialization
        for event in result.all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
    ]
