"""`mlops new`: from a table to a model's first defs.yaml, with the reason of every choice."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.domain.errors import NoKeyError, NoTimesError, SourceError, SpecError
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.domain.draft_choices import Asked
    from mlops_assets.domain.drafting import Draft
    from mlops_assets.stores.new_source import NewSource
    from mlops_assets.stores.sample import Sample

NAME = re.compile(r"[a-z][a-z0-9_]*")
SAMPLE_ROWS = 500_000
PERIODS = ("auto", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly")
TASKS = ("auto", "binary", "multiclass", "regression")
# Periods with labels that a first version is trained on: window.min, validation and holdout.
FIRST_TRAINING = 8
# A first replay takes minutes, whatever the length of the history.
REPLAYED = 8


class _Days(click.ParamType[timedelta]):
    """A delay such as 90m, 12h, 3d or 2w."""

    name = "delay"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        """Read the number and the unit."""
        units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
        found = re.fullmatch(r"(\d+)([mhdw])", str(value))
        if not found:
            self.fail(f"{value!r} is no delay: write 90m, 12h, 3d or 2w", param, ctx)
        return timedelta(**{units[found[2]]: int(found[1])})


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "origin",
    required=True,
    metavar="PATH|URL|SQL",
    help="Parquet or CSV (file, folder, s3://…, or one file at https://…), an SQLAlchemy URL "
    "(with --table), a SELECT.",
)
@click.option("--time", "event_time", required=True, metavar="COL", help="When the event was.")
@click.option("--label", required=True, metavar="COL", help="What is to be predicted.")
@click.option("--entity", default="", metavar="COL", help="Whom a row is about; found if unique.")
@click.option("--table", default="", help="Table or view of a database.")
@click.option("--token-env", default="", metavar="NAME", help="Variable with a bearer token.")
@click.option("--period", type=click.Choice(PERIODS), default="auto", help="Length of a period.")
@click.option("--task", type=click.Choice(TASKS), default="auto", help="What kind of label it is.")
@click.option("--above", type=float, help="Predict whether the label's column exceeds this.")
@click.option("--known-at", default="", metavar="COL", help="When the label became known.")
@click.option("--known-after", type=_Days(), help="Or how long after the event: 12h, 3d, 2w.")
@click.option("--encoding", help="Encoding of CSV files, such as cp1252.")
@click.option("--delimiter", help="Field separator of CSV files; found.")
@click.option("--decimal", type=click.Choice((".", ",")), help="Decimal mark of CSV files.")
@click.option("--time-format", help="How CSV files write times, if not in ISO 8601: %d/%m/%Y.")
def new(name: str, origin: str, table: str, token_env: str, **asked: Any) -> None:
    """Draft the defs.yaml of a model NAME from the table that it shall learn from.

    Looks at the data, decides on columns, types, ranges, periods and gates, leaves out what looks
    like an id or a leak, says why, and writes it all into a commented file, which is then yours.
    """
    from mlops_assets.cli.new_hints import key_hint, spans_hint
    from mlops_assets.domain.draft_choices import Asked
    from mlops_assets.domain.draft_text import render
    from mlops_assets.domain.drafting import draft
    from mlops_assets.spec.names import is_reserved
    from mlops_assets.stores.csv_writing import as_written
    from mlops_assets.stores.files import write_atomically
    from mlops_assets.stores.model_folders import SPEC_FILE
    from mlops_assets.stores.new_source import DESCRIBED, new_source

    settings = Settings.load()
    folder = settings.models_dir / name
    _refuse_name(name, folder)
    if asked["known_at"] and asked["known_after"] is not None:
        raise click.UsageError("give --known-at or --known-after, not both")
    csv = {key: asked.pop(key) for key in DESCRIBED}
    csv = {key: value for key, value in csv.items() if value is not None}
    wanted = Asked(every=asked.pop("period"), **asked)
    source = new_source(
        origin, table=table, model=name, folder=folder, csv=csv, token_env=token_env
    )
    source = as_written(source, folder)
    sample = _sample(source, folder, wanted, origin)
    try:
        drafted = draft(sample.frame, sample.times, wanted, datetime.now(UTC), is_reserved)
    except NoKeyError as error:
        raise NoKeyError(f"{error}{key_hint(source.source, origin, wanted.event_time)}") from None
    told = source.variable or origin
    text = render(drafted, source.keys, told)
    _verify(text)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / SPEC_FILE, text.encode())
    found = {key: source.keys[key] for key in DESCRIBED if key in source.keys and key not in csv}
    earlier = [column.name for column in drafted.columns if column.is_earlier]
    hint = spans_hint(source.source, origin, wanted.event_time, earlier, sample.frame.columns)
    _show(name, folder / SPEC_FILE, drafted, sample, source, found, hint)


def _refuse_name(name: str, folder: Path) -> None:
    if not NAME.fullmatch(name):
        raise SpecError(
            f"{name!r} is no name for a model: use lower-case letters, digits and _, beginning "
            "with a letter; it becomes a folder, a table and part of a URL."
        )
    if (folder / "defs.yaml").exists():
        raise SpecError(
            f"{folder / 'defs.yaml'} is there already, and is yours: choose another name, or "
            "remove it first."
        )


def _sample(source: "NewSource", folder: Path, asked: "Asked", origin: str) -> "Sample":
    from mlops_assets.cli.new_hints import time_hint
    from mlops_assets.stores import sources
    from mlops_assets.stores.sample import take_usable_sample, time_columns

    # Row numbers that a program wrote beside the table have no name.
    columns = tuple(name for name in sources.column_names(source.source, folder) if name)
    if asked.event_time not in columns:
        able = ", ".join(time_columns(source.source, folder)) or "none"
        raise SourceError(
            f"--time {asked.event_time}: {origin} has no column {asked.event_time!r}; it has "
            f"{', '.join(columns)}. Columns of times: {able}."
        )
    try:
        sample = take_usable_sample(
            source.source,
            folder,
            columns=columns,
            event_time=asked.event_time,
            needed=(asked.label, asked.entity, asked.known_at),
            limit=SAMPLE_ROWS,
        )
    except NoTimesError:
        raise NoTimesError(time_hint(source.source, folder, asked.event_time, origin)) from None
    if not len(sample.times):
        raise SourceError(
            f"no row has a time in {asked.event_time!r} between 1700 and 2260: is the source empty?"
        )
    return sample


def _verify(text: str) -> None:
    """Refuse to write a file that would not load."""
    import yaml

    from mlops_assets.spec import ModelSpec
    from mlops_assets.spec.rules import problems

    spec = ModelSpec.model_validate(yaml.safe_load(text)["attributes"])
    found = problems(spec)
    if found:
        lines = [f"{'.'.join(map(str, one.place))}: {one.message}" for one in found]
        raise SpecError("no spec can be made of this table as it is: " + "; ".join(lines))


def _show(
    name: str,
    path: Path,
    drafted: "Draft",
    sample: "Sample",
    source: "NewSource",
    found: Mapping[str, str],
    hint: str,
) -> None:
    from rich.console import Console

    from mlops_assets.spec.source import unencrypted

    console = Console(highlight=False, markup=False)
    seen = "" if sample.is_whole else f", columns judged on {len(sample.frame):,} of them"
    span = f"{sample.times.iloc[0]:%Y-%m-%d} to {sample.times.iloc[-1]:%Y-%m-%d}"
    console.print(f"Looked at {len(sample.times):,} rows, {span}{seen}.", soft_wrap=True)
    open_way = unencrypted(source.source)
    if open_way:
        console.print(f"! {open_way[1]}.", soft_wrap=True)
    for key, value in found.items():
        console.print(f"The file has {value!r} as its {key}.", soft_wrap=True)
    if sample.timeless:
        console.print(
            f"! {sample.timeless:,} rows have no {drafted.asked.event_time}: they belong to no "
            "period, and are never read.",
            soft_wrap=True,
        )
    if sample.in_order is False:
        console.print("Rows are not in order of time: no harm, they are sorted when they are read.")
    if sample.unusable:
        names = ", ".join(sample.unusable)
        console.print(
            f"Passed over, as they hold lists, structures or too large numbers: {names}.",
            soft_wrap=True,
        )
    choices = [("! " if c.warns else "", c.about, c.chosen, c.reason) for c in drafted.choices]
    _table(console, "Decided", ("part", "value", "why"), choices)
    columns = [
        ("! " if c.warns else "", c.name, c.type + ("?" if c.nullable else ""), c.reason)
        for c in drafted.columns
        if c.kept
    ]
    _table(console, "Inputs", ("column", "type", "what it holds"), columns)
    left = [("", c.name, c.reason) for c in drafted.columns if not c.kept]
    _table(console, "Left out", ("column", "why"), left)
    if hint:
        console.print(hint, soft_wrap=True)
    console.print(f"Wrote {path}", soft_wrap=True)
    console.print("Next:")
    if source.variable:
        console.print(f"  export {source.variable}=…   the SQLAlchemy URL, password included")
    periods = list(drafted.history.rows)
    for line in next_commands(name, drafted, periods):
        console.print(f"  {line}", soft_wrap=True)


def next_commands(name: str, drafted: "Draft", periods: Sequence[str]) -> list[str]:
    """What to type next; the replay serves the last periods, and trains on those before."""
    lines = [f"mlops check {name}"]
    calendar = drafted.history.calendar
    needed = FIRST_TRAINING + calendar.nearest(timedelta(days=drafted.days_until_judged))
    if len(periods) > needed:
        start = calendar.bounds(periods[max(needed, len(periods) - REPLAYED)]).start
        end = calendar.bounds(periods[-1]).end
        lines.append(f"mlops replay {name} --from {start:%Y-%m-%d} --to {end:%Y-%m-%d}")
    return [*lines, "mlops up"]


def _table(console: Any, title: str, names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(title=Text(title), title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    for mark, *cells in rows:
        first, *others = cells
        # Names and reasons quote the data, which must not be taken for markup.
        table.add_row(Text(mark + first), *map(Text, others))
    console.print(table)
