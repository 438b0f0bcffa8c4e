from pathlib import Path

import pytest

from mlops_assets.cli.specs import load_model
from mlops_assets.domain.errors import SpecError
from mlops_assets.settings import Settings
from mlops_assets_tests.loop import add_model, parcel_spec


def settings(folder: Path, **changes: object) -> Settings:
    add_model(folder / "models", "parcels", parcel_spec(**changes))
    return Settings(home=folder / "home", models_dir=folder / "models")


def test_a_model_is_read_even_if_its_source_is_away(tmp_path: Path):
    found = load_model(settings(tmp_path), "parcels")
    assert found.name == "parcels"
    assert found.spec.entity == "parcel"


def test_all_mistakes_are_told_with_their_lines(tmp_path: Path):
    wrong = settings(tmp_path, task="clever", owners="me")
    with pytest.raises(SpecError) as caught:
        load_model(wrong, "parcels")
    path = tmp_path / "models" / "parcels" / "defs.yaml"
    lines = path.read_text().splitlines()
    for text in ("  task: clever", "  owners: me"):
        assert f"{path}:{lines.index(text) + 1}: " in str(caught.value)


def test_mistakes_between_the_parts_are_told_too(tmp_path: Path):
    with pytest.raises(SpecError, match=r"defs\.yaml:\d+: label\.above: above makes a binary"):
        load_model(settings(tmp_path, task="multiclass"), "parcels")


def test_a_function_that_is_not_there_is_told_with_its_line(tmp_path: Path):
    rule = {"name": "trend", "entity": "zone", "function": "trend", "window": "7d"}
    with pytest.raises(SpecError, match=r"defs\.yaml:\d+: history\.0\.function: there is no feat"):
        load_model(settings(tmp_path, history=[rule]), "parcels")


def test_a_model_that_is_not_there_is_told_with_those_that_are(tmp_path: Path):
    with pytest.raises(SpecError, match=r"no model 'letters' in .*; there are parcels"):
        load_model(settings(tmp_path), "letters")
