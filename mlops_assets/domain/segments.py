"""Harm in a part of the rows, which the mean over all of them hides.

A concept rarely changes everywhere: it changes for one carrier, in one store, above some price.
The rows are cut along each input (quarters of its numbers, its most frequent levels, as they were
in the release's holdout), and in each segment the answers are compared with what the model itself
expects of them (`excess`). What a segment's excess was on the holdout is deducted: a model that was
never calibrated there does no new harm. Testing many segments is paid for by Bonferroni's
correction, and that rows close in time share a fate by a variance between them (`time_blocks`).
Cutting along inputs: Chung et al., Slice Finder, ICDE 2019.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import ContractColumn, Task
from mlops_assets.domain.encoding import EncodedColumn, Encoding, fit_encoding
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import Floats
from mlops_assets.domain.excess import Excess, excess_of
from mlops_assets.domain.time_blocks import between_blocks, unevenness

# Four parts of a column: finer ones find smaller segments and pay for more tests.
PARTS = 4
# Below so many rows a mean is no normal variable, and the model's variance is too rough.
LEAST_HELD, LEAST_ROWS = 60, 20


@dataclass(frozen=True)
class SegmentReference:
    """Per segment of the release's holdout: rows, mean and variance of the excess.

    All follow the indicators of `encoding`. `between` is how much a segment's mean varies from
    block to block of time beyond what its rows explain, `uneven` how unevenly its rows lie on the
    blocks (`time_blocks.unevenness`). `loss` is the holdout's mean loss, half the Brier score or
    the absolute error, in units of the excess.
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
    counts, summed, squared, modelled = _tallies(encoding, columns, blocks, excess)
    rows, sums = counts.sum(axis=0), summed.sum(axis=0)
    present = np.maximum(rows, 1)
    means = sums / present
    variances = np.maximum(squared.sum(axis=0) / present - means**2, 0.0)
    within = np.maximum(variances, modelled.sum(axis=0) / present)
    groups = [slice(end - c.width, end) for c, end in _ends(encoding)]
    expected = 0.0 if task == "regression" else float((1 - (outputs**2).sum(axis=1)).mean()) / 2
    return SegmentReference(
        loss=float(excess.values.mean()) + expected,
        encoding=encoding,
        rows=tuple(int(n) for n in rows),
        means=tuple(means.tolist()),
        variances=tuple(variances.tolist()),
        between=tuple(between_blocks(counts, summed, within, groups, LEAST_HELD).tolist()),
        uneven=tuple(unevenness(counts).tolist()),
    )


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
    counts, *sums = _tallies(reference.encoding, segments.columns, segments.blocks, excess)
    rows = counts.sum(axis=0)
    total, squares, modelled = (one.sum(axis=0) / np.maximum(rows, 1) for one in sums)
    held = np.array(reference.rows)
    tested = np.flatnonzero((held >= LEAST_HELD) & (rows >= LEAST_ROWS))
    if not len(tested):
        return None
    spread = modelled if excess.variances is not None else squares - total**2
    variance = np.maximum(np.maximum(np.array(reference.variances), spread), 1e-12)
    between = np.array(reference.between) * (unevenness(counts) + np.array(reference.uneven))
    found = _at_best(segments, total, rows, least, usual_coverage)
    risen = (found - np.array(reference.means))[tested]
    rows, held = rows[tested], held[tested]
    errors = np.sqrt(variance[tested] * (1 / rows + 1 / held) + between[tested])
    p_values, limit = ndtr(-risen / errors), rate / len(tested)
    added = risen * rows / len(excess.values)
    harmed = (p_values < limit) & (added >= min_harm * reference.loss)
    if not harmed.any():
        return None
    worst = int(np.flatnonzero(harmed)[p_values[harmed].argmin()])
    place = int(tested[worst])
    column, segment = _named(reference.encoding, place)
    return SegmentHarm(
        column=column,
        segment=segment,
        rows=int(rows[worst]),
        measure="loss" if excess.variances is None else "Brier score above the expected",
        excess=float(found[place]),
        held=reference.means[place],
        p_value=float(p_values[worst]),
        limit=limit,
        tested=len(tested),
    )


def _at_best(
    segments: Segments, found: Floats, rows: Floats, least: Floats | None, usual_coverage: float
) -> Floats:
    """Mean excess per segment if each label that is still to come proved the model right.

    Who lacks a label yet may be concentrated in few segments, so each has its own share.
    """
    if segments.missing is None or least is None:
        return found
    one_block = np.zeros(len(least), dtype=np.intp)
    excess = Excess(least, None)
    missing, summed, *_ = _tallies(segments.reference.encoding, segments.missing, one_block, excess)
    outstanding = np.maximum(0.0, 1 - rows / np.maximum(rows + missing[0], 1) / usual_coverage)
    best = np.minimum(summed[0] / np.maximum(missing[0], 1), found)
    return np.asarray((1 - outstanding) * found + outstanding * best)


def _tallies(
    encoding: Encoding,
    columns: Mapping[str, NDArray[Any]],
    blocks: NDArray[np.intp],
    excess: Excess,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Rows and the sums of excess, its square and its variance: arrays (blocks, segments)."""
    known, block = np.unique(blocks, return_inverse=True)
    height = max(len(known), 1)
    modelled = excess.variances if excess.variances is not None else np.zeros(len(blocks))
    weights = (None, excess.values, excess.values**2, modelled)
    parts: list[list[NDArray[Any]]] = [[np.empty((height, 0))] for _ in weights]
    for column in encoding.columns:
        cells = block * column.width + column.codes(columns[column.name])
        for part, weight in zip(parts, weights, strict=True):
            found = np.bincount(cells, weight, height * column.width)
            part.append(found.reshape(height, column.width).astype(np.float64))
    rows, sums, squares, variances = (np.concatenate(part, axis=1) for part in parts)
    return rows, sums, squares, variances


def _ends(encoding: Encoding) -> Iterator[tuple[EncodedColumn, int]]:
    """Each column with the number of segments up to its last."""
    end = 0
    for column in encoding.columns:
        end += column.width
        yield column, end


def _named(encoding: Encoding, place: int) -> tuple[str, str]:
    """The column and the segment's name, as a person reads it."""
    column, end = next(found for found in _ends(encoding) if place < found[1])
    return column.name, _segment(column, place - end + column.width)


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
