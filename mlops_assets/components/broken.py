"""What stands in for a model whose defs.yaml cannot be loaded, so that the others can."""

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster_shared.check import CheckError
from dagster_shared.error import DagsterError
from pydantic import ValidationError

# What Dagster raises for a file that cannot be read, is not in UTF-8, no YAML, no component, of
# an unknown type, wrong, or holds a model twice. A key that is a mapping, as {{ x }} without quotes
# is one, is a TypeError.
LOAD_ERRORS = (
    OSError,
    UnicodeDecodeError,
    ComponentTreeException,
    CheckError,
    DagsterError,
    TypeError,
    ValidationError,
    yaml.YAMLError,
)


def broken_model(name: str, error: BaseException) -> dg.AssetSpec:
    """An asset that nothing materialises; its description is what is wrong, with the line."""
    return dg.AssetSpec(
        key=dg.AssetKey([name, "broken_spec"]),
        group_name="broken",
        description=f"{name} is left out, because its defs.yaml cannot be loaded. Correct it, see "
        f"`mlops check {name}`, and reload the code location.\n\n```\n{_causes(error)}\n```",
        kinds={"yaml"},
    )


def _causes(error: BaseException | None) -> str:
    """The innermost message: the outer ones only say where the component was loaded."""
    texts = []
    while error is not None:
        texts.append(str(error).strip())
        error = error.__cause__
    return texts[-1]
