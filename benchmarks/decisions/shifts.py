"""Shifts put into unchanging rows: what each policy notices, how soon, and what it retrains for.

The rows of a data set are shuffled, so that nothing changes by itself; a version is trained on one
half, and serves periods drawn from the other. After two quiet periods the shift begins and stays.
Harmful ones cost the served version 5 points of accuracy or more, harmless ones at most half a
point; each is made as strong as that needs, by trying it on rows that are not served.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.data import Table, load
from benchmarks.decisions.learner import TableLearner
from benchmarks.decisions.values import NAMES, run
from mlops_assets.domain.backtest import Replay, Training
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.evaluation import Floats

TRAINED, BEFORE, AFTER = 8, 2, 6
HARM, HARMLESS = 0.05, 0.005
TRIED_ROWS = 4_000
# A retrain costs what the version loses in one period: more rows alone don't pay for it, harm does.
PRICE_SHARE = 1.0

Columns = dict[str, NDArray[Any]]
Rows = tuple[Columns, NDArray[np.int64]]
# Changes rows of the shift's period j (0 is the first).
Shift = Callable[[Rows, int, np.random.Generator], Rows]


@dataclass(frozen=True)
class Outcome:
    """A policy on one shift: periods until it said anything, and whether it retrained within 6."""

    policy: str
    dataset: str
    shift: str
    harmful: bool
    n: int
    seed: int
    caught_after: int | None
    retrained: bool


@dataclass(frozen=True)
class _Judge:
    """The version that serves, and rows to try shifts on."""

    predict: Callable[[Columns], Floats]
    rows: Rows
    influence: Mapping[str, float]

    def cost(self, changed: Rows) -> float:
        """Accuracy that the version loses on the changed rows."""
        return self.accuracy(self.rows) - self.accuracy(changed)

    def accuracy(self, rows: Rows) -> float:
        return float(((self.predict(rows[0])[:, 1] > 0.5) == (rows[1] == 1)).mean())

    def missing(self, name: str) -> float:
        """Share of a column that is missing already."""
        values = self.rows[0][name]
        gone = values == MISSING_CATEGORY if values.dtype == object else np.isnan(values)
        return float(gone.mean())

    def columns(self, kind: str, *, strongest_first: bool) -> list[str]:
        found = [n for n in self.influence if (self.rows[0][n].dtype == object) == (kind != "f")]
        return sorted(found, key=lambda n: self.influence[n], reverse=strongest_first)


def outcomes(path: Path, n: int, seed: int) -> list[Outcome]:
    """Every policy on every shift that the data set allows, with `n` rows per period."""
    rng = np.random.default_rng([seed, n])
    table = load(path)
    order = rng.permutation(len(table.y))
    half = len(order) // 2
    trained, held = order[: min(half, TRAINED * n)], order[half:]
    judge = _judge(table, trained, held[:TRIED_ROWS], seed)
    found = []
    for name, (harmful, shift) in _shifts(judge, rng).items():
        learner = _learner(table, trained, held, n, seed, shift, rng)
        loss = learner.fit(Training(TRAINED)).reference.mean
        for policy in NAMES:
            told = run(learner, policy, PRICE_SHARE * loss * n, 0)
            found.append(
                Outcome(policy, table.name, name, harmful, n, seed, *_noticed(told, harmful))
            )
    return found


def _noticed(told: Replay, harmful: bool) -> tuple[int | None, bool]:
    steps = told.steps[BEFORE:]
    said = [j for j, s in enumerate(steps, 1) if s.decision and s.decision.action != "nothing"]
    return (said[0] if said else None), any(s.acted == "retrain" for s in steps[:6])


def _judge(table: Table, trained: NDArray[Any], tried: NDArray[Any], seed: int) -> _Judge:
    known = table.take(trained, _cuts(len(trained), TRAINED))
    learner = TableLearner(known, seed, first=TRAINED)

    def predict(columns: Columns) -> Floats:
        return learner.predict(Training(TRAINED), columns)

    here: Rows = ({n: v[tried] for n, v in table.columns.items()}, table.y[tried])
    rng = np.random.default_rng(seed)
    outputs = predict(_stacked([here[0], *(_permuted(here[0], n, rng) for n in table.columns)]))
    parts = np.split(outputs[:, 1], len(table.columns) + 1)
    influence = {
        name: float(np.abs(part - parts[0]).mean())
        for name, part in zip(table.columns, parts[1:], strict=True)
    }
    return _Judge(predict, here, influence)


def _shifts(judge: _Judge, rng: np.random.Generator) -> dict[str, tuple[bool, Shift]]:
    """The shifts that are as harmful, or as harmless, on this data as they should be."""
    harmful = {
        "unit bug": _unit_bug(judge),
        "label rate": _label_rate(judge, rng),
        "concept": _concept(judge),
    }
    harmless = {"harmless shift": _harmless(judge, rng), "90% missing": _missing(judge, rng)}
    found: dict[str, tuple[bool, Shift]] = {n: (True, s) for n, s in harmful.items() if s}
    found["decay"] = (True, _decay)
    return found | {n: (False, s) for n, s in harmless.items() if s}


def _unit_bug(judge: _Judge) -> Shift | None:
    """Numbers in another unit, as Fahrenheit for Celsius or metres for feet; strongest first."""
    chosen: list[str] = []
    for name in judge.columns("f", strongest_first=True):
        chosen.append(name)
        for factor, offset in ((1.8, 32.0), (0.3, 0.0), (10.0, 0.0)):
            shift = _linear(tuple(chosen), factor, offset)
            if judge.cost(shift(judge.rows, 0, np.random.default_rng(0))) >= HARM:
                return shift
    return None


def _linear(names: Sequence[str], factor: float, offset: float) -> Shift:
    def shift(rows: Rows, _: int, __: np.random.Generator) -> Rows:
        return {n: v * factor + offset if n in names else v for n, v in rows[0].items()}, rows[1]

    return shift


def _label_rate(judge: _Judge, rng: np.random.Generator) -> Shift | None:
    """One class becomes more frequent, in rows like those it had."""
    for cls in (0, 1):
        for share in (0.6, 0.7, 0.8, 0.9, 0.97):
            shift = _share_of(cls, share)
            if (
                share > (judge.rows[1] == cls).mean()
                and judge.cost(shift(judge.rows, 0, rng)) >= HARM
            ):
                return shift
    return None


def _share_of(cls: int, share: float) -> Shift:
    def shift(rows: Rows, _: int, rng: np.random.Generator) -> Rows:
        columns, y = rows
        weights = np.where(y == cls, share / max((y == cls).sum(), 1), 0.0)
        weights += np.where(y != cls, (1 - share) / max((y != cls).sum(), 1), 0.0)
        picked = rng.choice(len(y), len(y), p=weights / weights.sum())
        return {n: v[picked] for n, v in columns.items()}, y[picked]

    return shift


def _concept(judge: _Judge) -> Shift | None:
    """The same inputs mean the opposite, in a part of the space of the strongest column."""
    name = max(judge.influence, key=lambda n: judge.influence[n])
    codes = _order(judge.rows[0][name])
    for share in np.arange(0.05, 1.0, 0.05):
        limit = np.quantile(codes, 1 - share)
        shift = _flipped_above(name, limit)
        if judge.cost(shift(judge.rows, 0, np.random.default_rng(0))) >= HARM:
            return shift
    return None


def _flipped_above(name: str, limit: float) -> Shift:
    def shift(rows: Rows, _: int, __: np.random.Generator) -> Rows:
        columns, y = rows
        return columns, np.where(_order(columns[name]) >= limit, 1 - y, y)

    return shift


def _decay(rows: Rows, j: int, rng: np.random.Generator) -> Rows:
    """One more point of flipped labels with every period."""
    columns, y = rows
    return columns, np.where(rng.random(len(y)) < 0.01 * (j + 1), 1 - y, y)


def _harmless(judge: _Judge, rng: np.random.Generator) -> Shift | None:
    """A column that hardly matters moves by two standard deviations, or loses its other levels."""
    for name in judge.columns("f", strongest_first=False):
        numbers = judge.rows[0][name]
        if np.isfinite(numbers).any() and np.nanstd(numbers) > 0:
            shift = _linear((name,), 1.0, 2 * float(np.nanstd(numbers)))
            if abs(judge.cost(shift(judge.rows, 0, rng))) <= HARMLESS:
                return shift
    return None


def _missing(judge: _Judge, rng: np.random.Generator) -> Shift | None:
    """A column that hardly matters, and was mostly there, is missing in 90% of the rows."""
    order = sorted(judge.influence, key=lambda n: judge.influence[n])
    for name in order:
        shift = _blanked(name)
        if judge.missing(name) < 0.5 and abs(judge.cost(shift(judge.rows, 0, rng))) <= HARMLESS:
            return shift
    return None


def _blanked(name: str) -> Shift:
    def shift(rows: Rows, _: int, rng: np.random.Generator) -> Rows:
        columns, y = rows
        nothing = MISSING_CATEGORY if columns[name].dtype == object else np.nan
        gone = rng.random(len(y)) < 0.9
        return {**columns, name: np.where(gone, nothing, columns[name])}, y

    return shift


def _learner(
    table: Table,
    trained: NDArray[Any],
    held: NDArray[Any],
    n: int,
    seed: int,
    shift: Shift,
    rng: np.random.Generator,
) -> TableLearner:
    parts: list[Rows] = [({c: v[trained] for c, v in table.columns.items()}, table.y[trained])]
    for period in range(BEFORE + AFTER):
        picked = rng.choice(held, n)
        rows: Rows = ({c: v[picked] for c, v in table.columns.items()}, table.y[picked])
        parts.append(shift(rows, period - BEFORE, rng) if period >= BEFORE else rows)
    ends = len(trained) + n * np.arange(1, BEFORE + AFTER + 1)
    return TableLearner(
        Table(
            table.name,
            _stacked([columns for columns, _ in parts]),
            np.concatenate([y for _, y in parts]),
            np.concatenate([_cuts(len(trained), TRAINED), ends]),
        ),
        seed,
        first=TRAINED,
    )


def _cuts(rows: int, parts: int) -> NDArray[np.int64]:
    return np.linspace(0, rows, parts + 1).astype(np.int64)


def _stacked(parts: Sequence[Columns]) -> Columns:
    stacked = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
    return {n: v.astype(object) if v.dtype.kind in "OU" else v for n, v in stacked.items()}


def _permuted(columns: Columns, name: str, rng: np.random.Generator) -> Columns:
    return {**columns, name: rng.permutation(columns[name])}


def _order(values: NDArray[Any]) -> Floats:
    """Numbers as they are, missing as the least; levels in the order of their names."""
    if values.dtype == object:
        return np.array([hash_of(str(v)) for v in values])
    return np.asarray(np.nan_to_num(values, nan=-1e300), dtype=np.float64)


def hash_of(level: str) -> float:
    """A number in [0, 1) that is the same in every process."""
    from zlib import crc32

    return crc32(level.encode()) / 2**32
