"""Longer and longer histories of flights: the year 2013 again and again, each time a year earlier.

A year is 52 weeks, so that every copy has the same weeks. Copy 0 is 2013 itself; the last one is
the oldest. One Parquet file per copy, in row groups of about a month.
"""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from mlops_assets.spec import Model, ModelSpec

PACKAGE = Path(__file__).parents[2] / "mlops_assets"
FLIGHTS = PACKAGE / "data" / "flights_2013.parquet"
SPEC = PACKAGE / "defs" / "flight_delay" / "defs.yaml"
MODEL = "flight_delay"
YEAR = timedelta(weeks=52)
FIRST, STOP = date(2012, 12, 31), date(2013, 12, 30)
# Eight weeks to train on, two to choose by, two to judge by.
CYCLE_WEEKS = 12
# More than a year has.
IDS = 1_000_000
TIMES = ("scheduled_departure", "arrived_at")


def write(folder: Path, copies: int) -> None:
    """Write the files that a history of so many copies needs, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [copy for copy in range(copies) if not _path(folder, copy).exists()]
    rows = _year() if missing else None
    for copy in missing:
        part = _path(folder, copy).with_suffix(".part")
        pq.write_table(_moved(rows, copy), part, row_group_size=30_000)
        part.replace(_path(folder, copy))


def files(folder: Path, copies: int) -> list[Path]:
    """The files of a history, oldest first."""
    return [_path(folder, copy) for copy in reversed(range(copies))]


def first_period(copies: int) -> date:
    """The Monday on which a history of so many copies begins."""
    return FIRST - (copies - 1) * YEAR


def write_model(folder: Path, source: Path, copies: int) -> None:
    """The shipped spec, over another history."""
    content: dict[str, Any] = yaml.safe_load(SPEC.read_text())
    attributes = content["attributes"]
    attributes["source"] = {"kind": "parquet", "path": str(source)}
    attributes["period"] = {"every": "weekly", "start": first_period(copies), "end": STOP}
    (folder / MODEL).mkdir(parents=True)
    (folder / MODEL / "defs.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def read_model(folder: Path) -> Model:
    """The model whose spec `write_model` wrote."""
    content = yaml.safe_load((folder / MODEL / "defs.yaml").read_text())
    return Model(MODEL, ModelSpec.model_validate(content["attributes"]), folder / MODEL)


def _path(folder: Path, copy: int) -> Path:
    return folder / f"{999 - copy:03}.parquet"


def _year() -> pa.Table:
    """52 whole weeks; one row in a thousand breaks the contract."""
    rows = pq.read_table(FLIGHTS).replace_schema_metadata(None)
    start, stop = (datetime.combine(day, time(), UTC) for day in (FIRST, STOP))
    at = pc.field("scheduled_departure")
    rows = rows.filter((at >= start) & (at < stop))
    place = rows.schema.get_field_index("distance")
    bad = pc.equal(pc.bit_wise_and(rows["flight_id"], 1023), 0)
    spoilt = pc.if_else(bad, pa.scalar(-1, pa.int32()), rows["distance"])
    return rows.set_column(place, rows.schema.field("distance"), spoilt)


def _moved(rows: pa.Table, copy: int) -> pa.Table:
    """The year, so many years earlier, with ids of its own. The days of the week stay."""
    for name in TIMES:
        place = rows.schema.get_field_index(name)
        earlier = pc.subtract(rows[name], pa.scalar(copy * YEAR, pa.duration("ms")))
        rows = rows.set_column(place, rows.schema.field(name), earlier)
    place = rows.schema.get_field_index("flight_id")
    ids = pc.add(rows["flight_id"], pa.scalar(copy * IDS, pa.int32()))
    return rows.set_column(place, rows.schema.field("flight_id"), ids)
