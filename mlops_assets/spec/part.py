"""What all sections of a model's spec have in common."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Part(BaseModel):
    """A frozen section of the spec that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _duration(value: Any) -> Any:
    found = re.fullmatch(r"(\d+)\s*([smhdw])", value.strip()) if isinstance(value, str) else None
    return timedelta(**{UNITS[found[2]]: int(found[1])}) if found else value


# A length of time: ISO 8601 (P3D, PT12H), or as people write it (90s, 10m, 12h, 3d, 2w).
Duration = Annotated[timedelta, BeforeValidator(_duration, json_schema_input_type=str | timedelta)]
