"""What pydantic refuses in a spec, in the words of whoever writes one."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from mlops_assets.spec.keys import keys_of_parts, kinds, known_keys

SHOWN = 60


def told(error: Mapping[str, Any]) -> str:
    """One error of a ValidationError: what is wrong, and what to write instead.

    With the value, where that is short and no secret.
    """
    kind, value, about = error["type"], error.get("input"), error.get("ctx") or {}
    shown = isinstance(value, str | int | float | bool) and "source" not in error["loc"]
    given = f", not {str(value)[:SHOWN]!r}" if shown else ""
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        near = get_close_matches(name, known_keys(), n=1)
        return f"there is no key {name!r} here" + (f": is {near[0]!r} meant?" if near else "")
    if kind == "missing":
        return "is missing"
    if kind == "string_type" and isinstance(value, bool | int | float):
        what = "a truth value" if isinstance(value, bool) else "a number"
        return f"YAML reads this as {what}{given}: put quotes around it"
    if kind == "union_tag_not_found":
        key = str(about["discriminator"]).strip("'")
        return f"{key} is missing: write one of {', '.join(kinds(key))}"
    if kind.startswith("time_delta"):
        return f"write a length of time such as 90m, 12h, 3d or 2w{given}"
    if kind in ("model_type", "model_attributes_type"):
        keys = keys_of_parts().get(about.get("class_name", ""), ())
        return f"write a mapping of {', '.join(keys)}{given}"
    return f"{error['msg']}{given}"
