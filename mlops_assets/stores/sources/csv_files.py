"""Rows from CSV files, read as a stream: memory holds the rows of the stretch and one block."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec.source import CsvSource
from mlops_assets.stores.sources.parts import FilePart, joined
from mlops_assets.stores.sources.places import Files, find, reading
from mlops_assets.stores.sources.reader import require
from mlops_assets.stores.sources.times import in_utc, latest, within

# A column gets the type of what this many bytes hold.
BLOCK_BYTES = 64 * 1024 * 1024
TYPES = {
    "text": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
}
COLUMN = re.compile(r"In CSV column #(\d+): ")
ENCODING = "state source.encoding (`mlops new --encoding`), such as cp1252 or utf-16"
# A format without separators, whose times Arrow would take for whole numbers.
DIGITS = re.compile(r"(%[YmdHMSjy])+")


@dataclass(frozen=True)
class CsvFiles:
    """The files of a source, each with a header of its own."""

    source: CsvSource
    folder: Path

    @cached_property
    def _files(self) -> Files:
        return find(self.source, self.folder)

    def column_names(self) -> tuple[str, ...]:
        """The columns of the last file."""
        return self._header(self._files.paths[-1])

    def head(self, rows: int) -> list[list[str]]:
        """The header and the first rows of the last file, as the text that stands there."""
        path = self._files.paths[-1]
        with self._clear(path, ()), self._lines(path) as lines:
            found = csv.reader(lines, delimiter=self.source.delimiter)
            return list(islice(found, rows + 1)) or [[]]

    def read(
        self, columns: Sequence[str], event_time: str, start: datetime, end: datetime
    ) -> pa.Table:
        """Rows of the stretch."""
        parts = (self._part(path, columns, event_time, start, end) for path in self._files.paths)
        return joined(parts, columns, event_time, self.source.path)

    def timeless(self, event_time: str) -> int | None:
        """Empty fields of all files."""
        missing = 0
        for path in self._files.paths:
            with self._clear(path, self._header(path)), self._open(path) as stream:
                options = self._options([event_time], event_time)
                batches = pyarrow.csv.open_csv(stream, **options)
                missing += sum(batch.column(0).null_count for batch in batches)
        return missing

    def newest(self, event_time: str, until: datetime) -> datetime | None:
        """From the event times of all rows."""
        found: list[datetime] = []
        for path in self._files.paths:
            rows = self._part(path, [event_time], event_time, None, until).rows
            top = latest(in_utc(rows, event_time)[event_time])
            found += [] if top is None else [top]
        return max(found, default=None)

    def _part(
        self,
        path: str,
        columns: Sequence[str],
        event_time: str,
        start: datetime | None,
        end: datetime,
    ) -> FilePart:
        names = self._header(path)
        require([event_time], names, self._files.name(path))
        known = [name for name in columns if name in names]
        with self._clear(path, names), self._open(path) as stream:
            batches = pyarrow.csv.open_csv(stream, **self._options(known, event_time))
            schema = batches.schema
            if any(pa.types.is_binary(kind) for kind in schema.types):
                raise pa.ArrowInvalid("invalid UTF8 data")
            if pa.types.is_null(schema.field(event_time).type):  # a header alone
                empty = schema.set(
                    schema.get_field_index(event_time), pa.field(event_time, pa.timestamp("us"))
                )
                return FilePart(path, names, empty.empty_table())
            wanted = within(schema, event_time, start, end)
            rows = [pa.Table.from_batches([batch]).filter(wanted) for batch in batches]
        return FilePart(path, names, pa.concat_tables([schema.empty_table(), *rows]))

    def _options(self, columns: Sequence[str], event_time: str) -> dict[str, Any]:
        """Empty fields are missing, in text too; the text "NA" is a value like any other."""
        source = self.source
        types = {name: TYPES[kind] for name, kind in source.types.items() if name in columns}
        if DIGITS.fullmatch(source.time_format):
            types[event_time] = pa.timestamp("us")
        times = [pyarrow.csv.ISO8601, *([source.time_format] if source.time_format else [])]
        return {
            "read_options": pyarrow.csv.ReadOptions(
                block_size=BLOCK_BYTES, encoding=source.encoding, use_threads=False
            ),
            "parse_options": pyarrow.csv.ParseOptions(
                delimiter=source.delimiter, newlines_in_values=True
            ),
            "convert_options": pyarrow.csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=[""],
                column_types=types,
                include_columns=list(columns),
                timestamp_parsers=times,
                decimal_point=source.decimal,
            ),
        }

    def _open(self, path: str) -> Any:
        return self._files.system.open_input_stream(path, compression="detect")

    def _lines(self, path: str) -> io.TextIOWrapper:
        stream = io.BufferedReader(self._open(path))
        return io.TextIOWrapper(stream, encoding=self._text, newline="")

    def _header(self, path: str) -> tuple[str, ...]:
        with self._clear(path, ()), self._lines(path) as lines:
            names = tuple(next(csv.reader(lines, delimiter=self.source.delimiter), ()))
        # Spreadsheets end each line with the empty fields of columns that were once there.
        double = sorted({name for name in names if name and names.count(name) > 1})
        if not names or double:
            raise SourceError(
                f"{self._files.name(path)} "
                + (f"names the column {double[0]!r} twice" if double else "is empty")
                + ": a CSV file begins with a line that names each column once."
            )
        return names

    @property
    def _text(self) -> str:
        """The encoding, past the mark with which some programs begin a file."""
        try:
            name = codecs.lookup(self.source.encoding).name
        except LookupError:
            raise SourceError(
                f"there is no encoding {self.source.encoding!r}: {ENCODING}."
            ) from None
        return "utf-8-sig" if name == "utf-8" else name

    @contextmanager
    def _clear(self, path: str, names: Sequence[str]) -> Iterator[None]:
        """Errors that name file, row, column and byte."""
        try:
            with reading(self.source.path, "csv"):
                try:
                    yield
                except pa.ArrowInvalid as error:
                    if "UTF8" in str(error):
                        raise self._badly_encoded(path) from error
                    raise SourceError(self._bad_row(path, names, str(error))) from error
        except UnicodeError as error:
            raise self._badly_encoded(path) from error

    def _bad_row(self, path: str, names: Sequence[str], error: str) -> str:
        place = COLUMN.search(error)
        column = names[int(place[1])] if place and int(place[1]) < len(names) else ""
        text = COLUMN.sub(f"column {column!r}: " if column else "", error)
        fix = (
            f"correct the row, or state what {column!r} holds under source.types"
            if column
            else "correct the row, or source.delimiter"
        )
        return (
            f"{self._files.name(path)} cannot be read as csv: {text}. The types are those of the "
            f"first rows: {fix}."
        )

    def _badly_encoded(self, path: str) -> SourceError:
        """Where the first byte stands that is not of the encoding."""
        what = f"{self._files.name(path)} is not {self.source.encoding}"
        decoder = codecs.getincrementaldecoder(self._text)()
        before = lines = 0
        with self._open(path) as stream:
            while block := stream.read(1 << 20):
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    place = max(error.start - pending, 0)
                    lines += block[:place].count(b"\n")
                    return SourceError(
                        f"{what}: line {lines + 1}, byte "
                        f"{before + place + 1} of the file is 0x{block[place]:02x}. Save it as "
                        f"UTF-8, or {ENCODING}."
                    )
                before += len(block)
                lines += block.count(b"\n")
        return SourceError(
            f"{what}: it ends in the middle of a character. Save it as UTF-8, or {ENCODING}."
        )
