"""Harm in a part of the rows, which the mean over all of them hides.

A concept rarely changes everywhere: it changes for one carrier, in one store, above some price.
The rows are cut along each input (quarters of its numbers, its most frequent levels, as they were
in the release's holdout), and in each segment the answers are compared with what the model itself
expects of them. For a classification that is Spiegelhalter's statistic of the Brier score
(Probabilistic prediction in patient management, Statistics in Medicine 1986), taken per segment:
its mean under the model's own probabilities is 0 and its variance known, so neither an uneven mix
of easy and hard rows nor a small holdout adds noise. What a segment's excess was on the holdout
is deducted: a model that was never calibrated there does no new harm. For a regression, which
tells no probabilities, it is the loss itself against that of the holdout. Testing many segments is
paid for by Bonferroni's correction, and that rows close in time share a fate by a variance
between blocks of time. (Cutting along single inputs: Chung et al., Slice Finder,
ICDE 2019.)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import ContractColumn, Task
from mlops_assets.domain.encoding import EncodedColumn, Encoding, fit_encoding
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import UNKNOWN_CLASS, Floats, relative

# Four parts of a column: finer ones find smaller segments and pay for more tests.
PARTS = 4
# Below so many rows a mean is no normal variable, and the model's variance is too rough.
LEAST_HELD, LEAST_ROWS = 60, 20
# Equal parts of a period whose rows may share a fate: the days of a week.
TIME_BLOCKS = 7
# The p-value of Cochran's Q below which segments are taken to vary from block to block; an
# estimate where they don't would only hide harm.
UNEVEN = 0.02


@dataclass(frozen=True)
class Excess:
    """How much worse each row's answer (n,) was than the model expected.

    `variances` (n,) are those that the model's own probabilities imply; None for a regression.
    """

    values: Floats
    variances: Floats | None


@dataclass(frozen=True)
class SegmentReference:
    """Per segment of the release's holdout: rows, mean and variance of the excess.

    All follow the indicators of `encoding`. `between` is how much a segment's mean varies from
    block to block of time beyond what its rows explain, `uneven` how unevenly its rows lie on the
    blocks (`_unevenness`). `loss` is the holdout's mean loss, half the Brier score or the absolute
    error, in units of the excess.
    """

    loss: float
    encoding: Encoding
    rows: tuple[int, ...]
    means: tuple[float, ...]
    variances: tuple[float, ...]
    between: tuple[float, ...]
    uneven: tuple[float, ...]

    def to_json(self) -> bytes:
        """Serialise, with sorted keys so that equal references have equal bytes."""
        found = {**asdict(self), "encoding": json.loads(self.encoding.to_json())}
        return json.dumps(found, sort_keys=True).encode()

    @classmethod
    def from_json(cls, raw: bytes | str) -> "SegmentReference":
        """Read what `to_json` wrote. Raises DataError for anything else."""
        try:
            found = json.loads(raw)
            return cls(
                loss=float(found["loss"]),
                encoding=Encoding.from_json(json.dumps(found["encoding"])),
                rows=tuple(found["rows"]),
                means=tuple(found["means"]),
                variances=tuple(found["variances"]),
                between=tuple(found["between"]),
                uneven=tuple(found["uneven"]),
            )
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"not a reference of segments, write it again: {error!r}") from error


@dataclass(frozen=True)
class SegmentHarm:
    """The segment where the answers got worse most surely, and how much: `excess` against `held`.

    `rows` counts its labelled rows; `p_value` is the segment's own and `limit` what Bonferroni's
    correction for `tested` segments asks for. `measure` says what the excess is one of.
    """

    column: str
    segment: str
    rows: int
    measure: str
    excess: float
    held: float
    p_value: float
    limit: float
    tested: int

    @property
    def reason(self) -> str:
        """In words."""
        return (
            f"{self.measure} {self.excess:.4f} in the {self.rows} rows with {self.segment}, "
            f"{self.held:.4f} at the release: p = {self.p_value:.2g} (limit {self.limit:.2g}, "
            f"{self.tested} segments)"
        )


@dataclass(frozen=True)
class Segments:
    """What a period's segments are compared with, and the inputs of its rows.

    `columns` are arrays (n,) of the labelled rows, `missing` (m,) of those without a label; None
    if there are none. `blocks` (n,) say in which block of time (`time_blocks`) a row lies.
    """

    reference: SegmentReference
    columns: Mapping[str, NDArray[Any]]
    blocks: NDArray[np.intp]
    missing: Mapping[str, NDArray[Any]] | None = None


def excess_of(
    task: Task, y: NDArray[Any], outputs: NDArray[Any], weights: NDArray[Any] | None = None
) -> Excess:
    """Compare answers with what the model expects of them; arguments as evaluation.row_losses.

    For a classification the excess of half the Brier score: the probability that the true class
    was given, short of the one that it is given on average if the probabilities are right.
    """
    counts = relative(weights, len(y))
    if task == "regression":
        losses = np.abs(np.asarray(y, dtype=np.float64) - outputs[:, 0]) * counts
        return Excess(losses, None)
    told = outputs[np.arange(len(y)), np.asarray(y, dtype=np.int64)]
    told = np.where(y == UNKNOWN_CLASS, 0.0, told)
    expected = (outputs**2).sum(axis=1)
    variances = np.maximum((outputs**3).sum(axis=1) - expected**2, 0.0)
    return Excess((expected - told) * counts, variances * counts**2)


def least_excess(task: Task, outputs: NDArray[Any]) -> Floats:
    """The least excess (m,) that each row can have, whatever its label: `outputs` (m, k)."""
    if task == "regression" or not len(outputs):
        return np.zeros(len(outputs))
    return np.asarray((outputs**2).sum(axis=1) - outputs.max(axis=1), dtype=np.float64)


def segment_reference(
    task: Task,
    y: NDArray[Any],
    outputs: NDArray[Any],
    columns: Mapping[str, NDArray[Any]],
    contract_columns: Sequence[ContractColumn],
    *,
    blocks: NDArray[np.intp],
    weights: NDArray[Any] | None = None,
) -> SegmentReference:
    """Cut a release's holdout into segments, along the inputs named by `contract_columns`.

    `blocks` (n,) say in which block of time each row lies, of all the holdout's periods.
    """
    encoding = fit_encoding(
        columns,
        {c.name: "category" if c.type == "category" else "numeric" for c in contract_columns},
        bins=PARTS,
        levels=PARTS,
    )
    excess = excess_of(task, y, outputs, weights)
    rows, sums, squares = _sums(encoding, columns, excess.values, excess.values**2)
    means = sums / np.maximum(rows, 1)
    expected = 0.0 if task == "regression" else float((1 - (outputs**2).sum(axis=1)).mean()) / 2
    variances = np.maximum(squares / np.maximum(rows, 1) - means**2, 0.0)
    if excess.variances is not None:
        (_, modelled) = _sums(encoding, columns, excess.variances)
        within = np.maximum(variances, modelled / np.maximum(rows, 1))
    else:
        within = variances
    counts, summed = _by_block(encoding, columns, excess.values, blocks)
    return SegmentReference(
        loss=float(excess.values.mean()) + expected,
        encoding=encoding,
        rows=tuple(int(n) for n in rows),
        means=tuple(means.tolist()),
        variances=tuple(variances.tolist()),
        between=tuple(_between(encoding, counts, summed, within).tolist()),
        uneven=tuple(_unevenness(counts).tolist()),
    )


def time_blocks(times: NDArray[Any], start: datetime, end: datetime) -> NDArray[np.intp]:
    """In which of the equal parts of a period, from 0, each of its `times` (n,) in UTC lies."""
    first, last = (np.datetime64(one.astimezone(UTC).replace(tzinfo=None)) for one in (start, end))
    place = (times - first) / (last - first) * TIME_BLOCKS
    return np.clip(np.floor(place), 0, TIME_BLOCKS - 1).astype(np.intp)


def _by_block(
    encoding: Encoding,
    columns: Mapping[str, NDArray[Any]],
    values: Floats,
    blocks: NDArray[np.intp],
) -> tuple[Floats, Floats]:
    """Rows and sums of the values per block and segment: arrays (blocks, segments)."""
    found = []
    for block in np.unique(blocks):
        mine = blocks == block
        part = {c.name: columns[c.name][mine] for c in encoding.columns}
        found.append(_sums(encoding, part, values[mine]))
    rows, sums = zip(*found, strict=True)
    return np.stack(rows), np.stack(sums)


def _unevenness(counts: Floats) -> Floats:
    """Of what one block's own deviation adds to the variance of a segment's mean: 1 / blocks
    where the rows of `counts` (blocks, segments) are spread evenly, 1 if all lie in one.
    """
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    return np.asarray((shares**2).sum(axis=0))


def _between(encoding: Encoding, rows: Floats, sums: Floats, within: Floats) -> Floats:
    """Variance of each segment's mean from block to block, beyond that of its rows' mean.

    The rows of a period are not independent: a stormy day is a segment of its week. Estimated
    by moments (DerSimonian and Laird, Controlled Clinical Trials 1986) over the segments of a
    column, and at least what it is over all columns together.
    """
    total = np.maximum(rows.sum(axis=0), 1)
    used = (rows.sum(axis=0) >= LEAST_HELD) & (within > 0)
    deviation = (sums / np.maximum(rows, 1) - sums.sum(axis=0) / total) ** 2
    scale = np.where(used, 1 / np.maximum(within, 1e-300), 0.0)
    spread = scale * ((rows * deviation).sum(axis=0))
    free = np.where(used, (rows > 0).sum(axis=0) - 1, 0)
    weight = scale * (total - (rows**2).sum(axis=0) / total)
    found, at = np.full(len(within), _moments(spread, free, weight)), 0
    for column in encoding.columns:
        part = slice(at, at + column.width)
        found[part] = np.maximum(found[part], _moments(spread[part], free[part], weight[part]))
        at += column.width
    return found


def _moments(spread: Floats, free: NDArray[Any], weight: Floats) -> float:
    """The variance between blocks of these segments; 0 unless Cochran's Q shows that they vary."""
    from scipy.special import chdtrc

    found, expected = float(spread.sum()), int(free.sum())
    if not expected or chdtrc(expected, found) >= UNEVEN:
        return 0.0
    return (found - expected) / float(weight.sum())


