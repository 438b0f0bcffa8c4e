from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.stores.tokens import read_tokens


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments])


def test_a_token_is_made_at_home_and_printed_with_the_setting_that_uses_it(home: Path):
    result = run()
    assert result.exit_code == 0
    assert read_tokens(home / "token") == (result.stdout.strip(),)
    assert result.stderr.strip() == f"export MLOPS_SERVE_TOKEN_FILE={home / 'token'}"


def test_the_file_of_the_setting_is_rotated(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLOPS_SERVE_TOKEN_FILE", str(home / "ours"))
    first, second = run().stdout.strip(), run().stdout.strip()
    assert read_tokens(home / "ours") == (second, first)
    assert run().stderr == ""
    assert not (home / "token").exists()


def test_another_file_may_be_named(home: Path):
    result = run(str(home / "other"))
    assert read_tokens(home / "other") == (result.stdout.strip(),)
    assert str(home / "other") in result.stderr


def test_a_file_that_cannot_be_used_is_an_error_that_keeps_it(home: Path):
    (home / "token").write_text("a-token-that-everybody-can-read")
    (home / "token").chmod(0o644)
    result = run()
    assert result.exit_code == 1
    assert "mode 0644" in result.stderr
    assert "everybody" not in result.output
    assert (home / "token").read_text() == "a-token-that-everybody-can-read"
