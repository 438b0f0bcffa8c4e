"""What a replay needs before it begins; whole replays are in test_replay."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.cli.loops import Loop, Sent
from mlops_assets.cli.replaying import replay
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets_tests.loop import add_parcels, read_model


class Asleep(Loop):
    """A loop whose sensors have nothing to do."""

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        return Sent()

    def settle(self, period: str | None) -> None:
        return None

    def finish(self) -> None:
        return None

    def acted_on(self, decision: str) -> bool:
        return False

    def swapped(self, version: str) -> float | None:
        return None


def test_a_replay_of_a_model_that_has_no_version_says_where_to_look(tmp_path: Path) -> None:
    model = read_model(add_parcels(tmp_path / "models", "parcels"))
    settings = Settings(home=tmp_path / "home")
    with pytest.raises(ServiceError, match=r"parcels has no released version.*mlops status"):
        next(replay(settings, model, Asleep(), ["2026-01-09"], lambda _: None))
