"""The pointer file: what the follower asks the replicas of this node to serve."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bundle:
    """A version and the folder of its verified bundle."""

    version: str
    path: str


@dataclass(frozen=True)
class Target:
    """What the pointer file asks to be served for one model.

    `split` names the variants beside the champion with their share in percent. `shadow` scores
    copies of the traffic, `fallback` answers where the champion fails. `problems` say what was
    asked for and is not there.
    """

    version: str
    path: str
    since: str
    released_at: str
    split: tuple[tuple[str, Bundle, float], ...] = ()
    shadow: Bundle | None = None
    fallback: Bundle | None = None
    problems: tuple[str, ...] = ()


def read_pointer(path: Path) -> dict[str, Target]:
    """What to serve, by model; nothing where there is no file.

    Raises OSError, ValueError, KeyError, TypeError or AttributeError for a damaged one.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return {name: _target(entry) for name, entry in content["models"].items()}


def read_retired(path: Path) -> dict[str, str]:
    """The models that were taken out of service on purpose, and since when; raises likewise."""
    return _texts(path, "retired")


def read_unserved(path: Path) -> dict[str, str]:
    """The models that no bundle could be had of, and why; raises likewise."""
    return _texts(path, "unserved")


def _texts(path: Path, name: str) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return {str(model): str(text) for model, text in content.get(name, {}).items()}


def _target(entry: Mapping[str, Any]) -> Target:
    return Target(
        version=str(entry["version"]),
        path=str(entry["path"]),
        since=entry["since"],
        released_at=entry["released_at"],
        split=tuple(
            (str(one["variant"]), _bundle(one), float(one["weight"]))
            for one in entry.get("split") or ()
        ),
        shadow=_bundle(entry["shadow"]) if entry.get("shadow") else None,
        fallback=_bundle(entry["fallback"]) if entry.get("fallback") else None,
        problems=tuple(str(problem) for problem in entry.get("problems") or ()),
    )


def _bundle(entry: Mapping[str, Any]) -> Bundle:
    return Bundle(str(entry["version"]), str(entry["path"]))
