"""What the rows behind a version were: the facts of its data sheet."""

from collections import Counter
from datetime import timedelta

import pandas as pd

from mlops_assets.domain.card import ColumnFacts, Rejections
from mlops_assets.domain.card_text import number
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.lake import Lake

# Of more levels none is named.
FEW_LEVELS = 12
NAMED_LEVELS = 6
# Levels rarer than this are not named: few rows can be about a person.
LEAST_SHARE = 0.01
HOUR = timedelta(hours=1)


def column_facts(spec: ModelSpec, name: str, values: pd.Series) -> ColumnFacts:
    """What the contract says of a column, and what its values (n,) are."""
    column = spec.columns[name]
    absent = values.isna() | (values == MISSING_CATEGORY)
    limits = [number(end) if end is not None else "…" for end in (column.min, column.max)]
    allowed = ", ".join(column.categories) or ("" if limits == ["…"] * 2 else " to ".join(limits))
    optional = "may be missing" if column.nullable else "required"
    return ColumnFacts(
        name=name,
        type=column.type,
        description=column.description,
        allowed=f"{allowed}; {optional}" if allowed else optional,
        missing=float(absent.mean()),
        values=_values(column.type, values[~absent]),
    )


def _values(kind: str, present: pd.Series) -> str:
    if present.empty:
        return "none"
    if kind not in ("category", "boolean"):
        low, middle, high = (number(float(q)) for q in present.quantile([0, 0.5, 1]))
        return f"{low} to {high}, median {middle}"
    shares = present.astype(str).value_counts(normalize=True)
    if len(shares) > FEW_LEVELS:
        return f"{len(shares):,} levels"
    named = shares[shares >= LEAST_SHARE].head(NAMED_LEVELS)
    told = ", ".join(f"{level} {share:.0%}" for level, share in named.items())
    rest = len(shares) - len(named)
    return told + (f", {rest} more" if rest else "")


def unseen(spec: ModelSpec, fitted: pd.DataFrame, holdout: pd.DataFrame) -> dict[str, float]:
    """Levels of the holdout that no fitted row has, with their share of the holdout's rows."""
    found: dict[str, float] = {}
    for name, column in spec.columns.items():
        if column.type != "category":
            continue
        known = set(fitted[name])
        for level, share in holdout[name].value_counts(normalize=True).items():
            if level not in known and share >= LEAST_SHARE:
                found[f"{name} = {level}"] = float(share)
    return found


def derived(spec: ModelSpec) -> tuple[str, ...]:
    """What is computed inside the pipeline or from the past, and from what."""
    past = (
        f"{rule.name}: {rule.told} in the {_span(rule.window)} before, by "
        f"{rule.entity or spec.entity}"
        for rule in spec.history
    )
    inside = (
        f"{rule.name}: {rule.kind} of "
        + (f"the event time in {rule.zone}" if rule.part else ", ".join(rule.columns))
        for rule in spec.derived
    )
    return (*past, *inside)


def _span(window: timedelta) -> str:
    """As people say it."""
    count, unit = (window.days, "day") if not window.seconds else (window / HOUR, "hour")
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def source(spec: ModelSpec) -> str:
    """Where rows come from, without what an address may hold of secrets."""
    where = spec.source
    if where.kind == "sql":
        return f"SQL table {where.table}"
    if where.kind == "duckdb":
        return f"DuckDB: {' '.join(where.query.split())}"
    if where.kind == "python":
        return f"the function {where.function} in {where.file}"
    return f"{where.kind}: {where.path}"


def rejections(model: Model, lake: Lake, periods: tuple[str, ...]) -> Rejections:
    """How many of the source's rows in these periods broke the contract, and why."""
    raw = lake.held(model.name, "raw_data")
    rows = sum(raw[period].rows for period in periods if period in raw)
    if not lake.exists(model.name, "rejected"):
        return Rejections(rows, 0)
    found = lake.read(model.name, "rejected", periods=list(periods), columns=["reasons"])
    counts: Counter[str] = Counter()
    for text in found["reasons"].to_pylist():
        # What stands behind the colon is a single row's value.
        counts.update({reason.split(":")[0] for reason in str(text).split("; ")})
    return Rejections(rows, found.num_rows, dict(counts))
