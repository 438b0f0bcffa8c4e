from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.domain.contract import HistoryRule
from mlops_assets.domain.errors import PastFunctionError
from mlops_assets.stores.files import sha256_of
from mlops_assets.stores.history_functions import HistoryFunctions, load_function

CODE = """
from os import system
import numpy as np

FACTOR = 2

def twice(times, values, at):
    return FACTOR * len(times)
"""


class Project:
    """A folder of models with one model, and what its contract says of features.py."""

    def __init__(self, home: Path) -> None:
        self.models_dir = home
        self.folder = home / "orders"
        self.folder.mkdir()
        (self.folder / "defs.yaml").touch()
        self.write(CODE)

    def write(self, code: str) -> None:
        (self.folder / "features.py").write_text(code)

    def rule(self, function: str = "twice") -> HistoryRule:
        digest = sha256_of(self.folder / "features.py")
        return HistoryRule("past", "who", "", "", 60.0, "daily", "event", (), function, digest)


NOTHING = np.empty(3, dtype="datetime64[us]"), {}, np.datetime64(0, "us")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_projects_function_is_run_with_all_that_its_file_has(project: Project):
    assert load_function(project.folder, project.rule())(*NOTHING) == 6
    found = HistoryFunctions(project.models_dir).find("orders", project.rule())
    assert found is not None
    assert found(*NOTHING) == 6


def test_a_file_that_changed_is_told_and_not_run(project: Project):
    rule = project.rule()
    project.write(f"open({str(project.folder / 'ran')!r}, 'w')\n" + CODE)
    for find in (
        lambda: load_function(project.folder, rule),
        lambda: HistoryFunctions(project.models_dir).find("orders", rule),
    ):
        with pytest.raises(PastFunctionError, match=r"features\.py is not what it was"):
            find()
    assert not (project.folder / "ran").exists()
    project.write(CODE)
    assert load_function(project.folder, rule)(*NOTHING) == 6


def test_what_was_loaded_stays_beside_what_is_new(project: Project):
    functions, old = HistoryFunctions(project.models_dir), project.rule()
    functions.find("orders", old)
    project.write(CODE.replace("FACTOR = 2", "FACTOR = 5"))
    found = [functions.find("orders", rule) for rule in (old, project.rule())]
    assert [one(*NOTHING) for one in found if one] == [6, 15]


@pytest.mark.parametrize("function", ["system", "FACTOR", "__import__", "nothing"])
def test_nothing_but_the_files_own_functions_is_called(project: Project, function: str):
    with pytest.raises(PastFunctionError, match=f"no function '{function}' of its own"):
        load_function(project.folder, project.rule(function))


def test_a_project_that_is_not_there_is_told_with_what_to_do(project: Project, tmp_path: Path):
    for models_dir in (None, tmp_path / "elsewhere"):
        with pytest.raises(PastFunctionError, match="let MLOPS_MODELS_DIR name where they are"):
            HistoryFunctions(models_dir).find("orders", project.rule())
    (project.folder / "features.py").unlink()
    with pytest.raises(PastFunctionError, match=r"there is no features\.py beside"):
        load_function(project.folder, HistoryRule("p", "w", "", "", 1, "daily", "event"))


def test_a_file_that_cannot_be_imported_is_told(project: Project):
    project.write("import nothing_of_that_name\n" + CODE)
    with pytest.raises(PastFunctionError, match="cannot be imported: ModuleNotFoundError"):
        load_function(project.folder, project.rule())


def test_a_rule_without_a_function_needs_no_project(project: Project):
    plain = replace(project.rule(), aggregate="count", function="", digest="")
    assert HistoryFunctions(None).find("orders", plain) is None
