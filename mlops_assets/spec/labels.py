"""What a table says about its label: its type, its classes, and when it becomes known."""

from collections.abc import Iterator

from mlops_assets.domain.draft_choices import MOST_CLASSES
from mlops_assets.domain.labels import KNOWN_AT, LABEL, twin_classes
from mlops_assets.domain.profiling import numeric_values, profile_column
from mlops_assets.spec.findings import Finding, Place, Table, share


def label_types(table: Table) -> Iterator[Finding]:
    """What would keep labels from being made at all."""
    spec, frame = table.model.spec, table.frame
    truth = frame[spec.label.column]
    numeric = spec.task == "regression" or spec.label.above is not None
    if numeric and truth.dtype.kind not in "iufb":
        odd = truth[numeric_values(truth).isna() & truth.notna()]
        told = f"such as {str(odd.iloc[0])[:40]!r}" if len(odd) else "numbers stored as text"
        yield Finding(
            "label_type",
            "problem",
            ("label", "column"),
            f"{spec.label.column!r} must hold numbers, but holds text, {told}: clean the source, "
            "or set another task",
        )
    known_at = spec.label.known_at
    if known_at and profile_column(frame[known_at]).kind != "time":
        yield Finding(
            "known_at_type",
            "problem",
            ("label", "known_at"),
            f"{known_at!r} must hold times, but holds {frame[known_at].dtype}",
        )


def label_values(table: Table) -> Iterator[Finding]:
    """A label that is missing, has one class, or too many."""
    spec, found = table.model.spec, table.labels[LABEL]
    place: Place = ("label", "above") if spec.label.above is not None else ("label", "column")
    present = found.dropna()
    name = repr(spec.label.column)
    if not len(present):
        yield Finding("no_label", "problem", place, f"{name} is missing in every row")
        return
    classes = present.nunique()
    if classes < 2:
        yield Finding(
            "one_class",
            "problem",
            place,
            f"the label is {str(present.iloc[0])!r} in all {len(present):,} rows that have one: "
            "there is nothing to predict; correct the label, or take a longer history",
        )
    twins = None if spec.task == "regression" else twin_classes(sorted(set(present.astype(str))))
    if twins:
        yield Finding(
            "twin_classes",
            "problem",
            place,
            f"the classes {twins[0]!r} and {twins[1]!r} differ only in case: make one of them in "
            "the source",
        )
    if spec.task == "binary" and classes > 2:
        yield Finding(
            "many_classes",
            "problem",
            place,
            f"{name} has {classes:,} values, a binary label has two: set label.above, or the task "
            "to multiclass or regression",
        )
    if spec.task == "multiclass" and classes > MOST_CLASSES:
        yield Finding(
            "many_classes", "warning", place, f"{classes:,} classes; each needs rows to learn from"
        )
    missing = int(found.isna().sum())
    if missing > (1 - spec.monitoring.min_label_coverage) * len(found):
        yield Finding(
            "label_missing",
            "warning",
            ("monitoring", "min_label_coverage"),
            f"{share(missing, len(found))} have no label, so periods may never be judged: "
            f"min_label_coverage is {spec.monitoring.min_label_coverage:.0%}",
        )


def label_times(table: Table) -> Iterator[Finding]:
    """Labels that are there although they are known only in the future."""
    spec, frame = table.model.spec, table.frame
    known = table.labels[KNOWN_AT]
    future = int((known > table.now).sum())
    place: Place = ("label", "known_at" if spec.label.known_at else "known_after")
    if future and int((frame[spec.event_time] <= table.now).sum()):
        yield Finding(
            "future_label",
            "problem" if spec.label.known_at else "note",
            place,
            f"{share(future, len(frame))} hold a label that becomes known only after now, up to "
            f"{known.max():%Y-%m-%d %H:%M}; they train nothing until then: correct the times, or "
            "the column",
        )
