"""Files on the web, from a real server that tells versions, changes, breaks off and is slow."""

import bz2
import gzip
import json
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import CsvSource, ParquetSource, Source
from mlops_assets.stores.sources import column_names, copies, newest, timeless
from mlops_assets.stores.sources.copies import Copy, copy_of
from mlops_assets.stores.sources.web import WebFile
from mlops_assets_tests.site import Handler, Site, says
from mlops_assets_tests.stores.sources.samples import (
    COLUMNS,
    DAY,
    HOUR,
    csv,
    csv_text,
    parquet,
    rows,
)
from mlops_assets_tests.waiting import PATIENCE

# As long as a server may be silent while the machine that tests stands still.
PATIENT = timedelta(seconds=PATIENCE)


@pytest.fixture
def ask_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every reading were in a process of its own."""
    monkeypatch.setattr(copies, "CURRENT_SECONDS", -1)
    monkeypatch.setattr(copies, "CURRENT_SECONDS_UNTOLD", -1)
    monkeypatch.setattr(copies, "CURRENT_PER_DOWNLOAD", -1)


def held(address: str) -> Copy:
    return copy_of(WebFile(address, PATIENT))


def content(address: str, timeout: timedelta = PATIENT) -> bytes:
    return copy_of(WebFile(address, timeout)).path.read_bytes()


def from_csv(text: bytes) -> Callable[[Path], tuple[Source, bytes]]:
    return lambda folder: (csv(folder), text)


def from_parquet(folder: Path) -> tuple[Source, bytes]:
    return parquet(folder), (folder / "rows.parquet").read_bytes()


KINDS: dict[str, Callable[[Path], tuple[Source, bytes]]] = {
    "rows.csv": from_csv(csv_text().encode()),
    "rows.csv.gz": from_csv(gzip.compress(csv_text().encode())),
    "rows.csv.bz2": from_csv(bz2.compress(csv_text().encode())),
    "export": from_csv(gzip.compress(csv_text().encode())),
    "rows.csv?version=3": from_csv(csv_text().encode()),
    "rows.parquet": from_parquet,
    "übung 1/rows.parquet": from_parquet,
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_on_the_web_is_read_as_on_disk(name: str, site: Site, tmp_path: Path):
    local, body = KINDS[name](tmp_path)
    path = name.partition("?")[0]
    (site.folder / path).parent.mkdir(exist_ok=True)
    site.write(path, body)
    remote = local.model_copy(update={"path": f"{site.url}/{name}"})
    assert rows(remote, tmp_path).equals(rows(local, tmp_path))
    assert column_names(remote, tmp_path) == COLUMNS
    assert newest(remote, tmp_path, event_time="at", until=DAY + 24 * HOUR) == DAY + 3 * HOUR
    assert timeless(remote, tmp_path, event_time="at") == 0
    assert site.downloads == 1


@pytest.mark.parametrize("etags", [True, False], ids=["ETag", "Last-Modified"])
def test_a_file_is_downloaded_once_per_version(etags: bool, site: Site, ask_always: None):
    site.etags = etags
    address = site.write("rows.csv", "a\n1\n")
    for _ in range(5):
        assert content(address) == b"a\n1\n"
    assert site.downloads == 1
    site.write("rows.csv", "a\n2\n")
    for _ in range(5):
        assert content(address) == b"a\n2\n"
    assert site.downloads == 2


def test_a_process_asks_once_for_what_it_reads_at_once(site: Site):
    address = site.write("rows.csv", "a\n1\n")
    assert [content(address) for _ in range(3)] == [b"a\n1\n"] * 3
    assert [status for _, status in site.seen] == [200, 304], "and whether it changed meanwhile"
    copies._current.clear()  # another process
    assert [content(address) for _ in range(3)] == [b"a\n1\n"] * 3
    assert [status for _, status in site.seen] == [200, 304, 304]


@pytest.mark.parametrize("lasting", ["CURRENT_SECONDS_UNTOLD", "CURRENT_PER_DOWNLOAD"])
def test_where_no_versions_are_told_a_process_downloads_once_for_long(
    lasting: str, site: Site, ask_always: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copies, lasting, 10**9)
    site.tells = False
    address = site.write("rows.csv", "a\n1\n")
    assert [content(address) for _ in range(3)] == [b"a\n1\n"] * 3
    assert len(site.seen) == 1
    site.write("rows.csv", "a\n2\n")
    copies._current.clear()  # another process
    assert content(address) == b"a\n2\n"


def test_a_server_that_looks_at_no_condition_is_believed_by_its_headers(
    site: Site, ask_always: None
):
    answer = says(200, b"a\n1\n", ETag='"1"')
    address = site.trick("rows.csv", answer, answer, answer, says(200, b"a\n2\n", ETag='"2"'))
    assert content(address) == b"a\n1\n"
    first = held(address).path
    site.trick("rows.csv", says(304))
    assert content(address) == b"a\n2\n"
    assert first.exists()


def test_a_date_of_this_very_second_tells_no_version(site: Site, ask_always: None):
    path = site.folder / "rows.csv"
    path.write_text("a\n1\n")
    assert content(f"{site.url}/rows.csv") == b"a\n1\n"
    path.write_text("a\n2\n")
    assert content(f"{site.url}/rows.csv") == b"a\n2\n"


def test_a_file_that_changes_while_it_is_downloaded_is_downloaded_again(site: Site):
    def changing(handler: Handler) -> None:
        handler.answer(200, b"a\n1\n", ETag='"old"')
        site.write("rows.csv", "a\n2\n")

    site.etags = True
    assert content(site.trick("rows.csv", changing)) == b"a\n2\n"
    names = {path.name for path in (held(f"{site.url}/rows.csv").path.parent).iterdir()}
    assert len(names - {"lock", "copy.json"}) == 1


def test_a_file_that_never_stays_the_same_is_away(site: Site):
    answers = [says(200, b"a\n", ETag=f'"{number}"') for number in range(6)]
    with pytest.raises(SourceAwayError, match=r"changes while it is downloaded.*Tried 3 times"):
        content(site.trick("rows.csv", *answers))


def test_readers_of_the_copy_before_may_end_and_older_ones_are_removed(
    site: Site, ask_always: None
):
    found = []
    for number in range(4):
        address = site.write("rows.csv", f"a\n{number}\n")
        found.append(held(address).path)
    assert [path.exists() for path in found] == [False, False, True, True]


def test_what_a_killed_download_left_is_removed_and_a_damaged_copy_replaced(
    site: Site, ask_always: None
):
    address = site.write("rows.csv", "a\n1\n")
    copy = held(address)
    part = copy.path.parent / ".dead.part"
    part.write_bytes(b"half")
    copy.path.write_bytes(b"a\n")
    assert content(address) == b"a\n1\n"
    assert not part.exists()
    assert site.downloads == 2


def test_copies_of_models_that_are_gone_are_removed(site: Site, ask_always: None):
    old = held(site.write("old.csv", "a\n1\n")).path
    os.utime(old.parent / "copy.json", (0, 0))
    nothing = old.parent.with_name("nothing")
    nothing.mkdir()
    os.utime(nothing, (0, 0))
    held(site.write("new.csv", "a\n1\n"))
    assert not old.exists()
    assert not nothing.exists()


def broken_off(handler: Handler) -> None:
    handler.answer(200, b"a\n1\n", Content_Length="999")


def chunk_broken_off(handler: Handler) -> None:
    handler.answer(200, b"999\r\na\n1\n", Content_Length="", Transfer_Encoding="chunked")


def closed(handler: Handler) -> None:
    handler.close_connection = True


PASSING: dict[str, tuple[Callable[[Handler], None], str]] = {
    "body": (broken_off, "ends after 4 of 999 bytes"),
    "chunk": (chunk_broken_off, "IncompleteRead"),
    "no answer": (closed, "RemoteDisconnected"),
    "busy": (says(503, Retry_After="0"), "answers with 503"),
    "asked too often": (says(429), "answers with 429"),
    "gzip": (says(200, gzip.compress(b"a" * 99)[:-9], Content_Encoding="gzip"), "broken gzip"),
}


@pytest.mark.parametrize("what", PASSING)
def test_what_passes_is_tried_three_times(what: str, site: Site):
    trick, words = PASSING[what]
    site.write("rows.csv", "a\n1\n")
    address = site.trick("rows.csv", trick, trick)
    assert content(address) == b"a\n1\n"
    copies._current.clear()
    held(address).path.unlink()
    copies._current.clear()
    site.trick("rows.csv", trick, trick, trick)
    with pytest.raises(SourceAwayError, match=words) as found:
        content(address)
    assert "Tried 3 times" in str(found.value)
    assert address in str(found.value)


def test_a_pause_that_the_server_asks_for_is_kept_within_limits(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copies, "LONGEST_PAUSE", 0.02)
    site.write("rows.csv", "a\n1\n")
    for told in ("99999999", "nan", "-1", "Fri, 31 Dec 2100 23:59:59 GMT"):
        copies._current.clear()
        site.write("rows.csv", f"{told}\n")
        address = site.trick("rows.csv", says(503, Retry_After=told))
        assert content(address) == f"{told}\n".encode()


def test_a_failure_leaves_the_copy_that_was_there(site: Site, ask_always: None):
    address = site.write("rows.csv", "a\n1\n")
    before = held(address)
    site.trick("rows.csv", *[broken_off] * 3)
    with pytest.raises(SourceAwayError):
        content(address)
    assert before.path.read_bytes() == b"a\n1\n"
    assert held(address).path == before.path


AWAY = {404: "is not there", 410: "is not there"}
REFUSED = {401: "wants a login", 403: "wants a login", 418: "correct source.path", 204: "no file"}


@pytest.mark.parametrize("status", [*AWAY, *REFUSED])
def test_what_a_server_refuses_is_asked_for_once(status: int, site: Site):
    address = site.trick("rows.csv", says(status))
    with pytest.raises(SourceError, match={**AWAY, **REFUSED}[status]) as found:
        content(address)
    assert isinstance(found.value, SourceAwayError) == (status in AWAY)
    assert str(status) in str(found.value)
    assert len(site.seen) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_other_addresses_are_followed(code: int, site: Site):
    target = site.write("real.csv", "a\n1\n")
    leads = says(code, Location=target)
    assert content(site.trick("rows.csv", leads, leads)) == b"a\n1\n"


def test_a_circle_and_other_kinds_of_addresses_are_not_followed(site: Site, tmp_path: Path):
    (tmp_path / "secret").write_text("s3cret")
    circle = [says(302, Location="/rows.csv")] * 20
    with pytest.raises(SourceError, match="leads on in a circle"):
        content(site.trick("rows.csv", *circle))
    for target in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/x", "data:text/csv,a"):
        with pytest.raises(SourceError, match="leads on"):
            content(site.trick("x.csv", says(302, Location=target)))


def silent(handler: Handler) -> None:
    handler.site.closing.wait(20)


def half(handler: Handler) -> None:
    handler.answer(200, b"a\n1\n", Content_Length="999")
    handler.wfile.flush()
    handler.site.closing.wait(20)


def trickling(handler: Handler) -> None:
    handler.answer(200, b"a", Content_Length="99999")
    while not handler.site.closing.wait(0.05):
        try:
            handler.wfile.write(b"a")
        except OSError:
            return


@pytest.mark.parametrize(
    ("trick", "seconds", "words"),
    [
        (silent, 0.3, r"does not answer within 0\.3 s"),
        (half, 0.3, r"does not answer within 0\.3 s"),
        (trickling, 3, "is too slow"),
    ],
)
def test_a_slow_server_is_away(
    trick: Callable[[Handler], None], seconds: float, words: str, site: Site
):
    with pytest.raises(SourceAwayError, match=words):
        content(site.trick("rows.csv", trick), timedelta(seconds=seconds))
    site.closing.set()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:1/rows.csv", "nothing listens at http://127"),
        ("http://nobody.invalid/rows.csv", "is not known"),
    ],
)
def test_a_host_that_is_not_there_is_away(address: str, words: str, site: Site):
    with pytest.raises(SourceAwayError, match=words):
        content(address)


def test_a_file_that_is_too_large_for_the_disk_is_refused_at_once(site: Site):
    address = site.trick("rows.csv", says(200, b"a", Content_Length=str(10**17)))
    with pytest.raises(SourceError, match=r"no space for a copy of 100,000,000,000\.0 MB"):
        content(address)
    assert list((Path(site.folder).parent / "home").rglob("*.part")) == []


def test_a_disk_that_is_full_is_named_and_nothing_is_left(site: Site, tmp_path: Path):
    """The limit of a process stands for the end of the disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    address = site.write("rows.csv", b"x" * 3_000_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(SourceError, match=rf"has no space for a copy of {address}"):
            content(address)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in (tmp_path / "home" / "downloads").glob("*/*")] == ["lock"]


