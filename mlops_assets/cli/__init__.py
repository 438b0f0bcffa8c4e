"""The mlops command.

Importing this module, and asking for help, imports nothing but click: the libraries below a
command take seconds, and are imported when that command runs.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from mlops_assets.domain.errors import MlopsError

# Name -> where the command is, and its line in `mlops --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "new": ("mlops_assets.cli.new:new", "Draft a model's defs.yaml from its table."),
    "check": ("mlops_assets.cli.check:check", "Find what is wrong with specs and their data."),
    "demo": ("mlops_assets.cli.demo:demo", "Watch the loop close on real flights."),
    "replay": ("mlops_assets.cli.replay:replay", "Take a model through its history."),
    "backtest": (
        "mlops_assets.cli.backtest:backtest",
        "Compare retraining policies on a model's history.",
    ),
    "up": ("mlops_assets.cli.up:up", "Run Dagster, the MLflow UI and the HTTP endpoint."),
    "status": ("mlops_assets.cli.status:status", "Show versions, reports and decisions."),
    "releases": ("mlops_assets.cli.status:releases", "List a model's releases and rollbacks."),
    "card": ("mlops_assets.cli.card:card", "Print a version's model card or data sheet."),
    "alerts": ("mlops_assets.cli.alerts:alerts", "List what people were told, open ones first."),
    "approve": ("mlops_assets.cli.release:approve", "Release a challenger that passed its gates."),
    "rollback": ("mlops_assets.cli.release:rollback", "Restore a model's previous champion."),
    "unquarantine": (
        "mlops_assets.cli.release:unquarantine",
        "Let a quarantined version serve again.",
    ),
    "retire": ("mlops_assets.cli.retire:retire", "Take a model out of service, or bring it back."),
    "pause": ("mlops_assets.cli.pause:pause", "Stop retraining a model by itself."),
    "resume": ("mlops_assets.cli.pause:resume", "Let a paused model retrain again."),
    "split": ("mlops_assets.cli.split:split", "Share a model's traffic between its versions."),
    "shadow": ("mlops_assets.cli.split:shadow", "Let a version score a copy of the traffic."),
    "predict": (
        "mlops_assets.cli.predict:predict",
        "Score a file: over HTTP, or here and in bulk.",
    ),
    "token": ("mlops_assets.cli.token:token", "Make or rotate the endpoint's bearer token."),
    "clock": ("mlops_assets.cli.clock:clock", "Show or set the clock that the loop lives by."),
}


class LazyGroup(click.Group):
    """Commands that are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours is a message, not a traceback."""
        try:
            with quiet(), told_downloads():
                return super().invoke(ctx)
        except MlopsError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"Error: {error}", err=True)
            return ctx.exit(1)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Dagster's remarks that a part of it is in beta: they are for who writes code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is currently in beta")
        yield


@contextmanager
def told_downloads() -> Iterator[None]:
    """With a line every few seconds while a file of a source is downloaded."""
    logger = logging.getLogger("mlops_assets.stores.sources.copies")
    teller = logging.StreamHandler()
    logger.addHandler(teller)
    try:
        yield
    finally:
        logger.removeHandler(teller)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlops-assets", prog_name="mlops")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Keep tabular models good: train, gate, release, serve, watch, retrain.

    All state lives under MLOPS_HOME, by default .mlops/ in the project.
    """
