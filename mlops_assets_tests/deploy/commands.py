"""Whether a command of a deployment file is one that the code has, with arguments it takes."""

import importlib
import importlib.util
from collections.abc import Sequence

import click

from mlops_assets.settings import PROJECT_ROOT

# Module or program -> where its click command is.
CLICK = {
    "dagster": "dagster._cli:cli",
    "dagster._daemon": "dagster._daemon.cli:cli",
    "dagster_webserver": "dagster_webserver.cli:dagster_webserver",
    "mlflow": "mlflow.cli:cli",
    "mlops": "mlops_assets.cli:main",
}
# These take no arguments but their own, which their own tests try.
PLAIN_MODULES = {
    "serving": {"--no-follow"},
    "serving.sidecar": set(),
    "mlops_assets.cli.home": set(),
}
# Programs of Debian and of the PostgreSQL image.
PROGRAMS = {"install", "sleep", "pg_isready"}


def check(command: Sequence[str]) -> None:
    """Raises AssertionError or click.UsageError for a command that would not start."""
    program, *rest = command
    if program == "python" and rest[0] == "-c":
        compile(rest[1], "<command>", "exec")
    elif program == "python" and rest[0] == "-m" and rest[1] in PLAIN_MODULES:
        assert importlib.util.find_spec(rest[1]) is not None, command
        assert set(rest[2:]) <= PLAIN_MODULES[rest[1]], command
    elif program == "python" and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]) is not None, command
        _parse(CLICK[rest[1]], rest[2:])
    elif program in CLICK:
        _parse(CLICK[program], rest)
    else:
        assert program in PROGRAMS, f"nobody knows the program of {command}"


def _parse(where: str, arguments: Sequence[str]) -> None:
    module, _, name = where.partition(":")
    command = getattr(importlib.import_module(module), name)
    # The images keep the repository in /app.
    rest = [one.replace("/app/", f"{PROJECT_ROOT}/") for one in arguments]
    while isinstance(command, click.Group):
        assert rest, f"{where} needs a command"
        with click.Context(command) as context:
            found = command.get_command(context, rest[0])
        assert found is not None, f"{where} has no command {rest[0]!r}"
        command = found
        rest = rest[1:]
    command.make_context(str(command.name), rest)
