"""Runs a batch: every part that is not there yet is read, scored and written.

In one process, record batches stream through threads that score while the main thread reads ahead
and writes; with a Ray cluster, parts are dealt out to actors. Both write the same
bytes, and both keep only a few batches in memory.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops_assets.domain.errors import DataError
from mlops_assets.stores.batch_history import BatchPast, Complete, LookUps
from mlops_assets.stores.batch_input import BatchInput, Part, open_input
from mlops_assets.stores.batch_output import Output, PartDone, PartWriter
from mlops_assets.stores.batch_scoring import BatchScorer, Engine, Scored, load_batch_scorer
from mlops_assets.stores.bundles import MANIFEST
from mlops_assets.stores.files import sha256_of

Tell = Callable[[int], None]


@dataclass(frozen=True)
class BatchPlan:
    """What is scored with what, and where to: everything a worker needs, picklable."""

    bundle: Path
    version: str
    engine: Engine
    input_path: str
    output: Path
    keep: tuple[str, ...] = ()
    past: BatchPast | None = None


@dataclass(frozen=True)
class Summary:
    """What came out of a run; `skipped` parts were there already.

    `looked_up` names the inputs from the past that the rows did not bring.
    """

    model: str
    version: str
    engine: str
    rows: int
    predicted: int
    rejected: int
    reasons: Mapping[str, int]
    parts: int
    skipped: int
    looked_up: tuple[str, ...] = ()


def run_batch(
    plan: BatchPlan,
    *,
    workers: int,
    ray_address: str = "",
    overwrite: bool = False,
    start: Callable[[int], Tell] = lambda rows: lambda done: None,
) -> Summary:
    """Score the whole input; a run that was killed is finished by the same call.

    `start` gets the number of rows, and returns what is told of each piece that is done. Raises
    DataError when the output folder holds something else, or the input changed meanwhile.
    """
    scorer = load_batch_scorer(plan.bundle, plan.version, plan.engine)
    categories = [c.name for c in scorer.contract.columns if c.type == "category"]
    source = open_input(plan.input_path, categories)
    looked_up = LookUps(plan.past, scorer.contract, source.schema)
    _check(plan, scorer, source, looked_up.schema)
    output = Output(plan.output)
    manifest = _manifest(plan, scorer, source, looked_up.names)
    with output.claimed(manifest, overwrite=overwrite):
        found = {part.index: output.done(part.name) for part in source.parts}
        todo = [part for part in source.parts if found[part.index] is None]
        tell = start(source.rows)
        tell(source.rows - sum(part.rows for part in todo))
        if ray_address and todo:
            from mlops_assets.stores.batch_ray import run_on_ray

            finished = run_on_ray(plan, source, todo, ray_address, tell)
        else:
            finished = score_parts(plan, scorer, source.schema, todo, workers, tell)
        results = [done for done in found.values() if done is not None] + list(finished)
        # A Delta table's version is fixed when it is opened.
        again = open_input(plan.input_path, categories) if source.kind != "delta" else source
        if again.identity != source.identity:
            raise DataError(
                f"{plan.input_path} changed while it was scored, so its predictions are of no one "
                "state: run again with --overwrite."
            )
        summary = _summary(scorer, source, results, skipped=len(source.parts) - len(todo))
        summary = replace(summary, looked_up=looked_up.names)
        output.write_summary({k: v for k, v in vars(summary).items() if k != "skipped"})
    return summary


def score_parts(
    plan: BatchPlan,
    scorer: BatchScorer,
    schema: Any,
    parts: Sequence[Part],
    workers: int,
    tell: Tell,
) -> Iterator[PartDone]:
    """Read, score and write parts in order, on `workers` threads; yields each one's outcome."""
    looked_up = LookUps(plan.past, scorer.contract, schema)
    schemas = scorer.schemas(looked_up.schema, plan.keep)
    wanted = scorer.columns_of(looked_up.schema, plan.keep)
    columns = [name for name in wanted if name not in looked_up.names]
    writing = _Writing(plan.output, schemas, tell)
    with ThreadPoolExecutor(workers, "score", initializer=_one_thread_each) as pool:
        running: deque[tuple[Part, Future[Scored] | None]] = deque()
        try:
            for part in parts:
                first = part.first_row
                complete = looked_up.of_part(part)
                for batch in part.batches(schema, columns):
                    score = pool.submit(_completed, scorer, complete, batch, first, schemas)
                    running.append((part, score))
                    first += batch.num_rows
                    # One batch more than threads, so that none waits for the writer.
                    while len(running) > workers + 1:
                        yield from writing.take(*running.popleft())
                running.append((part, None))
            while running:
                yield from writing.take(*running.popleft())
        finally:
            for _, future in running:
                if future is not None:
                    future.cancel()
            writing.abandon()


