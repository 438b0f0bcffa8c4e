"""Canaries: what is known of the challenger that walks, and the rows by which it is judged.

A model has at most one canary at a time. It is kept as a tag of the registered model, beside the
split that it moves, so whoever opens the registry sees both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.evaluation import Floats, row_losses
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.plan import SPLIT_TAG
from mlops_assets.domain.sequential import Sample, Stratum
from mlops_assets.domain.split import CHAMPION, Arm, Split, split_of_json
from mlops_assets.spec import Model
from mlops_assets.stores.bundles import Scorer
from mlops_assets.stores.lake import PERIOD, Lake
from mlops_assets.stores.monitoring import PREDICTIONS, labelled, weights_of
from mlops_assets.stores.registry import CHALLENGER, Registry

TAG = "serving.canary"
REPORTS = "canary_reports"
Status = Literal["running", "promoted", "stopped"]


@dataclass(frozen=True)
class Walked:
    """A share that the challenger was given: in percent, and since when (ISO 8601).

    `at` is the machine's time, by which answers are told apart, `loop_time` that of the loop.
    """

    weight: float
    at: str
    loop_time: str


@dataclass(frozen=True)
class Canary:
    """A challenger on its way; `after` is the newest period that was closed when it began.

    `run_id` is of the run that began it.
    """

    version: str
    champion: str
    status: Status
    reason: str
    run_id: str
    after: str
    steps: tuple[Walked, ...]

    @property
    def weight(self) -> float:
        """The newest share."""
        return self.steps[-1].weight

    @property
    def text(self) -> str:
        """One line about it."""
        return f"canary of version {self.version} against {self.champion}, at {self.weight:g}%"

    def moved(self, weight: float, at: datetime, loop_time: datetime, reason: str) -> "Canary":
        """The same canary at another share."""
        step = Walked(weight, at.isoformat(), loop_time.isoformat())
        return replace(self, steps=(*self.steps, step), reason=reason)

    def ended(self, status: Status, reason: str) -> "Canary":
        """The same canary, at its end."""
        return replace(self, status=status, reason=reason)


@dataclass(frozen=True)
class Canaries:
    """The canaries of one registry."""

    registry: Registry

    def of(self, model: str) -> Canary | None:
        """The newest canary of a model, running or not."""
        text = self.registry.model_tags(model).get(TAG)
        if not text:
            return None
        try:
            content = json.loads(text)
            steps = tuple(Walked(**step) for step in content.pop("steps"))
            return Canary(**content, steps=steps)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ReleaseError(
                f"the tag {TAG} of {model} in the registry is no canary ({error}): remove it"
            ) from error

    def running(self, model: str) -> Canary | None:
        """The canary that is under way."""
        found = self.of(model)
        return found if found and found.status == "running" else None

    def keep(self, model: str, canary: Canary) -> None:
        """Remember the canary, and let the split be as it says while it runs.

        The canary comes first: a split that a kill leaves at the step before is moved on later.
        """
        self.registry.set_model_tag(model, TAG, json.dumps(asdict(canary)))
        if canary.status == "running":
            split = Split((Arm(CHALLENGER, canary.weight, canary.version),))
            self.registry.set_model_tag(model, SPLIT_TAG, split.to_json())

    def end_split(self, model: str, canary: Canary) -> None:
        """Give the champion everything, unless someone else has changed the split."""
        if not self.disturbed(model, canary):
            self.registry.set_model_tag(model, SPLIT_TAG, "")

    def disturbed(self, model: str, canary: Canary) -> str:
        """How the split came to be another one than the canary's; empty if it did not."""
        text = self.registry.model_tags(model).get(SPLIT_TAG, "")
        try:
            arms = split_of_json(text or "{}").arms
        except ReleaseError as error:
            return f"the split was set to something else: {error}"
        # A share of an earlier step is what a kill between canary and split has left.
        own = {Arm(CHALLENGER, step.weight, canary.version) for step in canary.steps}
        if len(arms) == 1 and arms[0] in own:
            return ""
        told = ", ".join(f"{arm.variant}={arm.weight:g}" for arm in arms)
        return f"the split was changed to {told or 'the champion alone'}"


