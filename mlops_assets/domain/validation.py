"""The contract on incoming rows, as a pandera schema: all failures at once, no row lost.

Rows that break it are set apart with every reason; the others come out in the contract's types.
Rules over several columns follow SQL's CHECK: a rule refuses the rows for which it is false, and
where a missing number or boolean leaves it open, the row passes. A missing category equals no
text, as in pandas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlops_assets.domain.contract import MISSING_CATEGORY, ColumnType
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.labels import row_weights
from mlops_assets.domain.rows import ColumnRule, LabelRule, RowRule, RowsContract

REASONS = "reasons"
NAN = float("nan")
# Whole numbers travel as float64, which holds every one up to here and no further.
LARGEST_INTEGER = 2**53
DTYPES: Mapping[ColumnType, str] = {
    "number": "float64",
    "integer": "Int64",
    "category": "object",
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Validated:
    """`valid` rows in the contract's types; `rejected` rows as they came, with `reasons`.

    `failures` counts the rows per reason; a row may have several.
    """

    valid: pd.DataFrame
    rejected: pd.DataFrame
    failures: Mapping[str, int]

    @property
    def rejected_share(self) -> float:
        """Share of bad rows; 0 when there are none at all."""
        total = len(self.valid) + len(self.rejected)
        return len(self.rejected) / total if total else 0.0


def validate(rows: pd.DataFrame, contract: RowsContract) -> Validated:
    """Split `rows` into good and bad ones.

    Of rows with equal keys the first good one stays. Raises DataError when a column is missing
    or a rule cannot be evaluated: that is no fault of single rows.
    """
    rows = rows.reset_index(drop=True)
    needed = [rule.name for rule in contract.columns] + list(contract.required)
    if contract.label is not None:
        needed += [name for name in (contract.label.column, contract.label.known_at) if name]
    needed += [contract.weight] if contract.weight else []
    missing = sorted(set(needed) - set(rows.columns))
    if missing:
        raise DataError(
            f"the rows have no column {missing[0]!r} (they have {', '.join(rows.columns)}): the "
            "source's schema has changed; correct the source or the columns in defs.yaml."
        )
    typed, reasons = _typed(rows, contract.columns)
    broken = {(row, reason.split(":")[0]) for row, reason in reasons}
    reasons += [
        (row, reason)
        for row, reason in _schema_failures(typed, contract)
        # A value that could not be brought to its type is not missing.
        if (row, reason.split(":")[0]) not in broken
    ]
    for rule in contract.checks:
        reasons += _rule_failures(typed, rule, contract.columns)
    if contract.label is not None:
        reasons += _label_failures(rows, contract.label)
    if contract.weight:
        reasons += _weight_failures(rows[contract.weight])
    reasons += _repeated(typed, contract.keys, _by_row(reasons, len(rows))[0])
    bad, texts = _by_row(reasons, len(rows))
    rejected = rows[bad].copy()
    rejected[REASONS] = np.array(texts, dtype=object)  # text also where there is none
    return Validated(
        valid=_final_types(typed[~bad], contract.columns).reset_index(drop=True),
        rejected=rejected.reset_index(drop=True),
        failures=_count(reasons),
    )


def _typed(
    rows: pd.DataFrame, rules: Sequence[ColumnRule]
) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Bring columns to their types; a value that can't be brought becomes a reason."""
    typed = rows.copy()
    reasons: list[tuple[int, str]] = []
    for rule in rules:
        series = rows[rule.name]
        if rule.type == "category":
            typed[rule.name] = _texts(series)
            reserved = typed[rule.name] == MISSING_CATEGORY
            reasons += [
                (int(row), f"{rule.name}: {MISSING_CATEGORY!r} stands for a missing value")
                for row in np.flatnonzero(reserved)
            ]
            continue
        numbers = _numbers(series)
        broken = numbers.isna() & series.notna()
        if rule.type in ("integer", "boolean"):
            broken |= numbers.notna() & ((numbers % 1 != 0) | (numbers.abs() > LARGEST_INTEGER))
        if rule.type == "boolean":
            broken |= numbers.notna() & ~numbers.isin((0, 1))
        broken |= np.isinf(numbers)
        reasons += [
            (int(row), f"{rule.name}: {str(series[row])[:40]!r} is no {rule.type}")
            for row in np.flatnonzero(broken)
        ]
        typed[rule.name] = numbers.where(~broken)
    return typed, reasons


def _numbers(series: pd.Series) -> pd.Series:
    """The values as float64, NaN for those that are none."""
    if series.dtype.kind in "mM":
        return pd.Series(NAN, index=series.index)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iuf":
        return series.astype("float64")
    return pd.to_numeric(series, errors="coerce").astype("Float64").astype("float64")


def _texts(series: pd.Series) -> pd.Series:
    """The categories' texts, None for a missing one."""
    text = series.astype("object")
    if pd.api.types.infer_dtype(text, skipna=True) != "string":
        text = text.map(_text, na_action="ignore").astype("object")
    return text.where(series.notna(), None) if series.hasnans else text


