"""The registry: MLflow model versions, their bundles, and the aliases that say which one serves.

Versions are immutable; `challenger`, `champion` and `previous_champion` are aliases. Aliases of
champions move only through `stores.releases`. Tags of the model say how its traffic is split, tags
of a version what may be done with it. MLflow is imported when the first call needs it.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlops_assets.domain.errors import BundleError, ReleaseError
from mlops_assets.domain.plan import ChampionRef, ServingPlan, Standing, serving_plan

# The name that the prediction log has for it, too.
from mlops_assets.domain.split import CHAMPION as CHAMPION

CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous_champion"

BUNDLE = "bundle"
GATES_TAG = "gates"
# What the gates that were not passed said.
REFUSED_TAG = "gates.refused"
RELEASED_AT_TAG = "released_at"
EVIDENCE_TAGS = ("training_set", "data_hash", "runtime", "parity", "estimator")
WARNING_TAG = "warning"
# Why a version must not serve any more; whoever holds it never gets traffic.
QUARANTINED_TAG = "quarantined"
# Since when the model itself is out of service; `stores.retirements` says who did it and why.
RETIRED_TAG = "serving.retired"
# Who gave traffic to a version that has not passed its gates.
SPLIT_FORCED_TAG = "serving.split_forced"


@dataclass(frozen=True)
class Version:
    """A registered version with what it was made from."""

    model: str
    version: str
    run_id: str
    created_at: float
    tags: Mapping[str, str]
    aliases: tuple[str, ...]

    @property
    def passed_gates(self) -> bool:
        """Whether every blocking gate was passed."""
        return self.tags.get(GATES_TAG) == "passed"

    @property
    def release_evidence(self) -> dict[str, str]:
        """What a release of it is based on; `warning` only where there is one."""
        found = {name: self.tags.get(name, "") for name in EVIDENCE_TAGS}
        return found | ({WARNING_TAG: self.tags[WARNING_TAG]} if WARNING_TAG in self.tags else {})

    @property
    def quarantined(self) -> str:
        """Why the version must not serve; empty if it may."""
        return self.tags.get(QUARANTINED_TAG, "")

    @property
    def standing(self) -> Standing:
        """What may be done with the version."""
        return Standing(self.passed_gates, self.quarantined, SPLIT_FORCED_TAG in self.tags)


class Registry:
    """The MLflow registry at `uri`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @cached_property
    def client(self) -> Any:
        """The MLflow client, always with an explicit URI."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def plans(self) -> dict[str, ServingPlan]:
        """What to serve of every model that has a champion and is not retired: split, shadow too.

        Two calls for all models, and one for each version that is named.
        """
        quarantined = self._quarantined()
        return {
            model.name: self._plan(model, quarantined.get(model.name, frozenset()))
            for model in self._models()
            if CHAMPION in (model.aliases or {}) and RETIRED_TAG not in (model.tags or {})
        }

    def names(self) -> list[str]:
        """Every registered model, whoever registered it."""
        return [str(model.name) for model in self._models()]

    def retired(self) -> dict[str, str]:
        """Models that are out of service, and since when (ISO 8601)."""
        found = {model.name: dict(model.tags or {}) for model in self._models()}
        return {name: tags[RETIRED_TAG] for name, tags in found.items() if RETIRED_TAG in tags}

    def champions(self) -> dict[str, ChampionRef]:
        """The champion of every model that has one."""
        return {model: plan.champion for model, plan in self.plans().items()}

    def _plan(self, model: Any, quarantined: frozenset[str]) -> ServingPlan:
        aliases = {name: str(version) for name, version in model.aliases.items()}
        version = aliases[CHAMPION]
        tags = self.client.get_model_version(model.name, version).tags

        def standing(version: str) -> Standing | None:
            try:
                return self.version(model.name, version).standing
            except ReleaseError:
                return None

        return serving_plan(
            ChampionRef(version, tags.get(RELEASED_AT_TAG, "")),
            aliases=aliases,
            tags=dict(model.tags or {}),
            quarantined=quarantined,
            standing=standing,
        )

    def _models(self) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self.client.search_registered_models(max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _quarantined(self) -> dict[str, frozenset[str]]:
        """Versions that must not serve, by model."""
        found: dict[str, frozenset[str]] = {}
        for version in self.client.search_model_versions(f"tags.{QUARANTINED_TAG} LIKE '%'"):
            held = found.get(version.name, frozenset())
            found[version.name] = held | {str(version.version)}
        return found

    def alias(self, model: str, alias: str) -> Version | None:
        """The version that an alias points to, if any."""
        aliases = self.aliases(model)
        return self.version(model, aliases[alias]) if alias in aliases else None

    def version(self, model: str, version: str) -> Version:
        """One version. Raises ReleaseError if it does not exist."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_model_version(model, version)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise ReleaseError(
                f"{model} has no version {version!r}; `mlops status` lists what there is."
            ) from error
        return _version(found, self.aliases(model))

    def versions(self, model: str) -> list[Version]:
        """All versions of a model, newest first."""
        found = self.client.search_model_versions(f"name = '{model}'")
        aliases = self.aliases(model)
        ordered = sorted(found, key=lambda version: int(version.version), reverse=True)
        return [_version(version, aliases) for version in ordered]

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias to a version; for `champion` use stores.releases."""
        self.client.set_registered_model_alias(model, alias, version)

    def remove_alias(self, model: str, alias: str) -> None:
        """Take an alias away, if it is there; for `champion` use stores.retirements."""
        if alias in self.aliases(model):
            self.client.delete_registered_model_alias(model, alias)

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Add facts to a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(model, version, key, value)

    def remove_tag(self, model: str, version: str, key: str) -> None:
        """Take a fact away from a version, if it is there."""
        if key in self.version(model, version).tags:
            self.client.delete_model_version_tag(model, version, key)

    def model_tags(self, model: str) -> dict[str, str]:
        """The tags of the model itself; empty if there is no such model."""
        found = self._registered(model)
        return dict(found.tags or {}) if found else {}

    def set_model_tag(self, model: str, key: str, value: str) -> None:
        """Say something about the model itself; empty: say nothing about it any more."""
        if value:
            self.client.set_registered_model_tag(model, key, value)
        elif key in self.model_tags(model):
            self.client.delete_registered_model_tag(model, key)

    def fetch_bundle(self, model: str, version: str, target: Path) -> None:
        """Put the files of the version's bundle into the existing empty folder `target`."""
        from mlflow.artifacts import download_artifacts

        found = self.version(model, version)
        if not found.run_id:
            raise BundleError(f"version {version} of {model} was not made by this project.")
        with tempfile.TemporaryDirectory(prefix="mlops-bundle-") as scratch:
            downloaded = Path(
                download_artifacts(
                    run_id=found.run_id,
                    artifact_path=BUNDLE,
                    dst_path=scratch,
                    tracking_uri=self.uri,
                )
            )
            for path in downloaded.iterdir():
                shutil.copyfile(path, target / path.name)

    def cached_bundle(self, model: str, version: str, cache: Path) -> Path:
        """The folder of the version's verified bundle in `cache`, fetched if need be."""
        from mlops_assets.stores.bundles import MANIFEST, verify

        folder = cache / model / version
        if (folder / MANIFEST).exists():
            verify(folder)
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{version}."))
        try:
            self.fetch_bundle(model, version, partial)
            verify(partial)
            if not folder.exists():
                partial.rename(folder)
        except OSError:
            # Another process may have put the same bundle there first; verify decides.
            if not (folder / MANIFEST).exists():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        verify(folder)
        return folder

    def evidence(self, model: str, version: str) -> dict[str, Any]:
        """What the training recorded of a version: metrics, splits, parity, gates."""
        from mlflow.artifacts import load_dict

        found = self.version(model, version)
        uri = f"runs:/{found.run_id}/evidence.json"
        import mlflow

        previous = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(self.uri)
        try:
            return dict(load_dict(uri))
        finally:
            mlflow.set_tracking_uri(previous)

    def aliases(self, model: str) -> dict[str, str]:
        """All aliases of a model, with their versions."""
        found = self._registered(model)
        return (
            {name: str(version) for name, version in (found.aliases or {}).items()} if found else {}
        )

    def _registered(self, model: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def _version(found: Any, aliases: Mapping[str, str]) -> Version:
    version = str(found.version)
    return Version(
        model=str(found.name),
        version=version,
        run_id=str(found.run_id or ""),
        created_at=found.creation_timestamp / 1000,
        tags=dict(found.tags),
        aliases=tuple(sorted(alias for alias, named in aliases.items() if named == version)),
    )


def as_tag(value: object) -> str:
    """A tag's text: plain for text, JSON for everything else."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
