"""Columns as they may be drawn: few rows, few levels, harmless text.

What arrives in requests is unbounded: thousands of levels, texts of any length and content,
numbers near the largest float. A picture needs none of that and must survive all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.errors import DataError

MOST_LEVELS = 20
MOST_CHARACTERS = 40
# Histograms of wider ranges overflow.
LARGEST = 1e100
# Look-alikes (single angle quotation marks, full-width ampersand, set minus, modifier grave): the
# same text to a reader, but never markup, an entity, an escape or the end of a script.
HARMLESS = str.maketrans("<>&\\`", "\u2039\u203a\uff06\u2216\u02cb")


@dataclass(frozen=True)
class Drawn:
    """Two pandas DataFrames with the same columns: `numbers` (float64) and `categories` (text).

    `names` maps each original column name to the one in the frames.
    """

    reference: Any
    current: Any
    names: dict[str, str]
    numbers: tuple[str, ...]
    categories: tuple[str, ...]


def safe_text(text: object) -> str:
    """Text that no HTML, script or plot label interprets, on one line, of bounded length."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * MOST_CHARACTERS])
    line = " ".join(line.split())
    if len(line) > MOST_CHARACTERS or len(str(text)) > 4 * MOST_CHARACTERS:
        line = line[: MOST_CHARACTERS - 1] + "…"
    return line.translate(HARMLESS)


def drawn_columns(
    reference: Mapping[str, np.ndarray], current: Mapping[str, np.ndarray], rows: int, seed: int
) -> Drawn:
    """Sample at most `rows` rows of each side and make every name and value drawable.

    A column without any number on one side is drawn as present or missing. Raises DataError if
    the sides have different columns, or one has no rows.
    """
    import pandas as pd

    if reference.keys() != current.keys() or not reference:
        raise DataError(
            f"reference and current must have the same columns, one at least; they differ in "
            f"{sorted(reference.keys() ^ current.keys())}"
        )
    before, after = _sampled(reference, rows, seed), _sampled(current, rows, seed + 1)
    names = _unique_names(list(reference))
    frames: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    numbers, categories = [], []
    for name, shown in names.items():
        old, new = before[name], after[name]
        if _has_numbers(old) and _has_numbers(new):
            numbers.append(shown)
            frames[0][shown], frames[1][shown] = _bounded(old), _bounded(new)
        else:
            categories.append(shown)
            frames[0][shown], frames[1][shown] = _levels(_as_text(old), _as_text(new))
    return Drawn(
        pd.DataFrame(frames[0]), pd.DataFrame(frames[1]), names, tuple(numbers), tuple(categories)
    )


def _sampled(columns: Mapping[str, np.ndarray], rows: int, seed: int) -> dict[str, np.ndarray]:
    total = len(next(iter(columns.values())))
    if not total:
        raise DataError("a drift report needs at least one row on each side, found none")
    # A single row is drawn twice: Evidently computes variances, which need two.
    picked = np.arange(total) if total > 1 else np.zeros(2, dtype=int)
    if total > rows:
        picked = np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
    return {name: np.asarray(values)[picked] for name, values in columns.items()}


def _unique_names(names: list[str]) -> dict[str, str]:
    """Harmless names, numbered where two became the same."""
    shown: dict[str, str] = {}
    for name in names:
        base = text = safe_text(name) or "unnamed"
        count = 1
        while text in shown.values():
            count += 1
            text = f"{base} ({count})"
        shown[name] = text
    return shown


def _has_numbers(values: np.ndarray) -> bool:
    return values.dtype != object and bool(np.isfinite(values).any())


def _bounded(values: np.ndarray) -> np.ndarray:
    numbers = values.astype(np.float64)
    return np.where(np.isfinite(numbers), np.clip(numbers, -LARGEST, LARGEST), np.nan)


def _as_text(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return values
    return np.where(np.isfinite(values), "present", MISSING_CATEGORY).astype(object)


def _levels(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Harmless texts, of which the rarest share one level."""
    import pandas as pd

    both = pd.Series(np.concatenate([before, after]))
    codes, levels = pd.factorize(both, sort=False)
    texts = ["missing" if level == MISSING_CATEGORY else safe_text(level) for level in levels]
    common = set(pd.Series(codes).value_counts().index[:MOST_LEVELS])
    others = f"{len(levels) - MOST_LEVELS:,} other levels"
    names = [text if code in common else others for code, text in enumerate(texts)]
    labelled = np.array([*names, "missing"], dtype=object)[codes]
    return labelled[: len(before)], labelled[len(before) :]