def _completed(
    scorer: BatchScorer, complete: Complete, batch: Any, first_row: int, schemas: Any
) -> Scored:
    rows, problems = complete(batch)
    return scorer.score(rows, first_row, schemas, problems)


class _Writing:
    """Writes scored batches as they come, in order, one part after the other."""

    def __init__(self, folder: Path, schemas: Any, tell: Tell) -> None:
        self._folder, self._schemas, self._tell = folder, schemas, tell
        self._open: PartWriter | None = None

    def take(self, part: Part, batch: "Future[Scored] | None") -> Iterator[PartDone]:
        """Append a batch of the part; None ends it, and yields what became of it."""
        writer = self._open or PartWriter(self._folder, part.name, part.index, self._schemas)
        self._open = writer
        if batch is None:
            self._open = None
            yield writer.finish()
            return
        scored = batch.result()
        writer.add(scored)
        rejected = scored.rejected.num_rows if scored.rejected is not None else 0
        self._tell(scored.predictions.num_rows + rejected)

    def abandon(self) -> None:
        """Leave no half-written part."""
        if self._open is not None:
            self._open.abandon()


def _one_thread_each() -> None:
    """Every thread scores a batch of its own; OpenMP below it would only get in the way."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _check(plan: BatchPlan, scorer: BatchScorer, source: BatchInput, rows: Any) -> None:
    """Raise DataError for what cannot be kept, and for output that would become input."""
    if "://" not in source.path and plan.output.is_relative_to(Path(source.path)):
        raise DataError(f"{plan.output} lies in the input {source.path}; choose another folder.")
    for name in plan.keep:
        if name not in source.schema.names:
            raise DataError(
                f"{source.path} has no column {name!r} to keep; it has "
                f"{', '.join(source.schema.names)}."
            )
    for schema in scorer.schemas(rows, plan.keep):
        twice = [name for name in schema.names if schema.names.count(name) > 1]
        if twice:
            raise DataError(f"column {twice[0]!r} is one of the output's own; do not keep it.")


def _manifest(
    plan: BatchPlan, scorer: BatchScorer, source: BatchInput, looked_up: Sequence[str]
) -> dict[str, Any]:
    # Parts of one run see the same past.
    past = {"past": plan.past.version} if plan.past and looked_up else {}
    return {
        **past,
        "format": 1,
        "model": scorer.contract.model,
        "version": plan.version,
        "bundle": sha256_of(plan.bundle / MANIFEST),
        "engine": scorer.engine,
        "input": {"kind": source.kind, "identity": source.identity},
        "keep": list(plan.keep),
        "rows": source.rows,
        "parts": len(source.parts),
    }


def _summary(
    scorer: BatchScorer, source: BatchInput, results: Sequence[PartDone], skipped: int
) -> Summary:
    reasons: dict[str, int] = {}
    for result in results:
        for reason, count in result.failures.items():
            reasons[reason] = reasons.get(reason, 0) + count
    predicted, rejected = sum(r.rows for r in results), sum(r.rejected for r in results)
    if predicted + rejected != source.rows:
        raise DataError(
            f"{source.path} has {source.rows} rows, but {predicted} were predicted and {rejected} "
            "rejected: run again with --overwrite."
        )
    return Summary(
        model=scorer.contract.model,
        version=scorer.version,
        engine=scorer.engine,
        rows=source.rows,
        predicted=predicted,
        rejected=rejected,
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        parts=len(source.parts),
        skipped=skipped,
    )
