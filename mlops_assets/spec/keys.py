"""The keys of a spec: those that there are, and those that a file holds twice."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from mlops_assets.spec.model import ModelSpec
from mlops_assets.spec.problem import Problem


@cache
def keys_of_parts() -> dict[str, tuple[str, ...]]:
    """The names of the fields of a spec and of each of its parts, by the name of the class."""
    schema = ModelSpec.model_json_schema()
    parts = {ModelSpec.__name__: schema, **schema["$defs"]}
    return {name: tuple(part.get("properties", ())) for name, part in parts.items()}


@cache
def known_keys() -> tuple[str, ...]:
    """The names of all fields of a spec and its parts."""
    return tuple(sorted({key for keys in keys_of_parts().values() for key in keys}))


@cache
def kinds(key: str) -> tuple[str, ...]:
    """What `key` may say where it tells parts of several kinds apart, as source.kind does."""
    found: set[str] = set()
    open_parts: list[Any] = [ModelSpec.model_json_schema()]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, dict):
            told = part.get("discriminator")
            if isinstance(told, dict) and told.get("propertyName") == key:
                found.update(told["mapping"])
            open_parts.extend(part.values())
        elif isinstance(part, list):
            open_parts.extend(part)
    return tuple(sorted(found))


def repeated_keys(text: str) -> list[Problem]:
    """Keys of a YAML text that stand twice in one mapping, of which YAML keeps the last."""
    import yaml

    return list(_repeated(yaml.compose(text, Loader=yaml.SafeLoader), ()))


def _repeated(node: Any, place: tuple[str | int, ...]) -> Iterator[Problem]:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for number, part in enumerate(node.value):
            yield from _repeated(part, (*place, number))
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        here, name = key.start_mark.line + 1, str(key.value)
        within = () if (*place, name) == ("attributes",) else (*place, name)
        if name in lines:
            yield Problem(
                within, f"the key {name!r} is in line {lines[name]} already: remove one of them"
            )
        lines[name] = here
        yield from _repeated(value, within)
