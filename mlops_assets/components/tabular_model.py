"""The component behind a defs.yaml: one spec becomes one model's definitions."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from mlops_assets.assets import (
    batch,
    canary,
    cards,
    data,
    monitoring,
    online,
    policy_backtest,
    release,
    training,
)
from mlops_assets.automation.alerting import alerts
from mlops_assets.automation.jobs import jobs, schedule
from mlops_assets.automation.late_labels import late_labels
from mlops_assets.automation.sensors import new_periods, retrain
from mlops_assets.components.template import TabularModelScaffolder
from mlops_assets.domain.errors import SourceError, SpecError
from mlops_assets.settings import Settings
from mlops_assets.spec import Model, ModelSpec, names
from mlops_assets.spec.problem import Problem
from mlops_assets.spec.rules import problems
from mlops_assets.stores.function_digests import with_digests
from mlops_assets.stores.model_folders import SPEC_FILE

ASSETS = (
    data.raw_data,
    data.validated_data,
    data.features,
    training.training_set,
    training.challenger,
    release.champion,
    cards.model_card,
    monitoring.predictions,
    monitoring.ground_truth,
    monitoring.drift_report,
    monitoring.performance_estimate,
    monitoring.performance_report,
    monitoring.staleness_report,
    monitoring.retrain_decision,
    policy_backtest.policy_backtest,
    batch.batch_predictions,
)


@dg.scaffold_with(TabularModelScaffolder)
class TabularModel(dg.Component):
    """A tabular model whose loop is closed: data, training, gates, release, monitoring.

    The folder's name is the model's name.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def get_model_cls(cls) -> type[ModelSpec]:
        """What the `attributes` of a defs.yaml may hold."""
        return ModelSpec

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """How the component presents itself in the UI."""
        return dg.ComponentTypeSpec(
            description="Describe a tabular model in one file; get its whole loop.",
            tags=["mlops"],
        )

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "TabularModel":
        """Check what no single field can know, and name the line of every mistake."""
        folder = Path(context.path)
        spec, of_functions = with_digests(attributes, folder)
        found = (
            *_second(folder),
            *names.folder(folder.name),
            *problems(spec, _source_columns(spec, folder)),
            *of_functions,
        )
        if found:
            lines = [_located(problem, context, folder) for problem in found]
            raise SpecError("\n".join(lines))
        return cls(Model(folder.name, spec, folder))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, jobs, schedule and sensors of the model."""
        seconds = Settings.load().sensor_seconds
        found = jobs(self.model, cards.moved)
        spec = self.model.spec
        also = (
            *((online.online_history,) if spec.history else ()),
            *((canary.canary,) if spec.serving.canary == "auto" else ()),
        )
        return dg.Definitions(
            assets=[asset(self.model) for asset in (*ASSETS, *also)],
            jobs=list(found.values()),
            schedules=[schedule(self.model)],
            sensors=[
                new_periods(self.model, found, seconds),
                retrain(self.model, found, seconds),
                late_labels(self.model, found, seconds),
                alerts(self.model, seconds, tuple(training.GATES), cards.moved),
            ],
        )


def _second(folder: Path) -> list[Problem]:
    """A second document, which Dagster takes for a second component, of the same name."""
    documents = yaml.parse((folder / SPEC_FILE).read_text(encoding="utf-8"))
    if sum(isinstance(event, yaml.DocumentStartEvent) for event in documents) < 2:
        return []
    return [Problem((), "a file holds one model, this one several documents: remove the others")]


def _source_columns(spec: ModelSpec, folder: Path) -> tuple[str, ...] | None:
    """The columns of a source that is a file at hand; all others are asked when they are read."""
    from mlops_assets.stores.sources import column_names, is_at_hand

    if not is_at_hand(spec.source):
        return None
    try:
        return column_names(spec.source, folder)
    except SourceError:
        # A source that is away must not take the definitions down; raw_data will say so.
        return None


def _located(problem: Problem, context: dg.ComponentLoadContext, folder: Path) -> str:
    place = ("attributes", *problem.place)
    name = ".".join(str(part) for part in problem.place)
    tree = context.resolution_context.source_position_tree
    if tree is None:
        return f"{folder / 'defs.yaml'}: {name}: {problem.message}"
    position, _ = tree.lookup_closest_and_path(place, None)
    return f"{position.filename}:{position.start.line}: {name}: {problem.message}"
