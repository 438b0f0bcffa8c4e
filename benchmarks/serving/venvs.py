"""Virtual environments of the peers, made once and kept in a cache folder."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

DEFAULT_FOLDER = Path.home() / ".cache" / "mlops-assets" / "benchmarks"

# The newest releases at the time of writing. A pipeline is read by the library versions that
# wrote it, so these are the project's own for everyone.
SHARED = ("scikit-learn", "numpy", "pandas", "joblib")
PINS: Mapping[str, tuple[str, ...]] = {
    "mlflow": ("mlflow==3.17.2",),
    # Its workers ask for an event loop that newer uvloops no longer make.
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop==0.21.0"),
    "bentoml": ("bentoml==1.4.40", "uvloop==0.23.0", "httptools==0.9.0"),
    "litserve": ("litserve==0.2.19",),
}
STAMP = "packages.txt"


class VenvError(Exception):
    """An environment could not be made."""


def packages(name: str) -> list[str]:
    """What the environment of this name holds, as requirements."""
    return [*PINS[name], *(f"{package}=={version(package)}" for package in SHARED)]


def python_of(name: str, folder: Path) -> Path:
    """The interpreter of the peer's environment, which is made if it is missing or outdated.

    Raises VenvError with the installer's last words.
    """
    home = folder / name
    python = home / "bin" / "python"
    wanted = "\n".join(packages(name))
    stamp = home / STAMP
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    print(f"making the environment {home}", flush=True)
    for command in _commands(home, python, packages(name)):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            raise VenvError(f"{name} cannot be installed: {done.stderr.strip()[-800:]}")
    stamp.write_text(wanted)
    return python


def _commands(home: Path, python: Path, wanted: list[str]) -> list[list[str]]:
    """How to make it: with uv, which `make setup` installs, or with what Python brings."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        return [[uv, "venv", "--quiet", "--python", sys.executable, str(home)], [*install, *wanted]]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", str(home)], [*install, *wanted]]
