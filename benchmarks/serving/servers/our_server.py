"""Ours, with everything on that a service has: authentication, validation, prediction log."""

import json
import sys
from typing import Any

import orjson
from typing_extensions import override

from benchmarks.serving.cells import SINGLE
from benchmarks.serving.model import NAME, Columns
from benchmarks.serving.servers.base import HOST, Launch, Server, Setup
from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.prediction_log import segments
from mlops_assets.stores.tokens import rotate

# How bulk requests may come, by the media type of their body.
TYPES = {
    SINGLE: "application/json",
    "columns": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
}


class Ours(Server):
    """`python -m serving` on a pointer file, with the settings in force but its own home."""

    name = "ours"
    formats = tuple(TYPES)
    path = f"/v1/models/{NAME}/predict"

    @override
    def launch(self, setup: Setup) -> Launch:
        settings = self._settings(setup)
        self._token = rotate(setup.folder / "tokens")
        entry = {
            "version": "1",
            "path": str(setup.built.bundle),
            "since": "2026-01-01T00:00:00+00:00",
            "released_at": "",
        }
        pointer = {"generation": 1, "models": {NAME: entry}}
        write_atomically(settings.serving_state, json.dumps(pointer).encode())
        command = [sys.executable, "-m", "serving", "--no-follow"]
        return Launch(command, settings.environment())

    @override
    def headers(self, form: str) -> dict[str, str]:
        return {"Content-Type": TYPES[form], "Authorization": f"Bearer {self._token}"}

    @override
    def encode(self, columns: Columns, form: str) -> bytes:
        if form == "columns":
            return orjson.dumps({"columns": columns})
        if form == "arrow":
            return _arrow_stream(columns)
        return super().encode(columns, form)

    @override
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        if form == "arrow":
            import pyarrow as pa

            with pa.ipc.open_stream(answer) as stream:
                column: list[float] = stream.read_all()["p_yes"].to_pylist()
            return column
        return [one["probability"]["yes"] for one in orjson.loads(answer)["predictions"]]

    @override
    def tidy(self, setup: Setup) -> None:
        """Drop full log segments: bulk requests write gigabytes of them.

        A virtual machine that has just started takes five times as long to write into memory that
        was never used before, and its file cache would find nothing else.
        """
        for path in segments(self._settings(setup).prediction_log / NAME)[:-4]:
            path.unlink()

    def _settings(self, setup: Setup) -> Settings:
        return Settings(
            home=setup.folder / "home",
            serve_host=HOST,
            serve_port=setup.port,
            serve_token_file=setup.folder / "tokens",
        )


def _arrow_stream(columns: Columns) -> bytes:
    """The rows as an Arrow IPC stream of one batch, text by dictionary as clients keep levels."""
    import pyarrow as pa

    arrays = {name: pa.array(values) for name, values in columns.items()}
    table: Any = pa.table(
        {
            name: array.dictionary_encode() if pa.types.is_string(array.type) else array
            for name, array in arrays.items()
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
