"""A version with everything that a card can tell, made up."""

from dataclasses import replace
from typing import Any

from mlops_assets.domain.card import (
    ColumnFacts,
    Move,
    Notes,
    Part,
    Rejections,
    ServedPeriod,
    Since,
    Verdict,
    VersionFacts,
)
from mlops_assets.domain.evaluation import Interval
from mlops_assets.domain.importance import Importance
from mlops_assets.domain.intervals import SliceQuality

NOTES = Notes(
    about="Parcels",
    purpose="Plans the vans of tomorrow",
    owner="team:vans",
    users=("dispatchers",),
    limits=("Not for letters", "Not abroad"),
    risks=("Late parcels are late twice",),
    advice=("Look at holidays",),
    origin="our own scanners",
    licence="internal",
    personal="no",
    gaps=("lost parcels",),
)


def interval(mean: float) -> Interval:
    return Interval(mean, mean - 0.02, mean + 0.02)


def facts(**changes: Any) -> VersionFacts:
    """Version 2 of a binary model, which passed its gates."""
    parts = (
        Part("training", "2025-01-01", "2026-01-04", 53, 900, "30.0% 1, 70.0% 0"),
        Part("validation", "2026-01-05", "2026-01-11", 1, 100, "31.0% 1, 69.0% 0"),
        Part("holdout", "2026-01-12", "2026-01-18", 1, 400, "29.0% 1, 71.0% 0"),
    )
    slices = (
        SliceQuality("zone", "near", 300, 50, {"log_loss": interval(0.4), "loss": interval(0.4)}),
        SliceQuality("zone", "far", 90, 50, {"log_loss": interval(0.7), "loss": interval(0.7)}),
        SliceQuality("zone", "abroad", 10, 50, {}),
    )
    found = VersionFacts(
        model="parcels",
        version="2",
        task="binary",
        target="whether hours is above 24 (class 1) or not (class 0)",
        target_known="at the time in the column arrived_at",
        notes=NOTES,
        made_at="2026-01-20T00:00:00+00:00",
        fitted_from="2025-01-01T00:00:00+00:00",
        fitted_until="2026-01-12T00:00:00+00:00",
        known_until="2026-01-19T00:00:00+00:00",
        estimator="logistic_regression",
        params={"C": "1.0"},
        inputs={"zone": "category", "weight": "number"},
        parts=parts,
        primary_metric="log_loss",
        metrics={"log_loss": interval(0.45), "roc_auc": interval(0.8)},
        guess={"log_loss": 0.6, "roc_auc": 0.5},
        slices=slices,
        slices_declared=True,
        calibration=0.01,
        calibration_limit=0.1,
        told=0.3,
        happened=0.29,
        importances=(Importance("weight", interval(0.2)), Importance("zone", interval(0.001))),
        gates=(Verdict("minimum_quality", True, "roc_auc 0.8"), Verdict("calibrated", True, "ok")),
        label_coverage=0.99,
        judged_against="1",
        runtime="onnx",
        warning="",
        columns=(
            ColumnFacts("zone", "category", "of the receiver", "near, far; required", 0, "near"),
            ColumnFacts("weight", "number", "kg", "0 to 50; may be missing", 0.4, "0 to 20"),
        ),
        unseen={},
        derived=("heavy: bins of weight",),
        source="parquet: rows.parquet",
        cadence="weekly",
        checks=("light: weight < 40",),
        rejections=Rejections(1405, 5, {"weight": 4, "light": 2}),
        provenance={"Training set": "abc", "Code": "v1"},
    )
    return replace(found, **changes)


SINCE = Since(
    moves=(
        Move("release", "1", "2", "2026-01-20T00:00:00", "sensor", "harm: loss 0.7; it pays"),
        Move("rollback", "2", "1", "2026-02-20T00:00:00", "guard", "no finite number"),
    ),
    periods=tuple(
        ServedPeriod(
            f"2026-{n:03d}", 1000, 990, 0.5, 0.45, "no harm", n == 3, ("zone",) if n > 10 else ()
        )
        for n in range(1, 15)
    ),
    incidents=("2026-02-20: quarantined (outputs) by guard: no finite number",),
)
