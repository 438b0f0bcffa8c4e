"""The deployment files as data, and what the code says about them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_assets.settings import PROJECT_ROOT, Settings

DEPLOY = PROJECT_ROOT / "deploy"
IMAGES = {name: DEPLOY / "docker" / f"{name}.Dockerfile" for name in ("serving", "dagster")}
SETTINGS = {f"MLOPS_{name.upper()}" for name in Settings.model_fields}
# Where the images keep the code, and what is there.
APP = Path("/app")


def documents(path: Path) -> list[dict[str, Any]]:
    """All YAML documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def instructions(path: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions, with their lines joined: (name, the rest)."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^\s*#.*\n", "", path.read_text()))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def environment_of(path: Path) -> dict[str, str]:
    """The variables that a Dockerfile sets."""
    found: dict[str, str] = {}
    for name, rest in instructions(path):
        if name == "ENV":
            found |= dict(part.split("=", 1) for part in rest.split())
    return found


def walk(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in a document, at any depth."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    return documents(DEPLOY / "compose.yaml")[0]
