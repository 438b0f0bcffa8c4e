import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mlops_assets.assets.card_facts import notes_of
from mlops_assets.components import TabularModel
from mlops_assets.components.template import TabularModelScaffolder
from mlops_assets.domain.errors import SpecError
from mlops_assets.spec import ModelSpec
from mlops_assets.spec.rules import problems
from mlops_assets_tests.loop import TYPE, load

PROJECT = """\
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "shop"
registry_modules = ["mlops_assets.components"]
"""


def request(folder: Path) -> dg.ScaffoldRequest:
    folder.mkdir(parents=True, exist_ok=True)
    return dg.ScaffoldRequest(
        type_name=TYPE,
        target_path=folder,
        scaffold_format="yaml",
        project_root=None,
        params=None,
        append=False,
    )


def test_dg_scaffolds_a_commented_model_in_a_project_of_its_own(tmp_path: Path):
    package = tmp_path / "shop"
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    dg_command = Path(sys.executable).parent / "dg"
    done = subprocess.run(
        [dg_command, "scaffold", "defs", TYPE, "ice_cream"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (package / "defs" / "ice_cream" / "defs.yaml").read_text()
    assert text.startswith("# A model: where its rows come from")
    assert "`mlops check ice_cream`" in text


def test_the_template_is_a_spec_without_problems_that_loads_without_its_source(tmp_path: Path):
    folder = tmp_path / "models" / "ice_cream"
    TabularModelScaffolder().scaffold(request(folder))
    content = yaml.safe_load((folder / "defs.yaml").read_text())
    assert content["type"] == TYPE
    spec = ModelSpec.model_validate(content["attributes"])
    assert not problems(spec)
    assert spec.period.start == date(2026, 1, 5)
    assert notes_of(spec).missing == ("card.purpose", "owner", "card.limits")
    found = load(tmp_path / "home", tmp_path / "models")
    assert found.resolve_job_def("ice_cream__train")


def test_a_model_that_is_there_is_not_overwritten(tmp_path: Path):
    scaffolder = TabularModelScaffolder()
    scaffolder.scaffold(request(tmp_path))
    (tmp_path / "defs.yaml").write_text("mine")
    with pytest.raises(SpecError, match="is there already"):
        scaffolder.scaffold(request(tmp_path))
    assert (tmp_path / "defs.yaml").read_text() == "mine"


def test_the_component_uses_it():
    from dagster.components.scaffold.scaffold import get_scaffolder

    assert isinstance(get_scaffolder(TabularModel), TabularModelScaffolder)
