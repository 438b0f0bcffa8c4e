"""`mlops up`: Dagster, the MLflow UI and the HTTP endpoint, until Ctrl-C."""

import json

import click

from mlops_assets.cli.home import prepare_home
from mlops_assets.cli.services import standard_services
from mlops_assets.cli.supervisor import Supervisor
from mlops_assets.settings import Settings

TITLES = {
    "serve": ("HTTP endpoint", "POST /v1/models/MODEL/predict, GET /health, GET /openapi.json"),
    "dagster": ("Dagster", "assets, checks, runs, sensors"),
    "mlflow": ("MLflow", "experiments, models, versions"),
}


@click.command()
@click.option("--dagster/--no-dagster", "dagster", default=True, help="Webserver and daemon.")
@click.option("--mlflow/--no-mlflow", "mlflow", default=True, help="The MLflow UI.")
@click.option("--serve/--no-serve", "serve", default=True, help="The HTTP endpoint.")
@click.option("--dagster-port", type=click.IntRange(1, 65535), help="By default a free one.")
@click.option("--mlflow-port", type=click.IntRange(1, 65535), help="By default a free one.")
@click.option(
    "--serve-port",
    type=click.IntRange(1, 65535),
    help="By default MLOPS_SERVE_PORT if it is set, or else a free one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when all is ready.")
def up(
    dagster: bool,
    mlflow: bool,
    serve: bool,
    dagster_port: int | None,
    mlflow_port: int | None,
    serve_port: int | None,
    as_json: bool,
) -> None:
    """Run Dagster (webserver and daemon), the MLflow UI and the HTTP endpoint, until Ctrl-C."""
    wanted = {"dagster": dagster, "mlflow": mlflow, "serve": serve}
    names = [name for name, is_wanted in wanted.items() if is_wanted]
    if not names:
        raise click.UsageError("nothing is left to run: drop one of the --no-… options.")
    settings = Settings.load()
    if serve_port is None and "serve_port" in settings.model_fields_set:
        serve_port = settings.serve_port
    chosen = {"dagster": dagster_port, "mlflow": mlflow_port, "serve": serve_port}
    ports = {name: port for name, port in chosen.items() if port is not None}
    _say(as_json, f"Starting {', '.join(names)} on {settings.home}")
    prepare_home(settings)

    def report(name: str, event: str) -> None:
        _say(as_json, f"  {name}: {event}")

    try:
        with Supervisor(settings, standard_services(settings, names, ports), report) as running:
            _show(running.urls, as_json)
            running.wait()
    except KeyboardInterrupt:
        # The way to end this command.
        _say(as_json, "Stopped; nothing is left running.")


def _say(as_json: bool, text: str) -> None:
    """Progress goes to standard error, so that standard output holds the result alone."""
    if not as_json:
        click.echo(text, err=True)


def _show(urls: dict[str, str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"event": "ready", "urls": urls}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("Service", "Address", "What is there")
    for name, url in urls.items():
        title, text = TITLES[name]
        table.add_row(title, url, text)
    console = Console()
    console.print(table)
    console.print("Ctrl-C stops all of it.")
