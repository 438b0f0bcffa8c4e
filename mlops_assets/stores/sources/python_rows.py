"""Rows from a function that the model's author wrote."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from typing import Any

import pyarrow as pa

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import PythonSource
from mlops_assets.stores.sources.reader import require
from mlops_assets.stores.sources.times import in_utc, latest, utc

# Without `newest`, stretches of a day, two, four, … back to some 45 years are asked for.
DOUBLINGS = 15
# No rows, but all columns.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class PythonRows:
    """A function `rows(start, end)`, read from its file anew for each source."""

    source: PythonSource
    folder: Path

    def column_names(self) -> tuple[str, ...]:
        """The columns of an empty stretch."""
        return tuple(self._rows(NEVER, NEVER).column_names)

    def read(
        self, columns: Sequence[str], event_time: str, start: datetime, end: datetime
    ) -> pa.Table:
        """What the function returns for the stretch, if all of it lies in the stretch."""
        rows = self._rows(start, end)
        require(columns, rows.column_names, self._name)
        rows = in_utc(rows, event_time)
        times = rows[event_time]
        if not pa.types.is_timestamp(times.type) and not (
            pa.types.is_null(times.type) or not rows.num_rows
        ):
            raise SourceError(
                f"{self._name} returns {event_time!r} as {times.type}, not as times: convert it, "
                "as pd.to_datetime(…, utc=True) does."
            )
        outside = [t for t in times.to_pylist() if t is not None and not start <= t < end]
        if outside:
            raise SourceError(
                f"{self._name} was asked for {start} <= {event_time} < {end}, but returns "
                f"{len(outside)} rows outside, such as {outside[0]}: filter them in the function."
            )
        return rows.select(list(columns))

    def timeless(self, event_time: str) -> int | None:
        """Not told."""
        return None

    def newest(self, event_time: str, until: datetime) -> datetime | None:
        """What `newest(until)` says, or what ever longer stretches before `until` hold."""
        ask = getattr(self._module, "newest", None)
        if ask is not None:
            found = self._call(ask, until)
            if found is not None and not isinstance(found, datetime):
                raise SourceError(
                    f"newest in {self._place} returns {found!r}: return a datetime or None."
                )
            return None if found is None else utc(found)
        end = until
        for doubling in range(DOUBLINGS):
            start = end - timedelta(days=2**doubling)
            rows = self.read([event_time], event_time, start, end)
            if rows.num_rows:
                return latest(rows[event_time])
            end = start
        return None

    @property
    def _place(self) -> Path:
        return (self.folder / self.source.file).resolve()

    @property
    def _name(self) -> str:
        return f"{self.source.function}() in {self._place}"

    @cached_property
    def _module(self) -> Any:
        if not self._place.is_file():
            raise SourceError(
                f"source.file {self.source.file!r} is not there: {self._place} does not exist. "
                f"Write it, with a function {self.source.function}(start, end)."
            )
        found = spec_from_file_location(f"{self.folder.name}_{self._place.stem}", self._place)
        if found is None or found.loader is None:
            raise SourceError(f"{self._place} is no Python file: source.file must end in .py.")
        module = module_from_spec(found)
        self._call(found.loader.exec_module, module)
        return module

    def _rows(self, start: datetime, end: datetime) -> pa.Table:
        function = getattr(self._module, self.source.function, None)
        if not callable(function):
            raise SourceError(
                f"{self._place} has no function {self.source.function!r}: write "
                f"`def {self.source.function}(start, end)`, which returns a DataFrame."
            )
        return self._as_table(self._call(function, start, end))

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the author's code returns. What it cannot reach may be back later."""
        try:
            return function(*arguments)
        except (ConnectionError, TimeoutError) as error:
            raise SourceAwayError(
                f"{self._name} does not reach its data: {type(error).__name__}: {error}."
            ) from error
        except Exception as error:  # a function of the user's may raise anything
            raise SourceError(
                f"{self._name} fails{self._line(error)} with {type(error).__name__}: {error}."
            ) from error

    def _line(self, error: BaseException) -> str:
        """Where in the user's file it happened; a mistake in its grammar names its line itself."""
        lines = [
            found.lineno
            for found in extract_tb(error.__traceback__)
            if found.filename == str(self._place)
        ]
        return f" in line {lines[-1]}" if lines else ""

    def _as_table(self, found: Any) -> pa.Table:
        import pandas as pd

        if isinstance(found, pa.Table):
            return found
        if not isinstance(found, pd.DataFrame):
            raise SourceError(
                f"{self._name} returns {type(found).__name__}: return a pandas DataFrame or a "
                "pyarrow Table."
            )
        try:
            return pa.Table.from_pandas(found, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SourceError(
                f"{self._name} returns a column of mixed types: {'; '.join(map(str, error.args))}. "
                "Give each column one type."
            ) from error
