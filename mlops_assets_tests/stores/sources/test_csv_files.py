import gzip
from csv import QUOTE_MINIMAL
from csv import writer as csv_writer
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec.source import CsvSource
from mlops_assets.stores.sources import newest, read
from mlops_assets_tests.stores.sources.samples import DAY, HOUR


def write(folder: Path, text: str | bytes, name: str = "rows.csv", **options: object) -> CsvSource:
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    return CsvSource(kind="csv", path=name, **options)


def ask(source: CsvSource, folder: Path, *columns: str) -> pa.Table:
    names = ("at", *columns)
    return read(
        source, folder, columns=names, event_time="at", start=DAY, end=DAY + timedelta(days=9)
    )


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("2024-01-01T10:00:00", {}, 10 * HOUR),
        ("2024-01-01 10:00:00.5", {}, 10 * HOUR + timedelta(seconds=0.5)),
        ("2024-01-01T10:00:00Z", {}, 10 * HOUR),
        ("2024-01-01T10:00:00+02:00", {}, 8 * HOUR),
        ("2024-01-02", {}, 24 * HOUR),
        ("02/01/2024 10:00", {"time_format": "%d/%m/%Y %H:%M"}, 34 * HOUR),
        ("2024", {"time_format": "%Y"}, timedelta(0)),
        ("20240102", {"time_format": "%Y%m%d"}, 24 * HOUR),
        ("02/01/2024 10:00 -0100", {"time_format": "%d/%m/%Y %H:%M %z"}, 35 * HOUR),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(
    text: str, options: dict[str, str], expected: timedelta, tmp_path: Path
):
    source = write(tmp_path, f"at\n{text}\n", **options)
    assert ask(source, tmp_path)["at"].to_pylist() == [DAY + expected]
    assert newest(source, tmp_path, event_time="at", until=DAY + 99 * HOUR) == DAY + expected


def test_a_time_that_is_none_is_told_with_what_to_do(tmp_path: Path):
    source = write(tmp_path, "at\nyesterday\n")
    with pytest.raises(SourceError, match=r"'at' holds string, not a timestamp.*time_format"):
        ask(source, tmp_path)


def test_stated_types_are_kept(tmp_path: Path):
    types = {"zip": "text", "n": "number", "ok": "boolean", "i": "integer"}
    text = "at,zip,n,ok,i\n2024-01-01,007,1,1,\n2024-01-02,,,,2\n"
    found = ask(write(tmp_path, text, types=types), tmp_path, "zip", "n", "ok", "i")
    assert found.drop_columns("at").to_pylist() == [
        {"zip": "007", "n": 1.0, "ok": True, "i": None},
        {"zip": None, "n": None, "ok": None, "i": 2},
    ]


def test_a_decimal_comma_is_read_where_it_is_stated(tmp_path: Path):
    source = write(tmp_path, "at;n\n2024-01-01;1,5\n2024-01-02;-2\n", delimiter=";", decimal=",")
    assert ask(source, tmp_path, "n")["n"].to_pylist() == [1.5, -2.0]


def test_a_row_of_another_type_is_named_with_file_and_column(tmp_path: Path):
    text = "skipped,at,n\n" + "x,2024-01-01,1\n" * 3 + "x,2024-01-01,many\n"
    source = write(tmp_path, text, types={"n": "integer"})
    words = r"rows\.csv cannot be read as csv: column 'n': Row #5: .*'many'.*source\.types"
    with pytest.raises(SourceError, match=words):
        ask(source, tmp_path, "n")


def test_a_row_with_too_few_fields_is_named(tmp_path: Path):
    source = write(tmp_path, "at,n\n2024-01-01,1\n2024-01-01\n")
    with pytest.raises(SourceError, match=r"Row #3: Expected 2 columns, got 1.*source\.delimiter"):
        ask(source, tmp_path, "n")


