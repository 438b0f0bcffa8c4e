"""A registry whose releases and splits a running server follows, and the traffic it answers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from mlops_assets.domain.canary import CanaryPolicy, CanaryState, CanaryStep, advance
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.sequential import Sample, Stratum, compare
from mlops_assets.domain.split import CHAMPION, split_of_words, variant_of
from mlops_assets.settings import Settings
from mlops_assets.stores.incidents import Finding
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.prediction_log import LoggedRequest, read_from, segments
from mlops_assets.stores.registry import CHALLENGER, Registry
from mlops_assets.stores.releases import Releases
from mlops_assets.stores.splits import Splits
from mlops_assets.stores.tracking_store import prepare_tracking_store
from mlops_assets_tests.serving.conftest import Built, frame, records
from mlops_assets_tests.waiting import eventually
from serving.follower import Follower

MODEL = "flight_delay"
PATH = f"/v1/models/{MODEL}/predict"
SUBJECTS = 2_000
TOGETHER = 100
# Version and variant that answered, by subject.
Answers = Mapping[str, tuple[str, str]]


class LiveCanary:
    """Moves splits as people and the canary do, through the registry and a follower.

    Version 1 is the champion; 2 is the other model, and 3 the first one again.
    """

    def __init__(self, settings: Settings, bundles: Mapping[str, Built], folder: Path) -> None:
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        prepare_tracking_store(uri, folder / "artifacts", folder / "locks")
        registry = Registry(uri)
        self.releases = Releases(registry, Lake(str(folder / "lake")), folder / "locks")
        self._log = settings.prediction_log / MODEL
        self._follower = Follower(registry, settings.bundle_cache, settings.serving_state)
        registry.client.create_registered_model(MODEL)
        for name, judged in (("1", ""), ("2", "1"), ("1", "2")):
            run = registry.client.create_run("0")
            registry.client.log_artifacts(run.info.run_id, str(bundles[name].folder), "bundle")
            source = f"runs:/{run.info.run_id}/bundle"
            tags = {"gates": "passed", "judged_against": judged}
            registry.client.create_model_version(MODEL, source, run.info.run_id, tags=tags)
        self.release("1", None)
        self.newest: set[str] = set()
        self._rows = records(SUBJECTS, seed=21)
        for number, row in enumerate(self._rows):
            row["flight"] = f"f{number}"

    def release(self, version: str, expected: str | None) -> None:
        """Everything to one version."""
        self.releases.release(
            MODEL, version, expected_champion=expected, actor="test", reason="", **_now()
        )
        self._follower.step()

    def split(self, challenger: str, *words: str) -> None:
        """What `mlops split` does; the alias names the challenger."""
        self.releases.registry.set_alias(MODEL, CHALLENGER, challenger)
        Splits(self.releases).split(MODEL, split_of_words(words), actor="test")
        self._follower.step()

    def answers(self, client: httpx.Client) -> Answers:
        """Ask about every subject, many together; `newest` are then the predictions' ids."""
        found: dict[str, tuple[str, str]] = {}
        self.newest = set()
        for first in range(0, SUBJECTS, TOGETHER):
            rows = self._rows[first : first + TOGETHER]
            answer = client.post(PATH, json={"records": rows})
            assert answer.status_code == 200, answer.text
            body = answer.json()
            whole = (body["version"], body.get("variant", CHAMPION))
            for row, one in zip(rows, body["predictions"], strict=True):
                self.newest.add(one["prediction_id"])
                found[row["flight"]] = (
                    (one["version"], one["variant"]) if "variant" in one else whole
                )
        return found

    def settled(
        self, client: httpx.Client, champion: str, challenger: str = "", weight: float = 0.0
    ) -> Answers:
        """The answers once every replica follows: as the hash says, three times in a row."""
        weights = ((CHALLENGER, weight),) if weight else ()
        expected = {
            row["flight"]: (challenger, CHALLENGER)
            if variant_of(row["flight"], MODEL, weights) == CHALLENGER
            else (champion, CHAMPION)
            for row in self._rows
        }

        def all_follow() -> bool:
            return all(self.answers(client) == expected for _ in range(3))

        eventually(all_follow, f"every replica follows {weight}%")
        return expected

    def logged(self) -> list[LoggedRequest]:
        """All that was logged until now."""
        return [one for path in segments(self._log) for one in read_from(path, 0)[0]]

    def judge(self, weight: float, truth: Built, ids: set[str]) -> CanaryStep:
        """What the canary's own rules say where labels are as the model `truth` thinks.

        `ids` are of the predictions that count.
        """
        losses: dict[str, list[float]] = {CHAMPION: [], CHALLENGER: []}
        for one in self.logged():
            if one.ids[0] in ids:
                columns = [
                    dict(zip(one.features, v, strict=True))
                    for v in zip(*one.features.values(), strict=True)
                ]
                y = truth.pipeline.predict(frame(columns, truth.contract))
                losses[one.variant] += row_losses("binary", y, np.array(one.outputs)).tolist()
        samples = (Sample.of(np.array(found)) for found in losses.values())
        comparison = compare([Stratum(*samples)], effect=0.05, confidence=0.95)
        state = CanaryState(weight, _now()["at"], len(losses[CHALLENGER]))
        policy = CanaryPolicy(margin=0.0, patience=_now()["at"] - datetime(2000, 1, 1, tzinfo=UTC))
        return advance(state, comparison, policy, _now()["at"])

    def withdraw(self, version: str, reason: str) -> None:
        """What the canary does with a challenger that does harm."""
        finding = Finding("loss", (reason,), {})
        self.releases.withdraw(MODEL, version, finding, actor="canary", **_now())
        self._follower.step()


def _now() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"at": now, "loop_time": now}
