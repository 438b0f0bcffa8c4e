"""The keys of a spec: those that there are, and those that a file holds twice."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from mlops_assets.spec.model import ModelSpec
from mlops_assets.spec.problem import Problem


@cache
def known_keys() -> tuple[str, ...]:
    """The names of all fields of a spec and its parts."""
    schema = ModelSpec.model_json_schema()
    parts = (schema, *schema["$defs"].values())
    return tuple(sorted({name for part in parts for name in part.get("properties", ())}))


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
