"""What a model's `defs.yaml` may say about the search for its best candidate."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from mlops_assets.spec.part import Duration, Part

Scalar = bool | int | float | str


class FloatRange(Part):
    """A number between two others."""

    type: Literal["float"]
    low: float = Field(description="Least value.")
    high: float = Field(description="Greatest value.")
    log: bool = Field(default=False, description="Drawn evenly on a logarithmic scale.")


class IntRange(Part):
    """A whole number between two others, both included."""

    type: Literal["int"]
    low: int = Field(description="Least value.")
    high: int = Field(description="Greatest value.")
    log: bool = Field(default=False, description="Drawn evenly on a logarithmic scale.")


class Choice(Part):
    """One of some values."""

    type: Literal["choice"]
    values: tuple[Scalar | None, ...] = Field(min_length=1, description="What may be chosen.")


Space = Annotated[FloatRange | IntRange | Choice, Field(discriminator="type")]


class Search(Part):
    """How candidates with a `space` are searched; their trials come after those of the grids."""

    sampler: Literal["tpe", "random"] = Field(
        default="tpe",
        description="tpe learns from the trials so far what is worth trying (Bergstra et al. "
        "2011, as in Optuna); random does not.",
    )
    trials: int = Field(
        default=20, ge=1, description="Trials drawn from the spaces of all candidates together."
    )
    time_budget: Duration | None = Field(
        default=None,
        description="No trial begins later than this after the search began, as 90s, 10m, 2h; "
        "what was found by then counts. How many trials fit depends on the machine, so only a "
        "search without it gives the same result everywhere.",
    )
    folds: int = Field(
        default=1,
        ge=1,
        description="Windows of training.validation periods, one before the other, on each of "
        "which a trial is fitted to all that came before and scored; the mean counts.",
    )
    pruning: Literal["median", "none"] = Field(
        default="median",
        description="median: a trial that after some folds is worse than the median of the trials "
        "before it is not continued. Grids are never pruned.",
    )
    parallel: int = Field(
        default=1,
        ge=1,
        description="Trials at a time, in processes here or on the cluster at MLOPS_RAY_ADDRESS. "
        "They are drawn and judged so many at a time, so another number is another search.",
    )


def mistakes(
    search: Search | None,
    spaces: Mapping[int, Mapping[str, Space]],
    grids: Mapping[int, bool],
    params: Mapping[int, Mapping[str, Any]],
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong, with its place below `training`; all by the candidates' place."""
    for place, space in spaces.items():
        where = ("candidates", place, "space")
        if space and search is None:
            yield where, "a space is tried only with training.search: say how many trials"
        if space and grids[place]:
            yield where, "a candidate has a grid or a space, not both: a choice is like a list"
        for name, one in space.items():
            if name in params[place]:
                yield (*where, name), f"{name} is fixed in params: remove it there or here"
            if isinstance(one, Choice):
                continue
            if one.low >= one.high:
                yield (*where, name), f"low {one.low:g} is not below high {one.high:g}"
            if one.log and one.low <= 0:
                yield (*where, name), f"log needs a low above 0, not {one.low:g}"
    if search is not None and not any(spaces.values()) and search.model_fields_set - {"folds"}:
        yield ("search",), "no candidate has a space to search: give one, or remove the search"
