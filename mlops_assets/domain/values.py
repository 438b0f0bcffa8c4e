"""The values of one column of a request: typed arrays, or what is wrong with the first bad one.

Few values are looked at one by one; many take a few passes in C, and only if those find trouble
are the values looked at again to name the culprit. Standard library and numpy only.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import MISSING_CATEGORY, ContractColumn
from mlops_assets.domain.errors import RequestError

# Integers travel as float64, which holds every whole number up to here and no further.
LARGEST_INTEGER = 2**53
LARGEST_NUMBER = sys.float_info.max
# Below this many values, looking at each is cheaper than numpy's fixed costs.
FEW = 8

Check = Callable[[Any], str | None]


def read_column(column: ContractColumn, values: Sequence[Any]) -> Column:
    """One column of a request as float64, or as text, of shape (n,): many texts by their levels.

    None is missing: NaN, or MISSING_CATEGORY. Raises RequestError for the first bad value, with
    the field as `records[i].name`.
    """
    if len(values) > FEW:
        is_text = column.type == "category"
        found = _categories(values, column) if is_text else _numbers(values, column)
        if found is not None:
            return found
    check = _CHECKS[column.type]
    for index, value in enumerate(values):
        problem = check(value)
        if problem and value is None:
            problem = (
                None if column.nullable else f"must not be null; it is a required {column.type}"
            )
        if problem:
            raise RequestError(problem, f"records[{index}].{column.name}")
    if column.type == "category":
        return _text_array([MISSING_CATEGORY if value is None else value for value in values])
    return np.array(values, dtype=np.float64)


def _text_array(values: Sequence[str]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _categories(values: Sequence[Any], column: ContractColumn) -> Coded | None:
    """The column by its levels, or None where some value needs a closer look."""
    try:
        found = Coded.of(values)
    except TypeError:  # lists and objects cannot be told apart by their hash
        return None
    levels = found.values
    if None in levels:
        if not column.nullable or MISSING_CATEGORY in levels:
            return None
        levels = tuple(MISSING_CATEGORY if level is None else level for level in levels)
        found = Coded(found.codes, levels)
    elif MISSING_CATEGORY in levels:
        return None
    # No value that is not text equals one that is, so what holds of the levels holds of the rows.
    if set(map(type, levels)) != {str} or not is_portable("".join(levels)):
        return None
    return found


def _numbers(values: Sequence[Any], column: ContractColumn) -> np.ndarray | None:
    """The column as float64, or None where some value needs a closer look."""
    kinds = set(map(type, values))
    if not kinds <= _KINDS[column.type, column.nullable]:
        return None
    try:
        array = np.array(values, dtype=np.float64)  # None becomes NaN
    except OverflowError:
        return None
    present = array
    if not np.isfinite(array).all():
        present = array[np.isfinite(array)]
        if len(array) - len(present) != sum(value is None for value in values):
            return None
    if column.type == "integer" and not (_all_whole(present) and _all_exact(present)):
        return None
    if column.type == "boolean" and not ((present == 0) | (present == 1)).all():
        return None
    return array


_KINDS = {
    (kind, is_nullable): {int, float}
    | ({bool} if kind == "boolean" else set())
    | ({type(None)} if is_nullable else set())
    for kind in ("number", "integer", "boolean")
    for is_nullable in (True, False)
}


def _all_whole(array: np.ndarray) -> bool:
    return bool((np.floor(array) == array).all() and (np.abs(array) <= LARGEST_INTEGER).all())


def _all_exact(array: np.ndarray) -> bool:
    """Whether no value may have been rounded to the limit; only then a closer look is needed."""
    return not (np.abs(array) == LARGEST_INTEGER).any()


def _number_problem(value: Any) -> str | None:
    if type(value) not in (int, float):
        return f"must be a number, not {kind_of(value)}"
    if -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        return None
    return "must be a finite number that fits 64 bits"


def _integer_problem(value: Any) -> str | None:
    problem = _number_problem(value)
    if problem:
        return problem
    if value != math.floor(value):
        return "must be a whole number"
    return None if abs(value) <= LARGEST_INTEGER else "must lie between -2^53 and 2^53"


def _boolean_problem(value: Any) -> str | None:
    if type(value) in (bool, int, float) and value in (0, 1):
        return None
    return f"must be true or false, not {kind_of(value)}"


def _category_problem(value: Any) -> str | None:
    if type(value) is not str:
        return f"must be text, not {kind_of(value)}"
    if value == MISSING_CATEGORY:
        return "must not be the text that stands for a missing value; send null instead"
    return None if is_portable(value) else "must not hold a NUL character or half a surrogate"


_CHECKS: dict[str, Check] = {
    "number": _number_problem,
    "integer": _integer_problem,
    "boolean": _boolean_problem,
    "category": _category_problem,
}


def are_categories(texts: Sequence[str]) -> bool:
    """Whether all of them may be values of a category."""
    return MISSING_CATEGORY not in texts and is_portable("".join(texts))


def is_portable(text: str) -> bool:
    """Whether text survives C strings and UTF-8, which compiled models and logs need."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def kind_of(value: object) -> str:
    """The JSON name of a value's type; the value itself is never echoed."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