def harmed_segment(
    segments: Segments,
    excess: Excess,
    *,
    rate: float,
    min_harm: float,
    least: Floats | None = None,
    usual_coverage: float = 1.0,
) -> SegmentHarm | None:
    """The segment that surely got worse, of several the surest; None if there is none.

    In an unchanged world the share of periods with one is at most about `rate`. What a segment
    adds to the loss of all rows has to reach `min_harm` of the release's loss. Labels that can
    still be expected (`usual_coverage` is the share of rows that ever get one) are counted in each
    segment by itself, as if the model had been right there: `least` (m,) is the excess that the
    rows without label then have (`least_excess`).
    """
    from scipy.special import ndtr

    reference = segments.reference
    held, means = np.array(reference.rows), np.array(reference.means)
    by_model = excess.variances if excess.variances is not None else np.zeros(len(excess.values))
    rows, sums, squares, modelled = _sums(
        reference.encoding, segments.columns, excess.values, excess.values**2, by_model
    )
    tested = np.flatnonzero((held >= LEAST_HELD) & (rows >= LEAST_ROWS))
    if not len(tested):
        return None
    found = sums / np.maximum(rows, 1)
    if segments.missing is not None and least is not None:
        found = _at_best(
            found, rows, usual_coverage, *_sums(reference.encoding, segments.missing, least)
        )
    held, means, rows, found = held[tested], means[tested], rows[tested], found[tested]
    spread = modelled[tested] / rows
    if excess.variances is None:
        spread = squares[tested] / rows - (sums[tested] / rows) ** 2
    variance = np.maximum(np.maximum(np.array(reference.variances)[tested], spread), 1e-12)
    counts, _ = _by_block(reference.encoding, segments.columns, excess.values, segments.blocks)
    uneven = _unevenness(counts) + np.array(reference.uneven)
    between = (np.array(reference.between) * uneven)[tested]
    p_values = ndtr(-(found - means) / np.sqrt(variance * (1 / rows + 1 / held) + between))
    added = (found - means) * rows / len(excess.values)
    limit = rate / len(tested)
    harmed = (p_values < limit) & (added >= min_harm * reference.loss)
    if not harmed.any():
        return None
    worst = int(np.flatnonzero(harmed)[p_values[harmed].argmin()])
    column, segment = _named(reference.encoding, int(tested[worst]))
    return SegmentHarm(
        column=column,
        segment=segment,
        rows=int(rows[worst]),
        measure="loss" if excess.variances is None else "Brier score above the expected",
        excess=float(found[worst]),
        held=float(means[worst]),
        p_value=float(p_values[worst]),
        limit=limit,
        tested=len(tested),
    )


