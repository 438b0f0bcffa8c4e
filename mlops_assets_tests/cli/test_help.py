import subprocess
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from mlops_assets.cli import COMMANDS, main
from mlops_assets.settings import Settings

HEAVY = ("dagster", "mlflow", "ray", "pandas", "numpy", "sklearn", "pydantic", "rich", "psutil")


def test_help_imports_no_heavy_library():
    code = (
        "import sys; from mlops_assets.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "loaded: []" in result.stdout
    assert "MLOPS_HOME" in result.stdout


def test_starting_services_imports_no_heavy_library_into_the_supervising_process():
    code = (
        "import sys, mlops_assets.cli.up\n"
        "print([n for n in ('dagster', 'mlflow', 'ray', 'pandas', 'sklearn') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_help_lists_every_command_with_its_line():
    output = CliRunner().invoke(main, ["--help"]).output
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in output
        assert text in output


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_there_and_has_help(name: str):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: main {name}" in result.output


def test_the_version_is_that_of_the_installed_project():
    assert (
        CliRunner().invoke(main, ["--version"]).output
        == f"mlops, version {version('mlops-assets')}\n"
    )


def test_an_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(main, ["nothing"])
    assert result.exit_code == 2
    assert "No such command 'nothing'" in result.output


def failing(settings: Settings, *options: str) -> subprocess.CompletedProcess[str]:
    rows = settings.home / "rows.jsonl"
    settings.home.mkdir()
    rows.write_text("{}\n")
    return subprocess.run(
        [sys.executable, "-m", "mlops_assets.cli", *options, "predict", "flight_delay", str(rows)],
        env=settings.environment(),
        capture_output=True,
        text=True,
    )


def test_an_error_of_ours_is_one_line_on_standard_error(settings: Settings):
    result = failing(settings)
    assert result.returncode == 1
    assert result.stdout == ""
    message = f"Error: nothing runs on {settings.home}: start it with `mlops up`.\n"
    assert result.stderr == message


def test_debug_shows_the_traceback(settings: Settings):
    result = failing(settings, "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ServiceError: nothing runs" in result.stderr
