"""What all sections of a model's spec have in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen section of the spec that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
