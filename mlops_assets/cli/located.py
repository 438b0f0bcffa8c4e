"""A defs.yaml with the line of everything in it, and all that is wrong with it in itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec import Model, ModelSpec, names
from mlops_assets.spec.findings import Finding, Place
from mlops_assets.spec.keys import repeated_keys
from mlops_assets.spec.problem import Problem
from mlops_assets.spec.refusals import told
from mlops_assets.spec.rules import problems
from mlops_assets.stores.function_digests import with_digests
from mlops_assets.stores.model_folders import SPEC_FILE

COMPONENT = "mlops_assets.components.TabularModel"


@dataclass(frozen=True)
class SpecFile:
    """A file, its model if the spec can be read, and what is wrong with it."""

    path: Path
    model: Model | None
    findings: tuple[Finding, ...]
    lines: Any = None

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest part that is there."""
        tree = self.lines
        if tree is None:
            return 1
        for part in place if place == ("type",) else ("attributes", *place):
            # Pydantic names the kind of a union too, which is no key of the file.
            tree = tree.children.get(part, tree)
        return int(tree.position.start.line)


def read_spec_file(name: str, folder: Path, *, ask_source: bool = True) -> SpecFile:
    """Read and check a defs.yaml; nothing is raised for what is wrong in it.

    `ask_source` compares it with the columns that its source has.
    """
    import yaml
    from dagster_shared.yaml_utils import parse_yaml_with_source_position
    from pydantic import ValidationError

    path = folder / SPEC_FILE
    try:
        text = path.read_text(encoding="utf-8")
        parsed = parse_yaml_with_source_position(text, str(path)) if text.strip() else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = _Line(mark.line + 1 if mark else 1)
        message = f"no YAML: {error.problem or error.context}"
        return SpecFile(path, None, (Finding("yaml", "problem", (), message),), at)
    except TypeError:
        message = "no YAML: braces in braces, {{ x }}, need quotes around them"
        return SpecFile(path, None, (Finding("yaml", "problem", (), message),))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"cannot be read as YAML in UTF-8: {error}"
        return SpecFile(path, None, (Finding("yaml", "problem", (), message),))
    content = parsed.value if parsed else None
    lines = parsed.source_position_tree if parsed else None
    if not isinstance(content, dict) or not isinstance(content.get("attributes"), dict):
        message = f"a model's file has `type: {COMPONENT}` and `attributes:`"
        return SpecFile(path, None, (Finding("yaml", "problem", (), message),), lines)
    before = (*names.folder(name), *_wrong_type(content.get("type")), *repeated_keys(text))
    try:
        spec, of_functions = with_digests(ModelSpec.model_validate(content["attributes"]), folder)
    except ValidationError as error:
        wrong = (Problem(tuple(one["loc"]), told(one)) for one in error.errors())
        return SpecFile(path, None, _as_findings((*before, *wrong)), lines)
    found = _as_findings(
        (
            *before,
            *problems(spec, _columns(spec, folder) if ask_source else None),
            *of_functions,
        )
    )
    return SpecFile(path, Model(name, spec, folder), found, lines)


@dataclass(frozen=True)
class _At:
    line: int


@dataclass(frozen=True)
class _Position:
    start: _At


class _Line:
    """The tree of a file that could not be parsed: one line."""

    def __init__(self, line: int) -> None:
        self.position = _Position(_At(line))
        self.children: dict[object, object] = {}


def _columns(spec: ModelSpec, folder: Path) -> tuple[str, ...] | None:
    from mlops_assets.stores.sources import column_names

    try:
        return column_names(spec.source, folder)
    except SourceError:
        return None  # reading the rows says why


def _as_findings(found: Iterable[Problem]) -> tuple[Finding, ...]:
    return tuple(Finding("spec", "problem", one.place, one.message) for one in found)


def _wrong_type(named: object) -> list[Problem]:
    """A type under which Dagster finds no model; a class of the user's may build on ours."""
    if named == COMPONENT:
        return []
    from mlops_assets.components import TabularModel

    module, _, name = str(named).rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except (ImportError, TypeError, ValueError):
        found = None
    if isinstance(found, type) and issubclass(found, TabularModel):
        return []
    told = f"{named!r} is no model" if named else "it is missing"
    return [Problem(("type",), f"{told}: write type: {COMPONENT}")]