def _at_best(
    found: Floats, rows: Floats, usual_coverage: float, missing: Floats, least: Floats
) -> Floats:
    """Mean excess per segment if each label that is still to come proved the model right.

    Who lacks a label yet may be concentrated in few segments, so each has its own share.
    """
    coverage = rows / np.maximum(rows + missing, 1)
    outstanding = np.maximum(0.0, 1 - coverage / usual_coverage)
    best = np.minimum(least / np.maximum(missing, 1), found)
    return np.asarray((1 - outstanding) * found + outstanding * best)


def _sums(
    encoding: Encoding, columns: Mapping[str, NDArray[Any]], *values: Floats
) -> tuple[Floats, ...]:
    """Rows per segment, then the sum of each of the `values` (n,): arrays (segments,)."""
    parts: list[list[NDArray[Any]]] = [[] for _ in range(len(values) + 1)]
    for column in encoding.columns:
        codes = column.codes(columns[column.name])
        for part, weights in zip(parts, (None, *values), strict=True):
            part.append(np.bincount(codes, weights, column.width).astype(np.float64))
    return tuple(np.concatenate(part) if part else np.empty(0) for part in parts)


def _named(encoding: Encoding, place: int) -> tuple[str, str]:
    """The column and the segment's name, as a person reads it."""
    for column in encoding.columns:
        if place < column.width:
            return column.name, _segment(column, place)
        place -= column.width
    raise DataError(f"no segment {place}: the encoding has {encoding.width - 1}")


def _segment(column: EncodedColumn, place: int) -> str:
    if column.kind == "category":
        if place < len(column.levels):
            return f"{column.name} = {column.levels[place]}"
        return f"{column.name} none of {', '.join(column.levels)}"
    if place > len(column.edges):
        return f"{column.name} missing"
    low = f"{column.edges[place - 1]:.6g} <= " if place else ""
    high = f" < {column.edges[place]:.6g}" if place < len(column.edges) else ""
    return f"{low}{column.name}{high}"
