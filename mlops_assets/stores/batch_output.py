"""Where predictions go: a folder of Parquet parts that are whole or not there.

`part-00000.parquet` holds predictions, `_rejected/part-00000.parquet` the rows that were not
scored, `_manifest.json` what was asked, `_summary.json` what came out. Readers of Parquet folders
skip names with an underscore. A part's own footer says what became of its rows, so a run that was
killed goes on from the parts that are there.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from mlops_assets.domain.errors import DataError
from mlops_assets.stores.files import write_atomically

MANIFEST = "_manifest.json"
SUMMARY = "_summary.json"
REJECTED = "_rejected"
LOCK = "_lock"
FACTS = b"mlops"


@dataclass(frozen=True)
class PartDone:
    """What became of a part's rows; `failures` counts rejected rows by reason."""

    index: int
    rows: int
    rejected: int
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """The output folder."""

    folder: Path

    @contextmanager
    def claimed(self, manifest: Mapping[str, Any], *, overwrite: bool) -> Iterator[None]:
        """Make the folder this run's own; one that holds another run's output is refused.

        With `overwrite` it is emptied of what such a run wrote.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                self._prepare(manifest, overwrite)
                yield
        except Timeout:
            raise DataError(
                f"{self.folder} is being written by another process; wait for its end, or choose "
                "another folder."
            ) from None

    def _prepare(self, manifest: Mapping[str, Any], overwrite: bool) -> None:
        found = self._read(MANIFEST)
        if found is None and any(path.name != LOCK for path in self.folder.iterdir()):
            raise DataError(f"{self.folder} holds other files; choose an empty folder.")
        if found is not None and found != manifest:
            changed = sorted(k for k in {*found, *manifest} if found.get(k) != manifest.get(k))
            if not overwrite:
                moved = changed == ["bundle", "version"]
                raise DataError(
                    f"{self.folder} holds the output of another run: "
                    + ", ".join(
                        f"{k} was {found.get(k)!r}, is {manifest.get(k)!r}" for k in changed
                    )
                    + ". Choose another folder, or --overwrite it."
                    + (f" --version {found['version']} finishes that run." if moved else "")
                )
            self._clear()
        write_atomically(self.folder / MANIFEST, _json(manifest))
        (self.folder / REJECTED).mkdir(exist_ok=True)
        for place in (self.folder, self.folder / REJECTED):
            for left in place.glob(".*.tmp"):
                left.unlink()

    def _clear(self) -> None:
        # The manifest goes last: while it is there, the folder is known to be ours.
        (self.folder / SUMMARY).unlink(missing_ok=True)
        for path in self.folder.glob("part-*.parquet"):
            path.unlink()
        shutil.rmtree(self.folder / REJECTED, ignore_errors=True)
        (self.folder / MANIFEST).unlink()

    def done(self, name: str) -> PartDone | None:
        """What became of the part, if it is finished."""
        path = self.folder / name
        if not path.exists():
            return None
        try:
            done = PartDone(**json.loads(pq.read_metadata(path).metadata[FACTS]))
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
            # Whatever it is, we did not write it: it is written again.
            return None
        return done if not done.rejected or (self.folder / REJECTED / name).exists() else None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """What came out, once all parts are there."""
        write_atomically(self.folder / SUMMARY, _json(summary))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.folder / name).read_bytes()))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(f"{self.folder / name} is damaged; choose another folder.") from error


class PartWriter:
    """Writes one part; nothing is there before `finish`."""

    def __init__(
        self, folder: Path, name: str, index: int, schemas: tuple[pa.Schema, pa.Schema]
    ) -> None:
        self._index = index
        self._rows = self._rejected = 0
        self._failures: dict[str, int] = {}
        predictions, self._rejected_schema = schemas
        self._rejected_path = folder / REJECTED / name
        self._bad: _File | None = None
        self._good = _File(folder / name, predictions)

    def add(self, scored: Any) -> None:
        """Append a scored batch."""
        self._good.write(scored.predictions)
        self._rows += scored.predictions.num_rows
        if scored.rejected is not None:
            self._bad = self._bad or _File(self._rejected_path, self._rejected_schema)
            self._bad.write(scored.rejected)
            self._rejected += scored.rejected.num_rows
        for reason, count in scored.failures.items():
            self._failures[reason] = self._failures.get(reason, 0) + count

    def finish(self) -> PartDone:
        """Put both files in place: the predictions last, because they say that all is there."""
        done = PartDone(
            self._index, self._rows, self._rejected, dict(sorted(self._failures.items()))
        )
        facts = {FACTS.decode(): json.dumps(vars(done), sort_keys=True)}
        if self._bad is not None:
            self._bad.publish(facts)
        else:
            self._rejected_path.unlink(missing_ok=True)
        self._good.publish(facts)
        return done

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._good.abandon()
        if self._bad is not None:
            self._bad.abandon()


class _File:
    """A Parquet file under a temporary name until it is whole and on the disk."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        # Dictionaries pay for text; scores rarely repeat.
        texts = [f.name for f in schema if pa.types.is_dictionary(f.type)]
        self._writer = pq.ParquetWriter(
            self._temporary, schema, compression="snappy", use_dictionary=texts
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def publish(self, facts: Mapping[str, str]) -> None:
        self._writer.add_key_value_metadata(dict(facts))
        self._writer.close()
        handle = os.open(self._temporary, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        self._temporary.replace(self._path)

    def abandon(self) -> None:
        self._writer.close()
        self._temporary.unlink(missing_ok=True)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"
