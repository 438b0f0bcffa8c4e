"""What the benchmark needs to know of a server."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks.serving.cells import SINGLE
from benchmarks.serving.model import Built, Columns
from mlops_assets.stores.ports import free_ports

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[3]
APPS = "benchmarks.serving.apps"


@dataclass(frozen=True)
class Setup:
    """Where one start of a server finds its things; `folder` is its own and temporary."""

    python: Path
    port: int
    folder: Path
    built: Built

    @property
    def url(self) -> str:
        """Address without a path."""
        return f"http://{HOST}:{self.port}"

    def program(self, name: str) -> str:
        """A console script of the server's environment."""
        return str(self.python.with_name(name))


@dataclass(frozen=True)
class Launch:
    """A command and what it needs in its environment."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    return free_ports(1)[0]


class Server(ABC):
    """One way to put the pipeline behind HTTP."""

    name: str
    # Name of the virtual environment in venvs.PINS; empty: the project's own.
    venv: str = ""
    formats: tuple[str, ...] = (SINGLE,)
    path: str = "/predict"

    @abstractmethod
    def launch(self, setup: Setup) -> Launch:
        """Write what the server needs into setup.folder and say how to start it."""

    def headers(self, form: str) -> dict[str, str]:
        """Headers of each request."""
        return {"Content-Type": "application/json"}

    def encode(self, columns: Columns, form: str) -> bytes:
        """The body of one request in the server's own protocol."""
        return orjson.dumps({"records": records(columns)})

    @abstractmethod
    def probabilities(self, answer: bytes, form: str) -> list[float]:
        """The probability of the second class of each row."""

    def tidy(self, setup: Setup) -> None:  # noqa: B027 - most have nothing to do
        """Called between windows: drop what the server piled up on disk."""


def records(columns: Columns) -> list[dict[str, object]]:
    """The rows, one object each."""
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def uvicorn(app: str, setup: Setup, workers: int = 1) -> list[str]:
    """Uvicorn with its fast parser and loop, quiet, on the setup's port."""
    command = [str(setup.python), "-m", "uvicorn", f"{APPS}.{app}:app", "--host", HOST]
    command += ["--port", str(setup.port), "--workers", str(workers)]
    return [*command, "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
