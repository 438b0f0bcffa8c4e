"""What a model's `defs.yaml` may say about where its rows come from.

Credentials have no place here: S3's come from the usual AWS variables of the environment, a
database's URL from the variable that `url_env` names.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field

from mlops_assets.spec.part import Duration, Part

TextType = Literal["text", "number", "integer", "boolean"]
CREDENTIALS = re.compile(r"\w+://[^/\s:@'\"]*:[^/\s@'\"]+@")
SECRET_NAMES = re.compile(
    r"passw|secret|token|access_?key|api_?key|signature|credential|^sig$|^auth(orization)?$",
    re.IGNORECASE,
)
S3 = "s3://"
WEB = ("http://", "https://")
ADDRESS = re.compile(r"https?://[^\s'\"]+", re.IGNORECASE)
LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
BUCKETS = (
    "S3 is reached with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, "
    "AWS_ENDPOINT_URL (other servers than Amazon's) and AWS_SKIP_SIGNATURE=true (public buckets)."
)
FILES = (
    "File or folder, relative to the defs.yaml's folder, with * and ** for several, or "
    "s3://bucket/key, or the http(s) address of one file, which is downloaded once per version. "
    f"{BUCKETS}"
)


class _Anywhere(Part):
    """What all kinds of sources have in common."""

    timeout: Duration = Field(
        default=timedelta(seconds=60),
        gt=timedelta(0),
        description="How long the source may take to answer: one request to S3, each wait for "
        "more of a file on the web, one statement of a database, one query of DuckDB. A file on "
        "disk and a function have no limit.",
    )


class _Files(_Anywhere):
    """Files of one kind."""

    path: str = Field(description=FILES)
    token_env: str = Field(
        default="",
        description="Environment variable that holds a bearer token for an https address.",
    )


class ParquetSource(_Files):
    """Rows from one Parquet file, here or on the web, or from all files of a folder or a glob."""

    kind: Literal["parquet"]


class CsvSource(_Files):
    """Rows from CSV files with a header, here or on the web, which may be compressed.

    Types are inferred from a file's first 64 MB. Empty fields are missing; "NA" is text. Times
    are ISO 8601, in UTC where they name no zone.
    """

    kind: Literal["csv"]
    types: dict[str, TextType] = Field(
        default={},
        description="Types of columns, where the inferred one is wrong: text, number, integer or "
        "boolean. The model's entity and categories are text unless stated here: 007 stays 007.",
    )
    time_format: str = Field(
        default="",
        description="How times are written if not in ISO 8601, as for strptime: %d/%m/%Y %H:%M.",
    )
    delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="What stands between two fields."
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="What stands before the decimals of a number."
    )
    encoding: str = Field(default="utf-8", description="Encoding of the text: utf-8, cp1252, …")


class SqlSource(_Anywhere):
    """Rows from any database that SQLAlchemy reaches, one period at a time."""

    kind: Literal["sql"]
    url: str = Field(default="", description="SQLAlchemy URL without a password; or use url_env.")
    url_env: str = Field(
        default="",
        description="Environment variable that holds the SQLAlchemy URL, password included.",
    )
    table: str = Field(description="Table or view, optionally as schema.table.")


class DuckdbSource(_Anywhere):
    """Rows of a SQL query that DuckDB runs over files, one period at a time."""

    kind: Literal["duckdb"]
    query: str = Field(
        description="One SELECT over files, such as SELECT * FROM 'orders/*.parquet' JOIN "
        "'shops.csv' USING (shop). File names are relative to the defs.yaml's folder or begin "
        "with s3://, http:// or https://, which are reached as for Parquet. Needs `pip install "
        "'mlops_assets[duckdb]'`."
    )


class DeltaSource(_Anywhere):
    """Rows from a Delta table, whose files without rows of the period are not opened."""

    kind: Literal["delta"]
    path: str = Field(
        description="The table's folder, relative to the defs.yaml's folder, or s3://bucket/key. "
        f"{BUCKETS}"
    )


class PythonSource(_Anywhere):
    """Rows from a function in a file of the model's folder."""

    kind: Literal["python"]
    file: str = Field(default="features.py", description="File in the defs.yaml's folder.")
    function: str = Field(
        default="rows",
        pattern=r"^[A-Za-z_]\w*$",
        description="`def rows(start: datetime, end: datetime) -> pd.DataFrame` returns the rows "
        "with start <= event time < end (both in UTC), with all columns even if there are none. A "
        "function `newest(until)` beside it may tell the event time of the newest row before "
        "`until`, or None; without it, rows is asked for ever longer stretches.",
    )


