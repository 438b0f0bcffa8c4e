"""A table on the web through the assets: downloaded once, and the lake as from the local file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from mlops_assets.assets import data
from mlops_assets.stores.sources import copies
from mlops_assets_tests.loop import Loop, add_model, errors, parcel_spec, parcels
from mlops_assets_tests.site import Handler, Site, says, serving

PERIODS = ("2026-01-01", "2026-01-04")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(copies, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(copies, "CURRENT_SECONDS", -1)
    quick = dg.RetryPolicy(max_retries=data.RETRIES.max_retries, delay=0.01)
    monkeypatch.setattr(data, "RETRIES", quick)
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as found:
        yield found


class Served:
    """A model whose source is a Parquet file on the web."""

    def __init__(self, loop: Loop, site: Site, folder: Path, name: str) -> None:
        self.loop, self.site, self.name = loop, site, name
        self.models = folder / "models"
        self.models.mkdir()
        self.write(days=4)
        source = {"kind": "parquet", "path": f"{site.url}/parcels.parquet"}
        add_model(self.models, name, parcel_spec(source=source))

    def write(self, days: int) -> None:
        place = self.site.folder / ".new"
        pq.write_table(parcels(days), place)
        self.site.write("parcels.parquet", place.read_bytes())

    def ingest(self, *periods: str) -> dg.ExecuteInProcessResult:
        definitions = self.loop.load(self.models)
        return self.loop.run(f"{self.name}__ingest", *periods, definitions=definitions)


@pytest.fixture
def served(loop: Loop, site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Served:
    return Served(loop, site, tmp_path, request.node.originalname[5:40])


def test_many_periods_are_one_download_and_the_rows_of_the_local_file(
    served: Served, loop: Loop, tmp_path: Path
):
    result = served.ingest(*PERIODS)
    assert result.success, errors(result)
    assert served.ingest(PERIODS[1]).success
    assert served.site.downloads == 1
    (tmp_path / "local").mkdir()
    folder = add_model(
        tmp_path / "local",
        "local_parcels",
        parcel_spec(source={"kind": "parquet", "path": "rows.parquet"}),
    )
    pq.write_table(parcels(4), folder / "rows.parquet")
    definitions = loop.load(tmp_path / "local")
    assert loop.run("local_parcels__ingest", *PERIODS, definitions=definitions).success
    lake = loop.stores.lake
    for table in ("raw_data", "validated_data", "features"):
        remote, local = (
            sorted(map(str, lake.read(name, table).to_pylist()))
            for name in (served.name, "local_parcels")
        )
        assert len(remote) == 600
        assert remote == local


def test_a_table_that_grows_is_downloaded_anew(served: Served):
    assert served.ingest(PERIODS[0]).success
    served.write(days=5)
    assert served.ingest("2026-01-05").success
    assert served.site.downloads == 2
    assert served.loop.stores.lake.held(served.name, "raw_data")["2026-01-05"].rows == 150


def test_a_table_that_is_away_for_a_while_is_asked_for_again(served: Served):
    # Three times by the source itself, then by the asset.
    served.site.trick("parcels.parquet", *[says(503)] * 4)
    result = served.ingest(PERIODS[0])
    assert result.success, errors(result)
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 1


def cut(handler: Handler) -> None:
    body = (handler.site.folder / "parcels.parquet").read_bytes()
    handler.answer(200, body[:999], Content_Length=str(len(body)))


TROUBLES: dict[str, tuple[Callable[[Handler], None], int, str]] = {
    "gone": (says(404), 4, "is not there"),
    "cut": (cut, 4, "ends after 999 of"),
    "locked": (says(403), 1, "wants a login"),
    "page": (says(200, b"<!doctype html>", Content_Type="text/html"), 1, "is a web page"),
    "no Parquet": (says(200, b"x" * 99), 1, "cannot be read as parquet"),
}


def test_a_table_that_cannot_be_had_leaves_the_lake_as_it_was(served: Served):
    assert served.ingest(PERIODS[0]).success
    before = served.loop.lake_versions(served.name)
    for trick, attempts, words in TROUBLES.values():
        served.write(days=4)  # else the copy would do
        served.site.tricks["/parcels.parquet"] = [trick] * 12
        result = served.ingest(PERIODS[0])
        assert not result.success
        retried = [event for event in result.all_events if event.is_step_up_for_retry]
        assert len(retried) == attempts - 1
        assert words in errors(result)
        assert served.loop.lake_versions(served.name) == before


def test_a_csv_file_on_the_web_is_ingested_in_one_download(loop: Loop, site: Site, tmp_path: Path):
    place = tmp_path / "parcels.csv"
    pyarrow.csv.write_csv(parcels(4), place)
    address = site.write("parcels.csv", place.read_bytes())
    (tmp_path / "models").mkdir()
    add_model(
        tmp_path / "models",
        "csv_on_the_web",
        parcel_spec(source={"kind": "csv", "path": address}),
    )
    definitions = loop.load(tmp_path / "models")
    result = loop.run("csv_on_the_web__ingest", *PERIODS, definitions=definitions)
    assert result.success, errors(result)
    assert len(loop.stores.lake.held("csv_on_the_web", "features")) == 4
    assert site.downloads == 1
