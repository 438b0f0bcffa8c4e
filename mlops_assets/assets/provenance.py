"""Which code makes a version: a commit where it is known, else the package's version."""

import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def code_version(folder: Path = PACKAGE) -> str:
    """What git says of `folder`, or its file REVISION, which images have in place of a clone."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
            cwd=folder,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        revision = (folder / "REVISION").read_text().strip()
    except FileNotFoundError:
        revision = ""
    return revision or version("mlops-assets")
