"""What came from the web: its compression, by its first bytes, or why it is no table.

Endings and what servers say are often wrong, and a login page comes as any file does.
"""

import gzip
import re
import shutil
import zlib
from pathlib import Path

from mlops_assets.domain.errors import SourceError
from mlops_assets.stores.sources.web import PassingError

BLOCK = 1 << 20
COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"\x04\x22\x4d\x18": ".lz4"}
BZIP2 = re.compile(rb"BZh\d1AY&SY")
PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*<(!doctype|!--|\?xml|(html|head|body|title|meta|script|svg|rss)[\s>])",
    re.IGNORECASE,
)
ZIP = b"PK\x03\x04"
POINTER = b"version https://git-lfs.github.com/spec/"


def decode(part: Path, encoding: str, place: str) -> None:
    """Undo a compression of the transfer, which was not asked for.

    Raises SourceError for one that is not known, PassingError for one that is broken.
    """
    if encoding.lower() in ("", "identity"):
        return
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise SourceError(f"{place} comes with the content encoding {encoding!r}: use gzip.")
    decoded = part.with_suffix(".decoded")
    try:
        with gzip.open(part) as source, decoded.open("wb") as target:
            shutil.copyfileobj(source, target, BLOCK)
        decoded.replace(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PassingError(f"{place} comes with broken gzip: {error}.") from error
    finally:
        decoded.unlink(missing_ok=True)


def ending(part: Path, kind: str, place: str) -> str:
    """The ending that tells a reader the compression of what the server calls `kind`.

    Raises SourceError, naming the `place`, for what is no table.
    """
    with part.open("rb") as file:
        start = file.read(512)
    if PAGE.match(start) or (kind == "text/html" and start.lstrip().startswith(b"<")):
        raise _no_table(
            place,
            kind,
            "a web page, or another document with markup",
            "a source is the address of one file, which a browser would download (on GitHub: "
            "Raw); a page that lists files cannot be read",
        )
    if start.startswith(ZIP):
        fix = "put the table itself there, as CSV or Parquet"
        raise _no_table(place, kind, "a ZIP archive or a spreadsheet", fix)
    if start.startswith(POINTER):
        fix = "name the address of the file that it points to"
        raise _no_table(place, kind, "a pointer of Git LFS", fix)
    if BZIP2.match(start):
        return ".bz2"
    return next((end for mark, end in COMPRESSED.items() if start.startswith(mark)), "")


def _no_table(place: str, kind: str, what: str, fix: str) -> SourceError:
    sent = f" (sent as {kind})" if kind else ""
    return SourceError(f"at {place} is {what}{sent}, not a table: {fix}.")
