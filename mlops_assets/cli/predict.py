"""`mlops predict`: a file's rows through the running endpoint, or in bulk without it."""

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
@click.argument("source", metavar="FILE|TABLE")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Score here, without the endpoint, into Parquet files in this folder.",
)
@click.option("--version", metavar="N", help="With --out: another version than the champion.")
@click.option(
    "--engine",
    type=click.Choice(["exact", "onnx"]),
    default="exact",
    show_default=True,
    help="With --out: exact is scikit-learn's own result to the last bit; onnx is what the "
    "endpoint answers, and faster.",
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="With --out: copy a column, too.")
@click.option(
    "--workers", type=click.IntRange(1), help="With --out: threads; by default one per CPU."
)
@click.option("--overwrite", is_flag=True, help="With --out: replace what another run left there.")
@click.option("--url", help="Another endpoint than that of the running `mlops up`.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON lines to a file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines; with --out, a summary.")
@click.option("--chunk", type=click.IntRange(1), default=CHUNK, help="Rows per request, at most.")
def predict(
    model: str,
    source: str,
    out: Path | None,
    version: str | None,
    engine: str,
    keep: tuple[str, ...],
    workers: int | None,
    overwrite: bool,
    url: str | None,
    output: Path | None,
    as_json: bool,
    chunk: int,
) -> None:
    """Show or write what MODEL predicts for the rows of FILE or TABLE.

    Without --out, the rows of a FILE (.jsonl, .csv or .parquet) are sent to the running endpoint,
    checked, answered and logged like any request.

    With --out FOLDER, a Parquet file, a folder of them or a Delta table (a path, or the name of one
    of the model's tables in the lake) of any size is scored by this process, or on the Ray cluster
    that MLOPS_RAY_ADDRESS names. A run that was killed goes on where it was. Rows that break the
    model's contract are kept in FOLDER/_rejected with the reasons. Inputs of `history` that the
    rows do not bring are looked up in the lake as of each row's event time.

    Columns that the model does not ask for are left out.
    """
    settings = Settings.load()
    if out is not None:
        from mlops_assets.cli.batch import BatchOptions, score_here

        if url or output:
            raise click.UsageError("--url and --output are for the endpoint; --out is not.")
        options = BatchOptions(out, version, engine, keep, workers, overwrite)
        score_here(settings, model, source, options, as_json=as_json)
        return
    file = _file(source)
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


def _file(source: str) -> Path:
    path = Path(source)
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist as a file"
        raise click.BadParameter(f"{source} {what}; --out FOLDER scores folders and tables.")
    return path


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
