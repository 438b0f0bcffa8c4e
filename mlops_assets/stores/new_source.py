"""What a user names as a new model's source: a file, an address, a folder, a database, a query."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec.source import CsvSource, Source, is_web, mistakes

REMOTE = ("s3://",)
FILES = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv"}
# Single files of these endings are read as CSV files; a folder may hold other texts.
TEXTS = {".tsv": "csv", ".tab": "csv", ".txt": "csv"}
# What DuckDB reads by itself.
QUERIED = (".json", ".jsonl", ".ndjson")
# A text in a query that ends like a file.
FILE_IN_QUERY = re.compile(r"'([^'\n]+\.(?:parquet|pq|csv|tsv|txt|json|jsonl|ndjson|gz|zst))'")
# What an option of its own says of CSV files.
DESCRIBED = ("encoding", "delimiter", "decimal", "time_format")
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
# What servers call a table whose address has no ending.
TABLES = (
    "text/csv",
    "text/x-csv",
    "application/csv",
    "application/x-csv",
    "text/comma-separated-values",
    "text/tab-separated-values",
)


@dataclass(frozen=True)
class NewSource:
    """A source as a spec names it, as it can be read now, and the variable that it needs.

    `keys` go into the file; they hold no password. `source` is relative to no folder.
    """

    keys: dict[str, str]
    source: Source
    variable: str = ""


def new_source(
    text: str,
    *,
    table: str,
    model: str,
    folder: Path,
    csv: Mapping[str, str] | None = None,
    token_env: str = "",
) -> NewSource:
    """What `text` names: a path, a glob, s3://…, https://…, an SQLAlchemy URL, or a SELECT.

    `folder` is the model's folder, which need not exist yet: a path that the user gave relative
    to where they are is written relative to it, an absolute one as it is. `csv` holds further keys
    of CSV files: encoding, delimiter, time_format. A database's URL needs a `table`; the
    environment variable `token_env` holds a bearer token for an address. Raises SourceError where
    the kind cannot be told.
    """
    if token_env and not is_web(text):
        raise SourceError(f"--token-env goes with an https address, and {text!r} is none.")
    if text.lstrip().upper().startswith(("SELECT ", "SELECT\n", "WITH ", "FROM ")):
        query = text.strip()
        return _made(
            {"kind": "duckdb", "query": _with_files(query, folder.resolve())},
            {"query": _with_files(query, None)},
        )
    if "://" in text and not text.startswith(REMOTE) and not is_web(text):
        return _database(text, table, model)
    if table:
        raise SourceError(f"--table goes with a database's URL, but {text!r} is a path.")
    if is_web(text):
        return _on_the_web(text, csv, token_env)
    if text.startswith(REMOTE):
        kind = _kind(text, None)
        return _made({"kind": kind, "path": text, **_more(kind, csv)}, {})
    path = Path(text).expanduser()
    absolute = path if path.is_absolute() else Path.cwd() / path
    kind = _kind(text, absolute)
    named = absolute if path.is_absolute() else _relative(absolute, folder.resolve())
    keys = {"kind": kind, "path": named.as_posix(), **_more(kind, csv)}
    return _made(keys, {"path": str(absolute)})


def _on_the_web(address: str, csv: Mapping[str, str] | None, token_env: str) -> NewSource:
    """Of the kind that the address ends in, or else of that which the server sends."""
    file = CsvSource(kind="csv", path=address, token_env=token_env)
    for _, message in mistakes(file):
        raise SourceError(f"--from: {message}.")
    kind = {**FILES, **TEXTS}.get(_suffix(urlsplit(address).path)) or _sent(file, csv)
    token = {"token_env": token_env} if token_env else {}
    return _made({"kind": kind, "path": address, **token, **_more(kind, csv)}, {})


def _sent(file: CsvSource, csv: Mapping[str, str] | None) -> str:
    from mlops_assets.stores.sources.copies import copy_of
    from mlops_assets.stores.sources.web import WebFile

    address = file.path
    if _suffix(urlsplit(address).path) in QUERIED:
        raise SourceError(
            f"{address} is JSON by its ending; a query reads it: --from \"FROM '{address}'\""
        )
    copy = copy_of(WebFile(address, file.timeout, file.token_env))
    if copy.begins_with(b"PAR1"):
        return "parquet"
    if copy.type in TABLES or csv:
        return "csv"
    raise SourceError(
        f"{address} has no ending that tells its kind, and is sent as {copy.type or 'nothing'}: "
        "if it is CSV, say so with --delimiter ',', or name an address that ends in .csv or "
        ".parquet."
    )


def _suffix(path: str) -> str:
    name = Path(path).name
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return Path(name).suffix.lower()


def _more(kind: str, csv: Mapping[str, str] | None) -> dict[str, str]:
    if csv and kind != "csv":
        raise SourceError(f"{', '.join(csv)} describe CSV files, but the source is {kind}.")
    return dict(csv or {})


def _relative(path: Path, folder: Path) -> Path:
    """The path as seen from the folder, unless only the root of the disk is above both."""
    if Path(os.path.commonpath([path, folder])) == Path(path.anchor):
        return path
    return Path(os.path.relpath(path, folder))


def _with_files(query: str, folder: Path | None) -> str:
    """The query with the files that it names from here as seen from the folder, or absolute."""

    def named(found: re.Match[str]) -> str:
        path = Path.cwd() / found[1]
        if Path(found[1]).is_absolute() or not any(path.parent.glob(path.name)):
            return found[0]
        return f"'{(_relative(path, folder) if folder else path).as_posix()}'"

    return FILE_IN_QUERY.sub(named, query)


def _database(url: str, table: str, model: str) -> NewSource:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if not table:
        raise SourceError("a database's URL needs --table NAME, a table or a view.")
    try:
        secret = make_url(url).password is not None
    except (ArgumentError, ValueError):
        raise SourceError(
            "--from holds no SQLAlchemy URL (dialect+driver://user:password@host:port/name)."
        ) from None
    if not secret:
        return _made({"kind": "sql", "url": url, "table": table}, {})
    variable = f"{model.upper()}_DATABASE_URL"
    # The source names the variable, which this process has to set for itself.
    os.environ[variable] = url
    keys = {"kind": "sql", "url_env": variable, "table": table}
    return NewSource(keys, _made(keys, {}).source, variable)


def _kind(text: str, path: Path | None) -> str:
    if path is not None and path.is_dir():
        if (path / "_delta_log").is_dir():
            return "delta"
        kinds = {FILES.get(found.suffix) for found in path.rglob("*.*")} - {None}
        if len(kinds) == 1:
            return str(kinds.pop())
        raise SourceError(
            f"{text} holds {'Parquet and CSV files' if kinds else 'no Parquet or CSV files'}: "
            "name the files of one kind with a glob such as 'folder/*.parquet'."
        )
    kind = {**FILES, **TEXTS}.get(_suffix(text))
    if kind:
        if path is not None and not path.exists() and "*" not in text:
            raise SourceError(f"{text} is not there: {path} does not exist.")
        return kind
    if path is not None and path.exists():
        fix = "save it as .parquet or .csv, or name a folder of such files."
        if _suffix(text) in QUERIED:
            fix = f"a query reads it: --from \"FROM '{text}'\""
        raise SourceError(f"{text}: the ending tells no kind of source; {fix}")
    raise SourceError(
        f"--from {text!r} is no file or folder here, no s3://… or https://… address, no "
        "SQLAlchemy URL and no SELECT."
    )


def _made(keys: dict[str, str], changed: dict[str, str]) -> NewSource:
    adapter: TypeAdapter[Any] = TypeAdapter(Source)
    try:
        return NewSource(keys, adapter.validate_python({**keys, **changed}))
    except ValidationError as error:
        (first, *_) = error.errors()
        field = str(first["loc"][-1])
        if field in DESCRIBED:
            option = field.replace("_", "-")
            raise SourceError(f"--{option}: {first['msg']}, not {first['input']!r}.") from None
        raise SourceError(f"--from: {first['msg']}") from None