def test_a_home_that_cannot_hold_copies_is_named(site: Site, tmp_path: Path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(SourceError, match=r"can be kept in .*home/downloads.*MLOPS_HOME"):
        content(site.write("rows.csv", "a\n"))


def test_readers_at_the_same_time_share_a_download(
    site: Site, ask_always: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copies, "TOLD_EVERY", 0.01)
    go = threading.Event()

    def slowly(handler: Handler) -> None:
        go.wait(20)
        handler.answer(200, b"a\n1\n", ETag='"1"')

    site.etags = True
    site.write("rows.csv", "a\n1\n")
    address = site.trick("rows.csv", slowly, *[says(304)] * 9)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(content, address) for _ in range(4)]
        while "waiting for another process" not in caplog.text:
            threading.Event().wait(0.01)
        go.set()
        assert {one.result() for one in found} == {b"a\n1\n"}
    assert site.downloads == 1


def test_errors_of_a_table_name_its_address(site: Site, tmp_path: Path):
    address = site.write("rows.csv", b"at,size\n2024-01-01,\xff\n")
    source = CsvSource(kind="csv", path=address)
    with pytest.raises(SourceError, match=rf"{address} is not utf-8: line 2"):
        newest(source, tmp_path, event_time="at", until=DAY)
    site.write("twice.csv", "at,at\n")
    source = CsvSource(kind="csv", path=f"{site.url}/twice.csv")
    with pytest.raises(SourceError, match=rf"{site.url}/twice\.csv names the column 'at' twice"):
        column_names(source, tmp_path)
    address = site.write("rows.parquet", "at\n")
    with pytest.raises(SourceError, match=rf"'{address}' cannot be read as parquet"):
        column_names(ParquetSource(kind="parquet", path=address), tmp_path)


def test_the_note_of_a_copy_holds_no_address(site: Site):
    copy = held(site.write("rows.csv", "a\n1\n"))
    note = json.loads((copy.path.parent / "copy.json").read_text())
    assert set(note) == {"path", "version", "type", "took", "bytes"}
    assert note["type"] == "text/csv"


def test_a_long_download_tells_how_far_it_has_come(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(copies, "TOLD_EVERY", -1)
    address = site.write("rows.csv", b"x" * 3_000_000)
    content(address)
    assert caplog.messages[-1] == f"{address}: 3.0 MB of 3.0 MB received"
    site.write("rows.csv", b"x" * 2_000_000)
    copies._current.clear()
    content(address)
    assert caplog.messages[-1] == f"{address}: downloaded again, 2.0 MB"