Source = Annotated[
    ParquetSource | CsvSource | SqlSource | DuckdbSource | DeltaSource | PythonSource,
    Field(discriminator="kind"),
]


def is_web(path: str) -> bool:
    """Whether it is the address of a file on the web."""
    return path.lower().startswith(WEB)


def unencrypted(source: Source) -> tuple[str, str] | None:
    """The field with an address that others on the way may read and change, and why; or None."""
    if isinstance(source, CsvSource | ParquetSource):
        field, addresses = "path", [source.path] if is_web(source.path) else []
    elif isinstance(source, DuckdbSource):
        field, addresses = "query", ADDRESS.findall(source.query)
    else:
        return None
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme.lower() == "http" and not LOOPBACK.fullmatch(parts.hostname or ""):
            return field, (
                f"what comes from http://{parts.netloc} is not encrypted: others on the way may "
                "read and change it; use https, if the server has it"
            )
    return None


def mistakes(source: Source) -> Iterator[tuple[str, str]]:
    """What is wrong with a source in itself: the field's name, and what to do about it.

    No message repeats a value that may hold a secret.
    """
    if isinstance(source, SqlSource):
        yield from _database(source)
    elif isinstance(source, DuckdbSource):
        addresses = ADDRESS.findall(source.query)
        if CREDENTIALS.search(source.query) or any(map(_has_secret, addresses)):
            yield "query", f"the query holds a password: {_ENVIRONMENT}"
        if find_spec("duckdb") is None:
            yield (
                "kind",
                "a duckdb source needs the package duckdb, which is not installed: "
                "pip install 'mlops_assets[duckdb]'",
            )
    elif isinstance(source, DeltaSource) and is_web(source.path):
        yield (
            "path",
            "a Delta table is a folder, which cannot be listed on the web: keep it in s3://, or "
            "name one Parquet file (kind: parquet)",
        )
    elif not isinstance(source, PythonSource):
        yield from (_web if is_web(source.path) else _place)(source.path)
        if isinstance(source, CsvSource | ParquetSource) and source.token_env:
            yield from _token(source)


_ENVIRONMENT = "a spec is no place for secrets; keep them in the environment"


def _database(source: SqlSource) -> Iterator[tuple[str, str]]:
    if bool(source.url) == bool(source.url_env):
        yield "url", "a SQL source needs either url or url_env, which names a variable with the URL"
    names = [name for name, _ in parse_qsl(urlsplit(source.url).query)]
    if CREDENTIALS.search(source.url) or any(map(SECRET_NAMES.search, names)):
        yield (
            "url",
            f"the URL holds a password: {_ENVIRONMENT}, as a variable that source.url_env names",
        )


def _place(path: str) -> Iterator[tuple[str, str]]:
    scheme = path.partition("://")[0] if "://" in path else ""
    if not path.strip():
        yield "path", "the path is empty: name a file, a folder or s3://bucket/key"
    elif scheme not in ("", "s3"):
        yield (
            "path",
            f"{scheme}:// cannot be read: use a path, s3://bucket/key, https://host/file, or a "
            "function (kind: python) that fetches the rows",
        )
    elif scheme and ("@" in path.removeprefix(S3).partition("/")[0] or _has_secret(path)):
        yield "path", f"the address holds a key: {_ENVIRONMENT}, as AWS_SECRET_ACCESS_KEY"


def _web(address: str) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(address)
        is_address = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address:
        yield "path", "this is no address of a file: write https://host/path/file.csv"
    elif "@" in parts.netloc or _has_secret(address.partition("#")[0]):
        yield (
            "path",
            f"the address holds a key: {_ENVIRONMENT}, as a bearer token in the variable that "
            "source.token_env names, or let a function (kind: python) fetch the rows",
        )
    elif set("*[]") & set(parts.path):
        yield (
            "path",
            "an http(s) address names one file, because there is no way to list others: name one "
            "without wildcards, or keep several in s3://",
        )


def _token(source: CsvSource | ParquetSource) -> Iterator[tuple[str, str]]:
    if not is_web(source.path):
        yield "token_env", "a bearer token goes with an https address, and the path is none"
    elif unencrypted(source):
        yield "token_env", "a token that travels without encryption is known to others: use https"


def _has_secret(path: str) -> bool:
    return any(SECRET_NAMES.search(name) for name, _ in parse_qsl(path.partition("?")[2]))
