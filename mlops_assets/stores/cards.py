"""The cards of versions: their facts in the lake, their pages beside the version's run in MLflow.

The facts of a version never change; its pages are made anew of them whenever there is a report,
without asking the registry.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from mlops_assets.domain.card import Move, ServedPeriod, Since, VersionFacts
from mlops_assets.domain.errors import DataError
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.incidents import CLEARED, Incidents
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.monitoring import kept
from mlops_assets.stores.release_log import ReleaseLog
from mlops_assets.stores.retirements import RetirementLog

TABLE = "cards"
FOLDER = "card"
_FACTS = TypeAdapter(VersionFacts)


@dataclass(frozen=True)
class KeptCard:
    """What a version's card is made of: its facts, PNG pictures, and where its pages belong."""

    facts: VersionFacts
    pictures: Mapping[str, bytes]
    run_id: str
    artifacts: str


@dataclass(frozen=True)
class Cards:
    """The cards in the lake."""

    lake: Lake

    def keep(self, card: KeptCard) -> None:
        """Keep a version's card; the first one stays."""
        model, version = card.facts.model, card.facts.version
        pictures = {name: base64.b64encode(png).decode() for name, png in card.pictures.items()}
        row = {
            "version": version,
            "facts": json.dumps(asdict(card.facts)),
            "pictures": json.dumps(pictures),
            "run_id": card.run_id,
            "artifacts": card.artifacts,
        }
        table = pa.Table.from_pylist([row])
        self.lake.append_once(model, TABLE, table, source=f"card-{version}", position=1)

    def versions(self, model: str) -> list[str]:
        """Versions that have a card, oldest first."""
        if not self.lake.exists(model, TABLE):
            return []
        found = self.lake.read(model, TABLE, columns=["version"])["version"].to_pylist()
        return sorted(map(str, found), key=int)

    def of(self, model: str, version: str) -> KeptCard | None:
        """A version's card; None where its training kept none.

        Raises DataError for one that cannot be read.
        """
        if not self.lake.exists(model, TABLE):
            return None
        for row in self.lake.read(model, TABLE).to_pylist():
            if row["version"] == version:
                pictures = json.loads(row["pictures"])
                return KeptCard(
                    _facts(model, version, row["facts"]),
                    {name: base64.b64decode(png) for name, png in pictures.items()},
                    row["run_id"],
                    row["artifacts"],
                )
        return None

    def since(self, model: str, version: str) -> Since:
        """What releases, incidents and reports say of a version, all of them oldest first."""
        moves = tuple(
            Move(one.kind, one.from_version, one.to_version, one.loop_time, one.actor, one.reason)
            for one in ReleaseLog(self.lake).records(model)
            if version in (one.from_version, one.to_version)
        )
        incidents = tuple(
            f"{one.loop_time[:10]}: "
            + ("let out of quarantine" if one.kind == CLEARED else f"quarantined ({one.kind})")
            + f" by {one.actor}: {one.reasons}"
            for one in Incidents(self.lake).of(model)
            if one.version == version
        )
        retirements = tuple(
            f"{one.loop_time[:10]}: {one.text}"
            for one in RetirementLog(self.lake).of(model)
            if one.version == version
        )
        return Since(moves, self._served(model, version), (*incidents, *retirements))

    def reported(self, model: str, newest: int) -> list[str]:
        """Versions that the reports on the `newest` periods are about, each once."""
        found: dict[str, None] = {}
        for table in ("performance_reports", "drift_reports"):
            reports = list(kept(self.lake, model, table).values())[-newest:]
            found |= dict.fromkeys(str(one["version"]) for one in reports if one["version"])
        return list(found)

    def champion(self, model: str) -> str:
        """The version that was released last, by the log; empty if none ever was."""
        records = ReleaseLog(self.lake).records(model)
        return records[-1].to_version if records else ""

    def _served(self, model: str, version: str) -> tuple[ServedPeriod, ...]:
        quality = kept(self.lake, model, "performance_reports")
        drift = kept(self.lake, model, "drift_reports")
        found = []
        for period in sorted({*quality, *drift}):
            one, inputs = quality.get(period), drift.get(period)
            loss = one if one and one["version"] == version else {}
            columns = inputs if inputs and inputs["version"] == version else {}
            if loss or columns:
                found.append(
                    ServedPeriod(
                        period=period,
                        predictions=loss.get("predictions", columns.get("rows")),
                        labelled=loss.get("labelled"),
                        loss=loss.get("loss"),
                        reference_loss=loss.get("reference_loss"),
                        verdict=_verdict(loss),
                        harmed=bool(loss.get("harmed") or loss.get("decaying")),
                        drifted=tuple(columns["flagged"]) if columns.get("judged") else None,
                    )
                )
        return tuple(found)


def _facts(model: str, version: str, raw: str) -> VersionFacts:
    try:
        return _FACTS.validate_json(raw)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:3])
        raise DataError(
            f"the card of version {version} of {model} cannot be read ({places}): it was kept by "
            "another release of this software; train a new version to have one."
        ) from error


def publish(tracking_uri: str, card: KeptCard, pages: Mapping[str, str]) -> str:
    """Put pages beside the version's run, in place of older ones; returns where they are.

    Local folders are written here, file by file atomically, because importing MLflow takes
    seconds. Raises DataError where they cannot be written.
    """
    place = urlsplit(card.artifacts)
    root = Path(url2pathname(place.path)) if place.scheme in ("", "file") else None
    about = f"the card of version {card.facts.version} of {card.facts.model}"
    if root is not None and root.is_dir():
        try:
            for name, text in pages.items():
                write_atomically(root / FOLDER / name, text.encode(), durable=False)
        except OSError as error:
            raise DataError(f"{about} cannot be written beside its run: {error}") from error
        return str(root / FOLDER)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=tracking_uri)
    try:
        for name, text in pages.items():
            client.log_text(card.run_id, text, f"{FOLDER}/{name}")
    except (MlflowException, OSError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{about} cannot be written beside its run: {line}") from error
    return f"{card.artifacts}/{FOLDER}"


def _verdict(report: Mapping[str, object]) -> str:
    if not report:
        return ""
    if not report["judged"]:
        return "not judged"
    if report["harmed"]:
        return "harm: loss proven higher"
    return "slow decay" if report.get("decaying") else "no harm"