@pytest.mark.parametrize("lines", [0, 1, 5000])
def test_what_is_not_utf_8_is_named_with_line_and_byte(lines: int, tmp_path: Path):
    good = "2024-01-01,Zürich\n" * lines
    content = f"at,city\n{good}2024-01-01,".encode() + "Zürich\n".encode("cp1252")
    source = write(tmp_path, content)
    place = len(f"at,city\n{good}2024-01-01,Z".encode()) + 1
    words = rf"rows\.csv is not utf-8: line {lines + 2}, byte {place} of the file is 0xfc"
    with pytest.raises(SourceError, match=words):
        ask(source, tmp_path, "city")
    latin = write(tmp_path, content.replace("ü".encode(), b"\xfc"), encoding="cp1252")
    assert set(ask(latin, tmp_path, "city")["city"].to_pylist()) == {"Zürich"}


def test_a_header_that_is_not_utf_8_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match=r"is not utf-8: line 1, byte 1 of the file is 0xff"):
        ask(write(tmp_path, "at,n\n2024-01-01,1\n".encode("utf-16")), tmp_path, "n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_at_the_beginning_are_no_part_of_a_name(encoding: str, tmp_path: Path):
    content = "at,n\n2024-01-01,1\n".encode(encoding)
    source = write(tmp_path, content, encoding="utf-8" if "sig" in encoding else encoding)
    assert ask(source, tmp_path, "n")["n"].to_pylist() == [1]


def test_a_compressed_folder_with_another_delimiter_is_read(tmp_path: Path):
    (tmp_path / "days").mkdir()
    for day in (1, 2):
        text = f"n;at\n{day};2024-01-0{day}\n"
        (tmp_path / "days" / f"{day}.csv.gz").write_bytes(gzip.compress(text.encode()))
    source = CsvSource(kind="csv", path="days", delimiter=";")
    assert ask(source, tmp_path, "n")["n"].to_pylist() == [1, 2]


def test_a_quoted_line_break_is_part_of_the_text(tmp_path: Path):
    source = write(tmp_path, 'at,"a\nb"\n2024-01-01,"x\ny"\n')
    assert ask(source, tmp_path, "a\nb")["a\nb"].to_pylist() == ["x\ny"]


@pytest.mark.parametrize(
    ("text", "words"), [("", "is empty"), ("at,n,n\n", "names the column 'n' twice")]
)
def test_a_header_names_each_column_once(text: str, words: str, tmp_path: Path):
    with pytest.raises(SourceError, match=words):
        ask(write(tmp_path, text), tmp_path, "n")


def test_empty_fields_at_the_end_of_each_line_are_no_harm(tmp_path: Path):
    source = write(tmp_path, "at,n,,\n2024-01-01,3,,\n")
    assert ask(source, tmp_path, "n")["n"].to_pylist() == [3]


def test_a_header_alone_has_no_rows(tmp_path: Path):
    source = write(tmp_path, "at,n\n")
    assert ask(source, tmp_path, "n").num_rows == 0
    assert newest(source, tmp_path, event_time="at", until=DAY) is None


def test_files_that_disagree_within_a_period_are_both_named(tmp_path: Path):
    (tmp_path / "days").mkdir()
    write(tmp_path, "at,n\n2024-01-01,1\n", "days/1.csv")
    write(tmp_path, "at,n\n2024-01-01,many\n", "days/2.csv")
    source = CsvSource(kind="csv", path="days/*.csv")
    with pytest.raises(SourceError, match=r"'n' is int64 in .*1\.csv and string in .*2\.csv"):
        ask(source, tmp_path, "n")
    stated = source.model_copy(update={"types": {"n": "text"}})
    assert ask(stated, tmp_path, "n")["n"].to_pylist() == ["1", "many"]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(values=st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=20))
def test_any_text_that_python_writes_is_read_back(values: list[str | None]):
    with TemporaryDirectory() as name:
        with (Path(name) / "rows.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv_writer(file, quoting=QUOTE_MINIMAL)
            writer.writerows([("at", "text"), *(("2024-01-01", value) for value in values)])
        source = CsvSource(kind="csv", path="rows.csv", types={"text": "text"})
        found = ask(source, Path(name), "text")["text"].to_pylist()
    order = sorted(values, key=lambda value: (value is None, (value or "").encode()))
    assert found == order
