"""Rows from a Delta table; files whose partition or statistics exclude the stretch stay closed."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import DeltaSource
from mlops_assets.stores.sources.places import endpoint, is_public, is_remote, reading
from mlops_assets.stores.sources.reader import require
from mlops_assets.stores.sources.times import after, in_utc, latest, utc, within

REFUSED = re.compile(r"\b40[13] (Unauthorized|Forbidden)\b|PermissionDenied|Unauthenticated")


@dataclass(frozen=True)
class DeltaSourceTable:
    """The newest version of a table that others write."""

    source: DeltaSource
    folder: Path

    def column_names(self) -> tuple[str, ...]:
        """The columns of the table."""
        with self._reading():
            return tuple(self._dataset(self._table()).schema.names)

    def read(
        self, columns: Sequence[str], event_time: str, start: datetime, end: datetime
    ) -> pa.Table:
        """Rows of the stretch from the files that may hold some."""
        with self._reading():
            dataset = self._dataset(self._table())
            require(columns, dataset.schema.names, self.source.path)
            wanted = within(dataset.schema, event_time, start, end)
            return dataset.to_table(columns=list(columns), filter=wanted)

    def timeless(self, event_time: str) -> int | None:
        """Not told."""
        return None

    def newest(self, event_time: str, until: datetime) -> datetime | None:
        """From the log's statistics where they tell."""
        with self._reading():
            table = self._table()
            dataset = self._dataset(table)
            require([event_time], dataset.schema.names, self.source.path)
            wanted = within(dataset.schema, event_time, None, until)
            known = _known_newest(table, event_time, until)
            if known is not None:
                wanted &= after(dataset.schema, event_time, known)
            rows = dataset.to_table(columns=[event_time], filter=wanted)
            return latest(in_utc(rows, event_time)[event_time]) or known

    def _table(self) -> Any:
        from deltalake import DeltaTable

        if not is_remote(self.source.path):
            place = (self.folder / self.source.path).resolve()
            if not place.is_dir():
                raise SourceAwayError(
                    f"source {self.source.path!r} is not there: {place} is no folder. Paths are "
                    "relative to the folder of the defs.yaml."
                )
            return DeltaTable(place)
        seconds = f"{self.source.timeout.total_seconds()}s"
        options = {"timeout": seconds, "connect_timeout": seconds, "max_retries": "2"}
        address = endpoint()
        if address is not None:
            options |= {"aws_endpoint": address, "allow_http": "true"}
        if is_public():
            options["aws_skip_signature"] = "true"
        return DeltaTable(self.source.path, storage_options=options)

    def _dataset(self, table: Any) -> Any:
        return table.to_pyarrow_dataset()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        from deltalake.exceptions import DeltaError, TableNotFoundError

        path = self.source.path
        try:
            with reading(path, "delta"):
                try:
                    yield
                except OSError as error:
                    if not is_remote(path) or isinstance(error, FileNotFoundError):
                        raise
                    # The store's errors have no kinds, but tell the answer's status.
                    if REFUSED.search(str(error)):
                        raise SourceError(
                            f"the Delta table {path!r} may not be read: {_plain(error)}. Check "
                            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION in the "
                            "environment, and the bucket's policy."
                        ) from error
                    raise SourceAwayError(
                        f"the Delta table {path!r} does not answer at "
                        f"{endpoint() or 'Amazon S3'}: {_plain(error)}. Check the network, the "
                        "AWS variables of the environment and AWS_ENDPOINT_URL; raise "
                        "source.timeout if it is only slow."
                    ) from error
        except TableNotFoundError as error:
            raise SourceAwayError(
                f"source {path!r} is no Delta table: {_plain(error)}. Correct source.path in "
                "defs.yaml."
            ) from error
        except DeltaError as error:
            raise SourceError(
                f"the Delta table {path!r} cannot be read: {_plain(error)}. Check that it needs "
                "no feature that deltalake lacks, such as deletion vectors."
            ) from error


def _known_newest(table: Any, event_time: str, until: datetime) -> datetime | None:
    """The latest maximum of a file that lies before `until` as a whole."""
    actions = pa.table(table.get_add_actions(flatten=True))
    for name in (f"max.{event_time}", f"partition.{event_time}"):
        if name in actions.column_names:
            tops = [utc(top) for top in actions[name].to_pylist() if top is not None]
            return max((top for top in tops if top < until), default=None)
    return None


def _plain(error: Exception) -> str:
    """The store's message without colours, on one line."""
    return " ".join(re.sub(r"\x1b\[\d*m|↳", "", str(error)).split())
