"""The contract on incoming rows, as a pandera schema: all failures at once, no row lost.

Rows that break it are set apart with every reason; the others come out in the contract's types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlops_assets.domain.contract import ColumnType
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.rows import ColumnRule, RowsContract

REASONS = "reasons"
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

    Raises DataError when a column is missing: that is no fault of single rows.
    """
    rows = rows.reset_index(drop=True)
    needed = [rule.name for rule in contract.columns] + list(contract.required)
    missing = sorted(set(needed) - set(rows.columns))
    if missing:
        raise DataError(
            f"the rows have no column {missing[0]!r} (they have {', '.join(rows.columns)}): the "
            "source's schema has changed; correct the source or the columns in defs.yaml."
        )
    typed, reasons = _typed(rows, contract.columns)
    reasons += _schema_failures(typed, contract)
    bad, texts = _by_row(reasons, len(rows))
    rejected = rows[bad].copy()
    rejected[REASONS] = texts
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
            typed[rule.name] = series.map(str, na_action="ignore").astype("object")
            typed[rule.name] = typed[rule.name].where(series.notna(), None)
            continue
        numbers = pd.to_numeric(series, errors="coerce").astype("Float64").astype("float64")
        broken = numbers.isna() & series.notna()
        if rule.type in ("integer", "boolean"):
            broken |= numbers.notna() & (numbers % 1 != 0)
        if rule.type == "boolean":
            broken |= numbers.notna() & ~numbers.isin((0, 1))
        broken |= np.isinf(numbers)
        reasons += [
            (int(row), f"{rule.name}: {str(series[row])[:40]!r} is no {rule.type}")
            for row in np.flatnonzero(broken)
        ]
        typed[rule.name] = numbers.where(~broken)
    return typed, reasons


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
    if check == "multiple_fields_uniqueness":
        return "key: appears more than once"
    if check.startswith(("in_range", "greater_than", "less_than", "isin")):
        return f"{column}: {str(case)[:40]!r} is outside {check}"
    return f"rule {check!r} does not hold"


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
    rules = [
        pa.Check(lambda frame, text=rule.expression: frame.eval(text), name=rule.name)
        for rule in contract.checks
    ]
    return pa.DataFrameSchema(
        columns,
        checks=rules,
        unique=list(contract.keys) or None,
        # The first of several equal keys stays; the others go to quarantine.
        report_duplicates="exclude_first",
    )


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
        if rule.type != "category":
            final[rule.name] = final[rule.name].astype(
                "Float64" if rule.type == "number" else "Int64"
            )
        if rule.type == "number":
            final[rule.name] = final[rule.name].astype("float64")
        if rule.type == "boolean":
            final[rule.name] = final[rule.name].astype("boolean")
    return final