def _text(value: object) -> str:
    """A category's text; a whole number that became a float on the way loses its `.0`."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _schema_failures(typed: pd.DataFrame, contract: RowsContract) -> list[tuple[int, str]]:
    import pandera.errors as pandera_errors

    try:
        _schema(contract).validate(typed, lazy=True)
    except pandera_errors.SchemaErrors as error:
        cases = error.failure_cases
        cases = cases[cases["index"].notna()]
        return [
            (int(index), _reason(str(column), str(check), case))
            for index, column, check, case in zip(
                cases["index"], cases["column"], cases["check"], cases["failure_case"], strict=True
            )
        ]
    return []


def _reason(column: str, check: str, case: object) -> str:
    if check == "not_nullable":
        return f"{column}: missing, but not nullable"
    return f"{column}: {str(case)[:40]!r} is outside {check}"


def _rule_failures(
    typed: pd.DataFrame, rule: RowRule, columns: Sequence[ColumnRule]
) -> list[tuple[int, str]]:
    # Others cannot be meant.
    typed = typed[[name for name in typed.columns if str(name) in rule.expression]]
    # In these types a comparison with a missing number is missing itself, not false.
    kinds = {name: "Float64" for name in typed.columns if typed[name].dtype.kind == "f"}
    known = [c for c in columns if c.name in typed.columns]
    kinds |= {c.name: "boolean" if c.type == "boolean" else "Float64" for c in known}
    kinds |= {c.name: "object" for c in known if c.type == "category"}
    try:
        held = typed.astype(kinds).eval(rule.expression)
    except Exception as error:  # pandas raises errors of every kind for what it cannot evaluate
        raise DataError(
            f"rule {rule.name!r} cannot be evaluated: {rule.expression!r} gives "
            f"{type(error).__name__}: {error}; correct validation.checks in defs.yaml."
        ) from error
    if not isinstance(held, pd.Series) or not pd.api.types.is_bool_dtype(held.dtype):
        raise DataError(
            f"rule {rule.name!r} gives no truth value per row: {rule.expression!r} must compare "
            "columns; correct validation.checks in defs.yaml."
        )
    failed = ~held.astype("boolean").fillna(True).to_numpy(dtype=bool)
    return [(int(row), f"rule {rule.name!r} does not hold") for row in np.flatnonzero(failed)]


def _label_failures(rows: pd.DataFrame, rule: LabelRule) -> list[tuple[int, str]]:
    """Labels that are no numbers, or that were known before what they are about."""
    reasons = []
    if rule.numeric:
        truth = rows[rule.column]
        broken = pd.to_numeric(truth, errors="coerce").isna() & truth.notna()
        reasons += [
            (int(row), f"{rule.column}: the label {str(truth[row])[:40]!r} is no number")
            for row in np.flatnonzero(broken)
        ]
    if rule.known_at:
        told = rows[rule.known_at]
        known = _times(told)
        event = _times(rows[rule.event_time])
        # A date without a time of day may be that of the event.
        early = known < (event if told.dtype.kind == "M" else event.dt.floor("D"))
        broken = known.isna() & told.notna()
        reasons += [
            (int(row), f"{rule.known_at}: {str(told[row])[:40]!r} is no time")
            for row in np.flatnonzero(broken)
        ]
        reasons += [
            (int(row), f"{rule.known_at}: {str(told[row])[:40]!r} is before {rule.event_time}")
            for row in np.flatnonzero(early)
        ]
    return reasons


def _times(series: pd.Series) -> pd.Series:
    """The values as times in UTC; NaT for those that are none."""
    # Pandas' cache, of use for text, takes longer to consider than times to convert.
    return pd.to_datetime(series, errors="coerce", utc=True, cache=series.dtype.kind != "M")


def _weight_failures(weights: pd.Series) -> list[tuple[int, str]]:
    return [
        (int(row), f"{weights.name}: the weight {str(weights[row])[:40]!r} is no number above 0")
        for row in np.flatnonzero(row_weights(weights).isna())
    ]


def _repeated(typed: pd.DataFrame, keys: Sequence[str], bad: np.ndarray) -> list[tuple[int, str]]:
    """Rows whose key stands in an earlier row; for a good row, in an earlier good one."""
    if not keys:
        return []
    key = typed[list(keys)]
    repeated = key.duplicated().to_numpy() & bad
    repeated[~bad] = key[~bad].duplicated().to_numpy()
    return [(int(row), "key: appears more than once") for row in np.flatnonzero(repeated)]


def _schema(contract: RowsContract) -> "pandera.DataFrameSchema":  # type: ignore[name-defined] # noqa: F821
    import pandera.pandas as pa

    columns = {}
    for rule in contract.columns:
        checks = []
        if rule.min is not None:
            checks.append(pa.Check.greater_than_or_equal_to(rule.min))
        if rule.max is not None:
            checks.append(pa.Check.less_than_or_equal_to(rule.max))
        if rule.categories:
            checks.append(pa.Check.isin(list(rule.categories)))
        columns[rule.name] = pa.Column(None, checks, nullable=rule.nullable)
    for name in contract.required:
        columns[name] = pa.Column(None, nullable=False)
    return pa.DataFrameSchema(columns)


def _by_row(reasons: Sequence[tuple[int, str]], rows: int) -> tuple[np.ndarray, list[str]]:
    texts: dict[int, list[str]] = {}
    for row, reason in reasons:
        if reason not in texts.setdefault(row, []):
            texts[row].append(reason)
    bad = np.zeros(rows, dtype=bool)
    bad[list(texts)] = True
    return bad, ["; ".join(texts[row]) for row in sorted(texts)]


def _count(reasons: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Rows per kind of failure: the column or rule, not the single value."""
    rows: dict[str, set[int]] = {}
    for row, reason in reasons:
        rows.setdefault(reason.split(":")[0], set()).add(row)
    return {kind: len(found) for kind, found in sorted(rows.items())}


def _final_types(rows: pd.DataFrame, rules: Sequence[ColumnRule]) -> pd.DataFrame:
    final = rows.copy()
    for rule in rules:
        # Numbers are float64 already.
        if rule.type in ("integer", "boolean"):
            final[rule.name] = final[rule.name].astype("Int64")
        if rule.type == "boolean":
            final[rule.name] = final[rule.name].astype("boolean")
    return final
