"""What a model's `defs.yaml` may say about columns that are computed inside the pipeline.

All of them are steps of the fitted pipeline and convert to ONNX; what does not convert is not
offered.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal
from zoneinfo import available_timezones

from pydantic import Field

from mlops_assets.domain.contract import ColumnType, TimePart
from mlops_assets.spec.part import Part

Kind = Literal[
    "difference",
    "sum",
    "ratio",
    "product",
    "cyclical",
    "log1p",
    "bins",
    "frequent",
    "target_mean",
    "hour",
    "weekday",
    "month",
]
OF_TWO = ("difference", "ratio", "product")
OF_CATEGORIES = ("frequent", "target_mean")
# What these are of a row depends on the rows that a version was trained on.
LEARNED = OF_CATEGORIES
OF_TIME: tuple[TimePart, ...] = ("hour", "weekday", "month")


class Derived(Part):
    """A column computed from others inside the fitted pipeline."""

    name: str = Field(description="Name of the new column.")
    kind: Kind = Field(
        description="Of numbers: difference a-b, sum a+b+…, ratio a/b, product a*b, log1p of a, "
        "cyclical (sine and cosine of a over `cycle`), bins (the number of `edges`, or of "
        "quantiles of the training rows, that a reaches). Of a category: frequent (its level, the "
        "rare ones taken together), target_mean (the mean of the label at its level, smoothed, "
        "cross-fitted in training). Of the event time, which requests must then bring: hour (0 to "
        "23), weekday (0 is Monday), month (1 to 12); later rules may use them, as for a cycle."
    )
    columns: tuple[str, ...] = Field(
        default=(),
        description="One column; two for difference, ratio and product, two or more for sum; "
        "none for parts of the event time.",
    )
    zone: str = Field(
        default="UTC",
        description="hour, weekday, month: the time zone whose clocks count, as America/New_York.",
    )
    cycle: float | None = Field(default=None, gt=0, description="cyclical: length of a cycle.")
    edges: tuple[float, ...] = Field(
        default=(), description="bins: where they meet, ascending; a value on an edge is above it."
    )
    quantiles: int | None = Field(
        default=None, ge=2, le=255, description="bins: instead of edges, so many equally full ones."
    )
    min_share: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="frequent: levels with a smaller share of the training rows are rare.",
    )
    keep: bool | None = Field(
        default=None,
        description="Whether the estimator also sees the columns themselves. Unless said, it does, "
        "except for those of frequent and target_mean, which take their place.",
    )

    @property
    def replaces(self) -> bool:
        """Whether the estimator no longer sees the columns themselves."""
        return self.kind in OF_CATEGORIES if self.keep is None else not self.keep

    def as_step(self) -> dict[str, Any]:
        """What `domain.features.pipeline` makes a step from."""
        return {**self.model_dump(), "replaces": self.replaces}

    @property
    def part(self) -> TimePart | None:
        """Which part of the event time it is; None if it is none."""
        return next((part for part in OF_TIME if part == self.kind), None)

    @property
    def is_learned(self) -> bool:
        """Whether the values depend on the rows that a version was trained on."""
        return self.kind in LEARNED or (self.kind == "bins" and not self.edges)

    @property
    def names(self) -> tuple[str, ...]:
        """The new column's name, and those of its parts."""
        parts = (f"{self.name}_sin", f"{self.name}_cos") if self.kind == "cyclical" else ()
        return (self.name, *parts)


def mistakes(rule: Derived, types: Mapping[str, ColumnType]) -> Iterator[tuple[str, str]]:
    """What is wrong with a derived column: the field's name, and what to do about it.

    `types` are those of the model's columns, and of the parts of the event time before it.
    """
    if rule.part is None:
        yield from _columns(rule, types)
    elif rule.columns:
        yield "columns", f"{rule.kind} is a part of the event time and takes no columns"
    if rule.zone not in available_timezones():
        yield "zone", f"{rule.zone!r} is no time zone; write one such as Europe/Berlin"
    if (rule.cycle is not None) != (rule.kind == "cyclical"):
        yield "cycle", "cyclical needs `cycle`, the length of one round; no other kind has one"
    if rule.kind == "bins":
        if bool(rule.edges) == bool(rule.quantiles):
            yield "edges", "bins need either `edges` or `quantiles`"
        if list(rule.edges) != sorted(set(rule.edges)):
            yield "edges", f"edges must ascend, each once; {list(rule.edges)} do not"
    elif rule.edges or rule.quantiles:
        yield "edges" if rule.edges else "quantiles", f"only bins have them, not {rule.kind}"


def _columns(rule: Derived, types: Mapping[str, ColumnType]) -> Iterator[tuple[str, str]]:
    least = 2 if rule.kind in (*OF_TWO, "sum") else 1
    most = len(rule.columns) if rule.kind == "sum" else least
    if not least <= len(rule.columns) <= most:
        wanted = "2 or more columns" if rule.kind == "sum" else f"{least} column(s)"
        yield "columns", f"{rule.kind} takes {wanted}, {len(rule.columns)} given"
    of_category = rule.kind in OF_CATEGORIES
    fitting = [name for name, type_ in types.items() if (type_ == "category") == of_category]
    what = "category" if of_category else "numeric column"
    for name in rule.columns:
        if name not in fitting:
            yield (
                "columns",
                f"{name!r} is not a {what} of this model, as {rule.kind} needs; it has "
                f"{', '.join(fitting) or 'none'}",
            )
