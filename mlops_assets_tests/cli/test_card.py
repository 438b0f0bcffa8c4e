from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.settings import Settings
from mlops_assets.stores.cards import Cards, KeptCard
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.domain.cards import facts

MODEL = "flight_delay"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["card", *arguments])


@pytest.fixture
def cards(prepared: Settings) -> Cards:
    """Two versions with a card, none of them released; the model's defs.yaml is empty."""
    found = Cards(Lake(prepared.lake_root))
    for version in ("1", "2"):
        found.keep(KeptCard(facts(model=MODEL, version=version), {}, "run", ""))
    return found


def test_a_card_and_a_sheet_are_printed_as_markdown(cards: Cards):
    newest = run(MODEL)
    assert newest.exit_code == 0, newest.output
    assert newest.stdout.startswith("# Model card: flight_delay, version 2\n")
    assert run(MODEL, "--version", "1").stdout.startswith("# Model card: flight_delay, version 1\n")
    assert run(MODEL, "--data-sheet").stdout.startswith("# Data sheet: flight_delay, version 2\n")


def test_a_card_is_written_in_the_form_that_the_file_name_says(cards: Cards, tmp_path: Path):
    assert "Wrote" in run(MODEL, "--out", str(tmp_path / "card.html")).stdout
    assert (tmp_path / "card.html").read_text().startswith("<!DOCTYPE html>")
    assert run(MODEL, "--out", str(tmp_path / "card.md")).exit_code == 0
    assert (tmp_path / "card.md").read_text() == run(MODEL).stdout
    refused = run(MODEL, "--out", str(tmp_path / "card.pdf"))
    assert refused.exit_code == 2
    assert "card.pdf: name a .md or an .html file" in refused.output


def test_a_version_or_model_without_a_card_is_told(cards: Cards):
    absent = run(MODEL, "--version", "7")
    assert absent.exit_code == 1
    assert "version 7 of flight_delay has no card (versions with one: 1, 2)" in absent.output
    assert "there is no model 'letters'" in run("letters").output
    assert "bike_demand has no version yet" in run("bike_demand").output


def test_what_defs_yaml_says_today_is_what_the_card_says(cards: Cards, prepared: Settings):
    from mlops_assets_tests.loop import add_model, parcel_spec

    assert "Not for letters" in run(MODEL).stdout
    (prepared.models_dir / MODEL / "defs.yaml").unlink()
    (prepared.models_dir / MODEL).rmdir()
    add_model(prepared.models_dir, MODEL, parcel_spec(card={"limits": ["Not on Sundays"]}))
    found = run(MODEL).stdout
    assert "Not on Sundays" in found
    assert "Not for letters" not in found
