"""`mlops check`: everything that is wrong with specs and their data, before anything is trained."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_assets.cli.located import SpecFile
    from mlops_assets.spec.findings import Finding

SAMPLE_ROWS = 500_000
MARKS = {"problem": "✗", "warning": "!", "note": "·"}


@dataclass(frozen=True)
class Checked:
    """A model's file, what was looked at, and what was found."""

    model: str
    file: "SpecFile"
    rows: int
    looked_at: int
    findings: "tuple[Finding, ...]"

    def count(self, level: str) -> int:
        """Findings of a level."""
        return sum(found.level == level for found in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs; `line` is that of the place, or of the nearest part above it."""
        return {
            "model": self.model,
            "file": str(self.file.path),
            "rows": self.rows,
            "rows_looked_at": self.looked_at,
            "findings": [
                {**asdict(found), "place": _dotted(found), "line": self.file.line(found.place)}
                for found in self.findings
            ],
        }


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, name: str | None, as_json: bool) -> None:
    """Check the spec of model NAME, or of every model, against its source; train nothing.

    Tells all problems at once, with file and line. The exit code is 1 if there is a problem, and
    0 if there are only warnings.
    """
    from mlops_assets.cli.models import known_model, model_names
    from mlops_assets.stores.model_folders import model_folders

    settings = Settings.load()
    names = [known_model(settings, name)] if name else model_names(settings)
    folders = model_folders(settings.models_dir)
    now = datetime.now(UTC)
    done = [check_model(model, folders[model], now) for model in names]
    if as_json:
        click.echo(json.dumps({"models": [one.to_json() for one in done]}))
    else:
        _show(done)
    context.exit(int(any(one.count("problem") for one in done)))


def check_model(name: str, folder: "Path", now: datetime) -> Checked:
    """Check one model's file and its rows, as far as the file can be read."""
    from mlops_assets.cli.located import read_spec_file
    from mlops_assets.domain.errors import SourceError
    from mlops_assets.spec.data import findings
    from mlops_assets.spec.estimators import estimator_findings
    from mlops_assets.spec.findings import Finding, Table, source_findings
    from mlops_assets.stores.sample import take_sample

    file = read_spec_file(name, folder)
    model = file.model
    unknown = any("the source has no column" in found.message for found in file.findings)
    if model is None or unknown:
        return Checked(name, file, 0, 0, file.findings)
    spec = model.spec
    found_first = (*file.findings, *source_findings(spec), *estimator_findings(spec))
    try:
        sample = take_sample(
            spec.source,
            folder,
            columns=spec.source_columns,
            event_time=spec.event_time,
            limit=SAMPLE_ROWS,
        )
    except SourceError as error:
        away = Finding("source", "problem", ("source",), str(error))
        return Checked(name, file, 0, 0, (*found_first, away))
    found = findings(Table(model, sample.frame, sample.times, now))
    if sample.timeless:
        message = (
            f"{sample.timeless:,} rows have no {spec.event_time}: they belong to no period, "
            "and are never read; correct them in the source, if they matter"
        )
        found = (Finding("timeless", "warning", ("event_time",), message), *found)
    if sample.in_order is False:
        message = "rows are not in order of time: no harm, they are sorted when they are read"
        found = (*found, Finding("unsorted", "note", ("source",), message))
    return Checked(name, file, len(sample.times), len(sample.frame), (*found_first, *found))


def _dotted(found: "Finding") -> str:
    return ".".join(map(str, found.place))


def _show(done: list[Checked]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for one in done:
        seen = f", {one.looked_at:,} of them looked at" if one.looked_at < one.rows else ""
        console.print(f"{one.model}: {one.rows:,} rows{seen}", soft_wrap=True)
        for found in one.findings:
            where = f"{one.file.path}:{one.file.line(found.place)}"
            text = f"{MARKS[found.level]} {found.level} {where}: {_dotted(found)}: {found.message}"
            console.print(f"  {text}", soft_wrap=True)
        problems, warnings = one.count("problem"), one.count("warning")
        told = f"{problems} problems, {warnings} warnings" if problems + warnings else "all good"
        console.print(f"  {told}")
    if not done:
        console.print("There is no model yet: `mlops new` drafts one.")