@dataclass(frozen=True)
class Side:
    """A version whose answers are compared, and what it needs to be scored again."""

    version: str
    scorer: Scorer

    @property
    def contract(self) -> Contract:
        """What the version takes and gives."""
        return self.scorer.contract

    def score(self, rows: pd.DataFrame) -> Floats:
        """Outputs (n, k) of logged rows."""
        return np.asarray(self.scorer.score(as_arrays(model_frame(rows, self.contract.columns))))


def strata(
    model: Model, lake: Lake, canary: Canary, sides: Mapping[str, Side], until: str
) -> tuple[list[Stratum], int]:
    """The labelled rows of both variants, cut by period and step, up to the period `until`.

    Also the challenger's rows at the newest step. `sides` are those of champion and challenger.
    Where both take the same inputs, the champion scores the challenger's rows as well, and each
    row counts with its loss less the champion's on it: hard rows cancel, so that a few hundred rows
    tell what would otherwise take many thousands (the control variate of Deng, Xu, Kohavi, Walker,
    WSDM 2013, with a coefficient of 1). It takes for granted, as all reports do, that a label does
    not depend on who answered.
    """
    if not lake.exists(model.name, PREDICTIONS):
        return [], 0
    base = sides[CHAMPION] if _same_form(*(side.contract for side in sides.values())) else None
    found = []
    for period in lake.periods(model.name, PREDICTIONS):
        if canary.after < period <= until:
            table = lake.read(model.name, PREDICTIONS, periods=[period])
            for variant, side in sides.items():
                answers = _answers(table, canary, side.version, variant)
                found.append(_losses(model, lake, period, answers, side, variant, base))
    rows = pd.concat(found) if found else pd.DataFrame()
    if not len(rows):
        return [], 0
    rows["subject"] = pd.factorize(rows["entity"])[0].astype(np.int64)
    last = (rows["variant"] == CHALLENGER) & (rows["step"] == len(canary.steps) - 1)
    cut = [
        Stratum(*(_sample(part[part["variant"] == name]) for name in (CHAMPION, CHALLENGER)))
        for _, part in rows.groupby([PERIOD, "step"])
    ]
    return cut, int(last.sum())


def _sample(rows: pd.DataFrame) -> Sample:
    return Sample.of(rows["loss"].to_numpy(), rows["subject"].to_numpy())


def _answers(table: pa.Table, canary: Canary, version: str, variant: str) -> pd.DataFrame:
    """A variant's answers since the canary began, each with the number of the step it was at."""
    mine = pc.and_(pc.equal(table["variant"], variant), pc.equal(table["version"], version))
    answers: pd.DataFrame = table.filter(mine).to_pandas()
    starts = pd.to_datetime([step.at for step in canary.steps], utc=True)
    step = np.searchsorted(starts, pd.to_datetime(answers["served_at"], utc=True), "right") - 1
    return answers.assign(step=step)[step >= 0]


def _losses(
    model: Model,
    lake: Lake,
    period: str,
    answers: pd.DataFrame,
    side: Side,
    variant: str,
    base: Side | None,
) -> pd.DataFrame:
    """Loss, step and subject of the answers whose label is known; `base` scores them as well."""
    y, outputs, joined = labelled(model, lake, period, answers, side.contract)
    weights = weights_of(model, joined)
    losses = row_losses(model.spec.task, y, outputs, weights) if len(y) else np.empty(0)
    if base is not None and len(y):
        # On its own rows the champion's loss is the one that was served.
        again = outputs if variant == CHAMPION else base.score(joined)
        losses = losses - row_losses(model.spec.task, y, again, weights)
    return pd.DataFrame(
        {
            PERIOD: period,
            "step": joined["step"].to_numpy(),
            "variant": variant,
            "entity": joined["entity"].fillna(joined["prediction_id"]).to_numpy(),
            "loss": losses,
        }
    )


def _same_form(one: Contract, other: Contract) -> bool:
    return one.columns == other.columns and one.classes == other.classes
