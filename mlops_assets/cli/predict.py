"""`mlops predict`: a file's rows through the running endpoint."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

from mlops_assets.cli.endpoint import Endpoint
from mlops_assets.cli.rows import read_rows
from mlops_assets.cli.running import running_url
from mlops_assets.settings import Settings
from mlops_assets.stores.tokens import client_token

CHUNK = 500


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", help="Another endpoint than that of the running `mlops up`.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON lines to a file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@click.option("--chunk", type=click.IntRange(1), default=CHUNK, help="Rows per request, at most.")
def predict(
    model: str, file: Path, url: str | None, output: Path | None, as_json: bool, chunk: int
) -> None:
    """Send the rows of FILE (.jsonl, .csv or .parquet) to MODEL and show its predictions.

    Columns that the model does not ask for are left out.
    """
    settings = Settings.load()
    token = client_token(settings.serve_token_file)
    endpoint = Endpoint(url or running_url(settings, "serve"), token)
    schema = endpoint.record_schema(model)
    rows = read_rows(file, schema)
    size = min(chunk, schema.max_rows)
    answers = _answers(endpoint, model, rows, size, show_progress=not as_json)
    if output is not None:
        with output.open("w") as target:
            count = sum(_write(answer, target) for answer in answers)
        click.echo(f"{count} predictions in {output}", err=True)
    elif as_json:
        for answer in answers:
            _write(answer, sys.stdout)
    else:
        _show(list(answers))


def _answers(
    endpoint: Endpoint, model: str, rows: Sequence[dict[str, Any]], size: int, show_progress: bool
) -> Iterator[dict[str, Any]]:
    """One answer per request."""
    starts: Iterable[int] = range(0, len(rows), size)
    if show_progress and len(rows) > size:
        from rich.console import Console
        from rich.progress import track

        starts = track(range(0, len(rows), size), "Sending rows", console=Console(stderr=True))
    for start in starts:
        yield endpoint.predict(model, rows[start : start + size], first_row=start)


def _write(answer: dict[str, Any], target: IO[str]) -> int:
    """One line per prediction; returns how many."""
    for prediction in answer["predictions"]:
        line = {"model": answer["model"], "version": answer["version"], **prediction}
        target.write(json.dumps(line) + "\n")
    return len(answer["predictions"])


def _show(answers: list[dict[str, Any]], most: int = 20) -> None:
    from rich.console import Console
    from rich.table import Table

    predictions = [(one["version"], each) for one in answers for each in one["predictions"]]
    table = Table("Row", "Prediction", "Probability", "Version", "Prediction id")
    for row, (version, each) in enumerate(predictions[:most]):
        probability = each.get("probability")
        best = f"{probability[each['prediction']]:.3f}" if probability else ""
        value = each["prediction"]
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(str(row), shown, best, version, each["prediction_id"])
    console = Console()
    console.print(table)
    if len(predictions) > most:
        console.print(f"… and {len(predictions) - most} more: --output or --json shows all.")
