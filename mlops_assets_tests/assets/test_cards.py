from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlops_assets.stores.cards import Cards
from mlops_assets.stores.release_cause import Cause
from mlops_assets.stores.release_log import ReleaseLog
from mlops_assets_tests.loop import Loop, add_parcels, checks, errors, parcels, utc

HOSTILE = "</td><script>alert(1)</script>"
MODEL, DAY = "carded", "2026-01-09"
CARD = {"purpose": HOSTILE, "limits": ["not for letters"]}
PAGES = ["data_sheet.html", "data_sheet.md", "model_card.html", "model_card.md"]


def rows() -> pa.Table:
    """Parcels of eleven days; one of the zones has a hostile name."""
    found = parcels(11)
    zone = pc.replace_substring(found["zone"], "abroad", HOSTILE)
    return found.set_column(found.schema.get_field_index("zone"), "zone", zone)


def changes(**more: Any) -> dict[str, Any]:
    columns = {"zone": "category", "weight": "number"}
    return {"columns": columns, "owner": "team:vans", "card": CARD, **more}


@dataclass(frozen=True)
class Carded:
    """A model of its own with one version, which has served and closed a day."""

    loop: Loop
    definitions: dg.Definitions
    before: str

    def page(self, name: str, version: str = "1") -> str:
        """A page as MLflow has it."""
        from mlflow.artifacts import load_text

        registry = self.loop.stores.registry
        run = registry.version(MODEL, version).run_id
        place = registry.client.get_run(run).info.artifact_uri
        return str(load_text(f"{place}/card/{name}"))


@pytest.fixture(scope="module")
def carded(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Carded:
    models = tmp_path_factory.mktemp("carded")
    folder = add_parcels(models, MODEL, rows(), **changes(gates={"require_card": True}))
    assert folder.is_dir()
    found = Carded(loop, loop.load(models), "")
    loop.at("2026-01-09")
    for job, periods in (("ingest", ("2026-01-01", "2026-01-08")), ("train", ())):
        result = loop.run(f"{MODEL}__{job}", *periods, definitions=found.definitions)
        assert result.success, errors(result)
    first = found.page("model_card.md")
    day = [row for row in rows().to_pylist() if row["sent_at"].date().isoformat() == DAY]
    records = [
        {
            **{name: row[name] for name in ("parcel", "zone", "weight")},
            "sent_at": str(row["sent_at"]),
        }
        for row in day
    ]
    loop.serve(MODEL, DAY, records)
    loop.at("2026-01-13")
    result = loop.run(f"{MODEL}__close", DAY, definitions=found.definitions)
    assert result.success, errors(result)
    return Carded(loop, found.definitions, first)


def test_a_version_has_its_pages_in_mlflow(carded: Carded):
    registry = carded.loop.stores.registry
    run = registry.version(MODEL, "1").run_id
    found = registry.client.list_artifacts(run, "card")
    assert [Path(one.path).name for one in found] == PAGES
    card = carded.page("model_card.md")
    assert card.startswith("# Model card: carded, version 1\n")
    assert "Passed all 6 release gates." in card
    assert carded.page("data_sheet.md").startswith("# Data sheet: carded, version 1\n")


def test_numbers_of_the_card_are_those_of_the_training(carded: Carded):
    kept = Cards(carded.loop.stores.lake).of(MODEL, "1")
    assert kept is not None
    facts = kept.facts
    shown = carded.loop.materialization(MODEL, "challenger").metadata
    for name, interval in facts.metrics.items():
        assert interval.mean == pytest.approx(shown[f"holdout_{name}"].value), name
        assert interval.lower <= interval.mean <= interval.upper
    assert sum(part.rows for part in facts.parts[:2]) == shown["rows"].value["refit"]
    assert facts.part("holdout").rows == shown["rows"].value["holdout"]
    assert facts.guess["roc_auc"] == 0.5
    assert facts.importances[0].rise.mean > facts.importances[-1].rise.mean
    assert {one.value for one in facts.slices} == {"near", "far", HOSTILE}
    assert set(kept.pictures) == {"confusion_matrix", "roc", "calibration", "importance"}
    assert kept.pictures["importance"].startswith(b"\x89PNG")


def test_the_release_and_each_report_refresh_the_card(carded: Carded):
    assert "Released 2026-01-09 by dagster: started by hand." in carded.before
    assert "There is no report on a period that it served." in carded.before
    after = carded.page("model_card.md")
    assert f"Has served 1 period, the newest {DAY}" in after
    report = carded.loop.materialization(MODEL, "performance_report", DAY).metadata
    assert f"| {DAY} | 150 | {report['labelled'].value} |" in after


def test_dagster_shows_the_champions_card(carded: Carded):
    shown = carded.loop.materialization(MODEL, "model_card").metadata
    assert shown["version"].value == "1"
    assert shown["model_card"].value == carded.page("model_card.md")
    assert shown["data_sheet"].value == carded.page("data_sheet.md")


def test_a_hostile_value_is_shown_and_inert_on_every_page(carded: Carded):
    for name in PAGES:
        page = carded.page(name)
        assert "<script" not in page, name
        assert "&lt;script&gt;alert(1)" in page, name


def test_a_card_that_is_not_filled_in_fails_the_gate_that_asks_for_it(
    carded: Carded, tmp_path: Path
):
    loop = carded.loop
    bare = changes(gates={"require_card": True, "margin": 0.5}, card={"purpose": "vans"})
    add_parcels(tmp_path / "models", MODEL, rows(), **bare)
    result = loop.run(f"{MODEL}__train", definitions=loop.load(tmp_path / "models"))
    assert not result.success
    failed = checks(result)["documented"]
    assert not failed.passed
    assert failed.description == (
        "fill in card.limits in defs.yaml: gates.require_card asks for it"
    )
    assert loop.alias(MODEL) == "1"
    card = carded.page("model_card.md", "2")
    assert "Failed 1 of 6 release gates (documented): not to be released." in card
    assert "Was never released." in card


def test_a_card_is_remade_with_what_people_say_today(carded: Carded, tmp_path: Path):
    from mlops_assets.assets.card_pages import refresh
    from mlops_assets_tests.loop import read_model

    said = changes(card={**CARD, "limits": ["a limit that was found later"]})
    folder = add_parcels(tmp_path, MODEL, rows(), **said)
    made = refresh(read_model(folder), carded.loop.stores)
    assert (made.versions, made.problems) == (("1",), ())
    assert made.champion is not None
    assert "a limit that was found later" in carded.page("model_card.md")


def test_a_rollback_by_the_guard_is_on_the_card_with_the_next_look(carded: Carded):
    loop, now = carded.loop, utc("2026-01-13")
    number = len(loop.stores.releases.history(MODEL))
    cause = Cause("guard", "its answers fail", now, now, "", {})
    ReleaseLog(loop.stores.lake).add(cause.record("rollback", MODEL, number, "2", "1"))
    assert "its answers fail" not in carded.page("model_card.md")
    told = loop.tick(f"{MODEL}__alerts", definitions=carded.definitions)
    (event,) = told.asset_events
    assert event.metadata["version"].value == "1"
    for version in ("1", "2"):
        page = carded.page("model_card.md", version)
        assert "| 2026-01-13 | rollback | 2 → 1 | guard | its answers fail |" in page
    again = loop.tick(f"{MODEL}__alerts", told.cursor, carded.definitions)
    assert (again.asset_events, again.cursor) == ([], told.cursor)
