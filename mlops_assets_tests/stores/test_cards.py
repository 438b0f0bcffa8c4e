from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.domain.card import ServedPeriod
from mlops_assets.domain.errors import DataError
from mlops_assets.stores.cards import TABLE, Cards, KeptCard, publish
from mlops_assets.stores.incidents import Incident, Incidents
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.monitoring import keep
from mlops_assets.stores.release_cause import Cause
from mlops_assets.stores.release_log import ReleaseLog
from mlops_assets_tests.domain.cards import facts

NOW = datetime(2026, 1, 20, tzinfo=UTC)
JUDGED = {"version": "2", "predictions": 9, "labelled": 8, "loss": 0.5, "reference_loss": 0.4}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def kept(version: str, artifacts: str = "") -> KeptCard:
    return KeptCard(facts(version=version), {"roc": b"\x89PNG"}, "run", artifacts)


def test_a_card_is_kept_once_and_read_as_it_was(lake: Lake):
    cards = Cards(lake)
    assert (cards.versions("parcels"), cards.of("parcels", "2")) == ([], None)
    for version in ("10", "2", "2"):
        cards.keep(kept(version))
    assert cards.versions("parcels") == ["2", "10"]
    assert cards.of("parcels", "2") == kept("2")
    assert cards.of("parcels", "3") is None


def test_a_card_that_another_release_kept_is_told(lake: Lake):
    row = {"version": "1", "facts": "{}", "pictures": "{}", "run_id": "", "artifacts": ""}
    lake.append_once("parcels", TABLE, pa.Table.from_pylist([row]), source="card-1", position=1)
    with pytest.raises(DataError, match=r"version 1 of parcels cannot be read \(model, version"):
        Cards(lake).of("parcels", "1")


def test_what_happened_since_is_that_versions_own(lake: Lake):
    cards = Cards(lake)
    for number, (before, to) in enumerate((("", "1"), ("1", "2"), ("2", "3"))):
        cause = Cause("sensor", "harm", NOW, NOW, "", {})
        ReleaseLog(lake).add(cause.record("release", "parcels", number, before, to))
    harm = {"judged": True, "harmed": True}
    keep(lake, "parcels", "performance_reports", "2026-01", {**JUDGED, **harm})
    keep(lake, "parcels", "performance_reports", "2026-02", {**JUDGED, "judged": False})
    keep(lake, "parcels", "performance_reports", "2026-03", {**JUDGED, "version": "3", **harm})
    drift = {"version": "2", "judged": True, "flagged": ["zone"], "rows": 9}
    keep(lake, "parcels", "drift_reports", "2026-01", drift)
    at = NOW.isoformat()
    Incidents(lake).add(Incident("i", "parcels", "2", at, at, "outputs", "NaN", "{}", "1", "guard"))
    found = cards.since("parcels", "2")
    assert [(move.from_version, move.to_version) for move in found.moves] == [
        ("1", "2"),
        ("2", "3"),
    ]
    assert found.incidents == ("2026-01-20: quarantined (outputs) by guard: NaN",)
    first, second = found.periods
    assert first == ServedPeriod(
        "2026-01", 9, 8, 0.5, 0.4, "harm: loss proven higher", True, ("zone",)
    )
    assert (second.verdict, second.drifted) == ("not judged", None)
    assert found.newest == "2026-02"
    assert cards.reported("parcels", 1) == ["3", "2"]
    assert cards.champion("parcels") == "3"
    assert (cards.champion("letters"), cards.reported("letters", 1)) == ("", [])


def test_pages_replace_older_ones_in_the_runs_own_folder(tmp_path: Path):
    folder = tmp_path / "art ifacts"
    folder.mkdir()
    for text in ("old", "new"):
        publish("sqlite://", kept("2", folder.as_uri()), {"model_card.md": text})
    assert [path.name for path in (folder / "card").iterdir()] == ["model_card.md"]
    assert (folder / "card" / "model_card.md").read_text() == "new"


def test_pages_that_cannot_be_written_are_told(tmp_path: Path):
    (tmp_path / "card").write_text("in the way")
    with pytest.raises(DataError, match="the card of version 2 of parcels cannot be written"):
        publish("sqlite://", kept("2", tmp_path.as_uri()), {"model_card.md": "x"})
