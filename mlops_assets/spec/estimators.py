"""Whether a spec's candidates can be made: their classes are imported, and their settings tried."""

from collections.abc import Iterator

from mlops_assets.domain.estimators import missing_package, wrong_settings
from mlops_assets.spec import ModelSpec
from mlops_assets.spec.findings import Finding


def estimator_findings(spec: ModelSpec) -> Iterator[Finding]:
    """A class that cannot be imported, is none for the task, or lacks a setting."""
    for place, candidate in enumerate(spec.training.candidates):
        if missing_package(candidate.estimator):
            continue  # the rules of the spec tell it
        searched = {name for part in candidate.grid for name in part} | set(candidate.space)
        message = wrong_settings(candidate.estimator, spec.task, candidate.params, searched)
        if message:
            where = ("training", "candidates", place, "estimator")
            yield Finding("estimator", "problem", where, message)
