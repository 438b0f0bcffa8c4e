import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.stores.clock import Clock


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["clock", *arguments])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2013-07-01T12:00:00Z", "2013-07-01T12:00:00+00:00"),
        ("2013-07-01T12:00:00+02:00", "2013-07-01T10:00:00+00:00"),
        ("2013-07-01", "2013-07-01T00:00:00+00:00"),
    ],
)
def test_a_set_clock_is_what_every_process_reads(home: Path, text: str, moment: str):
    result = run("--set", text, "--json")
    assert json.loads(result.stdout) == {"now": moment, "replaying": True}
    assert Clock(home / "clock.json").now() == datetime.fromisoformat(moment)
    assert run().stdout == f"{moment} (set by a replay)\n"


def test_the_system_time_comes_back(home: Path):
    run("--set", "2013-07-01")
    result = json.loads(run("--system", "--json").stdout)
    assert result["replaying"] is False
    age = datetime.now(UTC) - datetime.fromisoformat(result["now"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_a_wrong_time_is_refused_with_an_example_and_changes_nothing(home: Path):
    result = run("--set", "yesterday")
    assert result.exit_code == 2
    assert "'yesterday' is not an ISO 8601 time, such as 2013-07-01T00:00:00Z" in result.output
    assert list(home.iterdir()) == []


def test_setting_and_resetting_at_once_is_refused(home: Path):
    assert run("--set", "2013-07-01", "--system").exit_code == 2
    assert list(home.iterdir()) == []
