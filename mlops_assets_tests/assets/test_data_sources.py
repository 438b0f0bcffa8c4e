"""What a source does to the assets when it is away, wrong, or changes."""

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.assets import data
from mlops_assets_tests.loop import Loop, add_model, errors, parcel_spec, parcels

FUNCTION = """
from pathlib import Path
import pyarrow.parquet as pq

HERE = Path(__file__).parent


def rows(start, end):
    with (HERE / "calls").open("a") as calls:
        calls.write("x")
    {trouble}
    return pq.read_table(
        HERE / "rows.parquet", filters=[("sent_at", ">=", start), ("sent_at", "<", end)]
    )
"""
PERIODS = ("2026-01-01", "2026-01-02")


class Sourced:
    """A model whose source is a function that a test may break."""

    def __init__(self, loop: Loop, folder: Path, name: str, **source: object) -> None:
        self.loop, self.name = loop, name
        self.folder = add_model(folder, name, parcel_spec(source=source))
        self.models = folder
        pq.write_table(parcels(4), self.folder / "rows.parquet")
        self.trouble("pass")

    def trouble(self, code: str) -> None:
        (self.folder / "features.py").write_text(FUNCTION.format(trouble=code))
        (self.folder / "calls").write_text("")

    @property
    def calls(self) -> int:
        return len((self.folder / "calls").read_text())

    def ingest(self, *periods: str):
        definitions = self.loop.load(self.models)
        return self.loop.run(f"{self.name}__ingest", *periods, definitions=definitions)

    def raw_rows(self) -> int:
        return self.loop.stores.lake.read(self.name, "raw_data").num_rows


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is asked as often as in operation, without the seconds between."""
    quick = dg.RetryPolicy(max_retries=data.RETRIES.max_retries, delay=0.01)
    monkeypatch.setattr(data, "RETRIES", quick)


@pytest.fixture
def sourced(loop: Loop, tmp_path: Path, request: pytest.FixtureRequest) -> Sourced:
    return Sourced(loop, tmp_path, request.node.name[5:40], kind="python")


def test_a_source_that_comes_back_is_asked_again(sourced: Sourced):
    sourced.trouble(
        "if len((HERE / 'calls').read_text()) == 1:\n        raise ConnectionError('no route')"
    )
    result = sourced.ingest(PERIODS[0])
    assert result.success, errors(result)
    assert sourced.calls == 2
    assert sourced.raw_rows() == 150


def test_a_wrong_source_is_asked_once_and_leaves_the_lake_as_it_was(sourced: Sourced):
    assert sourced.ingest(*PERIODS).success
    before = sourced.loop.lake_versions(sourced.name)
    sourced.trouble("raise KeyError('weight')")
    result = sourced.ingest(PERIODS[1])
    assert not result.success
    assert sourced.calls == 1
    assert "features.py fails in line 11 with KeyError: 'weight'" in errors(result)
    assert sourced.loop.lake_versions(sourced.name) == before


def test_a_source_that_stays_away_fails_the_run_after_four_calls(loop: Loop, tmp_path: Path):
    found = Sourced(loop, tmp_path, "sourced_away", kind="parquet", path="rows.parquet")
    assert found.ingest(*PERIODS).success
    before = loop.lake_versions(found.name)
    (found.folder / "rows.parquet").unlink()
    result = found.ingest(PERIODS[1])
    assert not result.success
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 3
    assert "source 'rows.parquet' is not there" in errors(result)
    assert loop.lake_versions(found.name) == before


def test_a_schema_that_changes_within_a_period_leaves_the_lake_as_it_was(
    loop: Loop, tmp_path: Path
):
    found = Sourced(loop, tmp_path, "sourced_changing", kind="parquet", path="parts")
    (found.folder / "parts").mkdir()
    rows = parcels(4)
    pq.write_table(rows.slice(0, 200), found.folder / "parts" / "1.parquet")
    pq.write_table(rows.slice(200), found.folder / "parts" / "2.parquet")
    assert found.ingest(*PERIODS).success
    before = loop.lake_versions(found.name)
    place = rows.schema.get_field_index("weight")
    changed = rows.set_column(place, "weight", rows["weight"].cast(pa.string()))
    pq.write_table(changed.slice(200), found.folder / "parts" / "2.parquet")
    result = found.ingest(PERIODS[1])
    assert not result.success
    words = "source 'parts' changes its types in the middle of a period: 'weight' is double in"
    assert words in errors(result)
    assert loop.lake_versions(found.name) == before
    assert found.ingest(PERIODS[0]).success, "the period before the change is as it was"
