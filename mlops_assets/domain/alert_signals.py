"""What is worth an alert: decisions, refused challengers, incidents, failed runs, stale data.

Each function takes what the records say and gives the signal, or None where there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_assets.domain.alerts import Severity, Signal
from mlops_assets.domain.retraining import Decision

# Kinds of causes.
LOOK, HARM = "alert", "harm"
DECISION_KINDS = (LOOK, HARM, "retrain", "rollback", "held")
GATES, INCIDENT, RUN, STALE = "gates", "incident", "run", "stale data"
KINDS = (*DECISION_KINDS, GATES, INCIDENT, RUN, STALE)
# The guard's reason for this kind quotes the model's outputs.
QUOTING = "constant outputs"


@dataclass(frozen=True)
class Taken:
    """A version that was quarantined; `over` says what has put an end to it."""

    id: str
    version: str
    kind: str
    reasons: str
    rolled_back_to: str
    over: str = ""


@dataclass(frozen=True)
class FailedRun:
    """A run that failed: in which step, by which class of error; its message is not kept."""

    run_id: str
    job: str
    period: str
    step: str
    error: str

    @property
    def cause(self) -> str:
        """The same job on the same period is the same cause."""
        return ":".join(part for part in (RUN, self.job, self.period) if part)


def of_decision(
    decision: Decision | None,
    champion: str,
    *,
    harmed: bool = False,
    started: bool,
    held: str,
    link: str,
) -> Signal | None:
    """The newest decision, where it asks for something.

    `started` says whether a run was asked for, `held` why the governor kept it from one. Before
    the governor has spoken there is nothing to tell of a retrain or a rollback. Proven harm
    (`harmed`) is a cause of its own: whoever was told of drift has to hear of it.
    """
    if decision is None or decision.action == "nothing":
        return None
    version, reasons = decision.version, "; ".join(decision.reasons)
    over = "" if version == champion else f"version {champion} serves now"
    about = f"after {decision.period}: {reasons}"
    if decision.action == "alert":
        title, severity = f"look at version {version}", "warning"
        kind = LOOK
        if harmed:
            title, kind = f"version {version} does harm", HARM
    elif held:
        title, severity = f"{decision.action} of version {version} is held back", "warning"
        kind, about = "held", held
    elif started:
        title, severity = f"{decision.action} of version {version} was started", "info"
        kind = decision.action
        if kind == "rollback":
            severity = "failure"
    else:
        return None
    level: Severity = severity  # type: ignore[assignment]
    return Signal(f"{kind}:{version}", decision.id, level, title, about, link, over)


def of_gates(version: str, failed: Sequence[str], *, refused: bool, link: str) -> Signal | None:
    """The newest challenger, if it failed its gates; they are named, their figures are not."""
    if not refused:
        return None
    reason = f"failed: {', '.join(failed) or 'see the checks'}; the champion goes on serving"
    return Signal(GATES, version, "warning", f"challenger {version} failed its gates", reason, link)


def of_incident(taken: Taken, link: str) -> Signal:
    """A version that was taken away from its users."""
    reason = taken.kind if QUOTING in taken.kind else f"{taken.kind}: {taken.reasons}"
    back = f"; version {taken.rolled_back_to} serves again" if taken.rolled_back_to else ""
    title = f"version {taken.version} was taken back and quarantined"
    cause = f"{INCIDENT}:{taken.version}"
    return Signal(cause, taken.id, "failure", title, f"{reason}{back}", link, taken.over)


def of_run(run: FailedRun, link: str, over: str = "") -> Signal:
    """A failed run."""
    about = f" of {run.period}" if run.period else ""
    where = f"step {run.step} raised {run.error}" if run.step else f"the run ended: {run.error}"
    title = f"{run.job}{about} failed"
    return Signal(run.cause, run.run_id, "failure", title, where, link, over)


def of_staleness(
    newest: str, missing: Sequence[str], allowed: int, *, old_rows: bool, link: str
) -> Signal | None:
    """Periods that are over and have no rows, or a period whose last rows are missing.

    Nothing is stale before the first period was ingested.
    """
    if not newest:
        return None
    if len(missing) > allowed:
        reason = (
            f"{len(missing)} periods after {newest} are over and not ingested, up to {missing[-1]} "
            f"(limit {allowed})"
        )
        return Signal(STALE, newest, "warning", "the data is stale", reason, link)
    if old_rows:
        reason = "the check freshness of raw_data failed: rows of a period's end are missing"
        return Signal(STALE, newest, "warning", "the data is stale", reason, link)
    return None
