"""A whole loop in this process: real lake, MLflow store and Dagster instance, in a temporary home.

Tests share one home and keep apart by model: each scenario has a model of its own, so none sees
another's tables, runs or aliases.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mlops_assets.resources import Stores
from mlops_assets.settings import Settings
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.function_digests import with_digests

DATA = Path(__file__).parent.parent / "mlops_assets" / "data"
SHIPPED = Path(__file__).parent.parent / "mlops_assets" / "defs"
TYPE = "mlops_assets.components.TabularModel"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
ROWS_PER_DAY = 150
# Parcels sent from this day on are routed so that near ones take the longest.
SHIFT_DAY = 12


def utc(text: str) -> datetime:
    """A date or time of the tests, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class History:
    """A model's ingested periods and its first training."""

    model: str
    first: str
    last: str
    ingest: dg.ExecuteInProcessResult
    train: dg.ExecuteInProcessResult


@dataclass
class Loop:
    """Definitions, instance and stores of one home; the models are in `models`."""

    settings: Settings
    models: Path
    instance: dg.DagsterInstance
    _loaded: dict[Path, dg.Definitions] = field(default_factory=dict)

    @property
    def stores(self) -> Stores:
        """What the assets read and write."""
        return Stores.of(self.settings)

    @property
    def definitions(self) -> dg.Definitions:
        """Definitions of all shared models."""
        return self.load(self.models)

    def load(self, models: Path) -> dg.Definitions:
        """Definitions of the models in a folder, with this home's state."""
        if models not in self._loaded:
            self._loaded[models] = load(self.settings.home, models)
        return self._loaded[models]

    def at(self, moment: str) -> None:
        """Set the loop's clock."""
        Clock(self.settings.clock_file).set(utc(moment))

    def model(self, name: str) -> Model:
        """A shared model with its spec."""
        return read_model(self.models / name)

    def run(
        self,
        job: str,
        *periods: str,
        tags: Mapping[str, str] | None = None,
        definitions: dg.Definitions | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job, for one period or for a range from the first to the second."""
        found = dict(tags or {})
        if len(periods) == 2:
            found |= {RANGE_START: periods[0], RANGE_END: periods[1]}
        return (
            (definitions or self.definitions)
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                partition_key=periods[0] if len(periods) == 1 else None,
                tags=found,
                raise_on_error=False,
            )
        )

    def materialize(
        self, model: str, asset: str, tags: Mapping[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Materialise one asset, as a person does in the UI."""
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey([model, asset])],
            tags=dict(tags or {}),
            raise_on_error=False,
        )

    def history(self, model: str, now: str, first: str, last: str) -> "History":
        """Ingest a range and train the first version, with the clock at `now`."""
        self.at(now)
        ingest = self.run(f"{model}__ingest", first, last)
        assert ingest.success, errors(ingest)
        train = self.run(f"{model}__train", tags={"mlops/actor": "a test"})
        assert train.success, errors(train)
        return History(model, first, last, ingest, train)

    def tick(
        self, sensor: str, cursor: str | None = None, definitions: dg.Definitions | None = None
    ) -> Any:
        """Evaluate a sensor as the daemon does."""
        found = definitions or self.definitions
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=cursor,
            definitions=found,
            resources={"stores": self.stores},
        )
        return found.resolve_sensor_def(sensor).evaluate_tick(context)

    def follow(
        self, request: Any, definitions: dg.Definitions | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run what a sensor asked for."""
        periods = (request.partition_key,) if request.partition_key else ()
        return self.run(request.job_name, *periods, tags=request.tags, definitions=definitions)

    def data_version(self, model: str, asset: str, period: str) -> str:
        """The data version of a period's newest materialisation."""
        event = self.materialization(model, asset, period)
        return str(event.tags["dagster/data_version"])

    def materialization(self, model: str, asset: str, period: str | None = None) -> Any:
        """The newest materialisation."""
        found = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey([model, asset]),
                asset_partitions=[period] if period else None,
            ),
            limit=1,
        ).records
        return found[0].asset_materialization

    def lake_versions(self, model: str) -> dict[str, int]:
        """The version of each of a model's tables."""
        folders = (Path(self.settings.lake_root) / model).iterdir()
        return {folder.name: self.stores.lake.version(model, folder.name) for folder in folders}

    def alias(self, model: str, alias: str = "champion") -> str:
        """The version that an alias points to, or nothing."""
        found = self.stores.registry.alias(model, alias)
        return found.version if found else ""

    def parent_run(self, result: dg.ExecuteInProcessResult) -> Any:
        """The MLflow run of a training."""
        return self.mlflow_runs(f"tags.dagster_run_id = '{result.run_id}'")[0]

    def mlflow_runs(self, query: str) -> list[Any]:
        """MLflow runs of all experiments."""
        client = self.stores.registry.client
        everywhere = [found.experiment_id for found in client.search_experiments()]
        return list(client.search_runs(everywhere, query))

    def serve(self, model: str, period: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Answer rows as the registry says, through the code that serves over HTTP."""
        from serving.http import PredictionService
        from serving.models import ModelSet

        stores = self.stores
        plan = stores.registry.plans()[model]

        def bundle(version: str) -> dict[str, str]:
            folder = stores.registry.cached_bundle(model, version, stores.bundles)
            return {"version": version, "path": str(folder)}

        split = [
            {**bundle(one.version), "variant": one.variant, "weight": one.weight}
            for one in plan.split
        ]
        entry = {**bundle(plan.champion.version), "since": "", "released_at": "", "split": split}
        content = {"generation": 1, "models": {model: entry}}
        write_atomically(self.settings.serving_state, json.dumps(content).encode())
        models = ModelSet(self.settings.serving_state)
        models.refresh()
        service = PredictionService(
            models, self.settings.prediction_log, online=stores.online, models_dir=self.models
        )
        try:
            body = json.dumps({"request_id": f"r-{period}", "records": rows}).encode()
            answer = service.handle("POST", f"/v1/models/{model}/predict", {}, body)
        finally:
            service.close()
        assert answer.status == 200, answer.body
        return dict(json.loads(answer.body))

    def requests(self, model: str, period: str) -> list[dict[str, Any]]:
        """The source's rows of a period as records of a prediction request."""
        from mlops_assets.stores import sources

        found, spec = self.model(model), self.model(model).spec
        bounds = found.calendar.bounds(period)
        names = tuple(dict.fromkeys((spec.entity, spec.event_time, *spec.columns)))
        rows = sources.read(
            spec.source,
            found.folder,
            columns=names,
            event_time=spec.event_time,
            start=bounds.start,
            end=bounds.end,
        )
        return [{name: _plain(value) for name, value in row.items()} for row in rows.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


def checks(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The checks that a run evaluated, by name."""
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def errors(result: dg.ExecuteInProcessResult) -> str:
    """Everything that went wrong in a run."""
    texts = []
    for event in result.all_events:
        if event.is_failure:
            found = getattr(event.event_specific_data, "error", None)
            texts.append(found.to_string() if found else str(event.message))
    return "\n".join(texts)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """These variables, until the block ends."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def load(home: Path, models: Path) -> dg.Definitions:
    """The project's definitions over these models, and validated."""
    from mlops_assets.definitions import defs

    with environment(MLOPS_HOME=str(home), MLOPS_MODELS_DIR=str(models)):
        found = defs()
        dg.Definitions.validate_loadable(found)
        return found


def read_model(folder: Path) -> Model:
    """A model from its folder, without Dagster."""
    content = yaml.safe_load((folder / "defs.yaml").read_text())
    spec, _ = with_digests(ModelSpec.model_validate(content["attributes"]), folder)
    return Model(folder.name, spec, folder)


def shipped(name: str, **changes: Any) -> dict[str, Any]:
    """A shipped model's attributes, with its source named absolutely."""
    content = yaml.safe_load((SHIPPED / name / "defs.yaml").read_text())["attributes"]
    source = (SHIPPED / name / content["source"]["path"]).resolve()
    return {**content, "source": {"kind": "parquet", "path": str(source)}, **changes}


def add_model(models: Path, name: str, attributes: Mapping[str, Any]) -> Path:
    """A new model: a folder with a defs.yaml, and nothing else."""
    folder = models / name
    folder.mkdir(parents=True)
    text = yaml.safe_dump({"type": TYPE, "attributes": dict(attributes)}, sort_keys=False)
    (folder / "defs.yaml").write_text(text)
    return folder


def parcels(
    days: int, seed: int = 0, rows: int = ROWS_PER_DAY, shifted: range = range(SHIFT_DAY, 10_000)
) -> pa.Table:
    """Parcels of `days` days: whether one takes longer than a day depends on weight and zone.

    On `shifted` days near zones take longest. Labels are known when a parcel arrives, up to three
    days later; one in fifty is lost.
    """
    draw = np.random.default_rng(seed)
    n = days * rows
    day = np.repeat(np.arange(days), rows)
    minutes = np.sort(draw.integers(0, 1440, (days, rows)), axis=1).ravel()
    zone = draw.integers(0, 3, n)
    weight = draw.uniform(0, 20, n)
    distance = np.where(np.isin(day, shifted), 2 - zone, zone)
    hours = 3 + weight / 2 + 15 * distance + draw.uniform(0, 20, n)
    sent = np.datetime64(FIRST_DAY.replace(tzinfo=None), "us") + (day * 1440 + minutes).astype(
        "timedelta64[m]"
    )
    arrived = sent + (hours * 60).astype("timedelta64[m]")
    lost = draw.random(n) < 0.02
    return pa.table(
        {
            "parcel": pa.array(np.arange(n), pa.int64()),
            "sent_at": pa.array(sent, pa.timestamp("us", tz="UTC")),
            "zone": pa.array(np.array(["near", "far", "abroad"])[zone]),
            "weight": pa.array(weight, pa.float64()),
            "hours": pa.array(hours, pa.float64(), mask=lost),
            "arrived_at": pa.array(arrived, pa.timestamp("us", tz="UTC"), mask=lost),
        }
    )


def parcel_spec(**changes: Any) -> dict[str, Any]:
    """Attributes of a model on `parcels`; its rows are in rows.parquet beside the defs.yaml."""
    training = {
        "window": {"min": 2},
        "validation": 1,
        "holdout": 2,
        "candidates": [{"estimator": "logistic_regression", "grid": [{"C": [0.0001, 1.0]}]}],
    }
    return {
        "task": "binary",
        "source": {"kind": "parquet", "path": "rows.parquet"},
        "entity": "parcel",
        "event_time": "sent_at",
        "label": {"column": "hours", "above": 24, "known_at": "arrived_at"},
        "period": {"every": "daily", "start": "2026-01-01"},
        "columns": {
            "zone": {"type": "category", "categories": ["near", "far", "abroad"]},
            "weight": {"type": "number", "min": 0, "max": 50},
        },
        "validation": {"min_rows": 100},
        "training": training,
        "monitoring": {"wait": "P3D", "min_rows": 100},
        "retraining": {"cooldown": 0},
        **changes,
    }


def add_parcels(
    models: Path, name: str, rows: pa.Table | None = None, *, days: int = 16, **changes: Any
) -> Path:
    """A model on parcels with a source of its own."""
    folder = add_model(models, name, parcel_spec(**changes))
    pq.write_table(parcels(days) if rows is None else rows, folder / "rows.parquet")
    return folder
