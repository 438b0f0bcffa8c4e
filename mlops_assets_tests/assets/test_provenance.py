import subprocess
from importlib.metadata import version
from pathlib import Path

from mlops_assets.assets.provenance import code_version


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_in_a_clone_it_is_the_commit(tmp_path: Path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    (tmp_path / "REVISION").write_text("something older")
    commit = git(tmp_path, "rev-parse", "HEAD")
    found = code_version(tmp_path)
    assert len(found) >= 7
    assert commit.startswith(found)


def test_in_an_image_it_is_what_the_builder_said(tmp_path: Path):
    (tmp_path / "REVISION").write_text("0123abc\n")
    assert code_version(tmp_path) == "0123abc"


def test_without_either_it_is_the_packages_version(tmp_path: Path):
    assert code_version(tmp_path) == version("mlops-assets")
    (tmp_path / "REVISION").write_text("")
    assert code_version(tmp_path) == version("mlops-assets")
