"""What is done before the replicas start; test_follower.py has what the follower does after."""

import contextlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from mlops_assets.domain.plan import ServingPlan
from mlops_assets.settings import Settings
from mlops_assets.stores.registry import Registry
from mlops_assets_tests.serving.conftest import Built, publish
from mlops_assets_tests.serving.test_follower import Folders, release
from mlops_assets_tests.serving.test_process import start
from mlops_assets_tests.serving.test_sidecar import registry as registry
from mlops_assets_tests.waiting import eventually
from serving.follower import Follower
from serving.following import look_first


class Hanging(Folders):
    """A registry that takes a question and does not answer before it is let go."""

    def __init__(self) -> None:
        super().__init__({})
        self.may_answer = threading.Event()
        self.has_answered = threading.Event()

    def plans(self) -> Mapping[str, ServingPlan]:
        self.may_answer.wait(60)
        self.has_answered.set()
        return {}


@pytest.fixture
def pointer(tmp_path: Path, bundles: dict[str, Built]) -> Path:
    """What was served last: version 1."""
    path = tmp_path / "serving" / "state.json"
    publish(path, flight_delay=("1", bundles["1"].folder))
    return path


def served(pointer: Path) -> str:
    return str(json.loads(pointer.read_text())["models"]["flight_delay"]["version"])


def test_what_was_released_while_nothing_ran_is_known_before_anything_is_served(
    pointer: Path, bundles: dict[str, Built], tmp_path: Path
):
    source = Folders({("flight_delay", "2"): bundles["2"].folder})
    source.released = {"flight_delay": release("2")}
    look_first(Follower(source, tmp_path / "bundles", pointer))
    assert served(pointer) == "2"


def test_while_the_registry_is_away_what_was_served_last_is_kept(pointer: Path, tmp_path: Path):
    source = Folders({})
    source.is_away = True
    look_first(Follower(source, tmp_path / "bundles", pointer))
    assert served(pointer) == "1"


def test_a_registry_that_hangs_is_not_waited_for(pointer: Path, tmp_path: Path):
    source = Hanging()
    look_first(Follower(source, tmp_path / "bundles", pointer), seconds=0.01)
    assert not source.has_answered.is_set()
    assert served(pointer) == "1"
    source.may_answer.set()


def test_the_endpoint_looks_before_it_starts_its_replicas(
    registry: Registry, pointer: Path, bundles: dict[str, Built], tmp_path: Path
):
    # What was served last is another version than the registry's champion, which is 1.
    publish(pointer, flight_delay=("7", bundles["1"].folder))
    settings = Settings(
        home=tmp_path, serve_port=0, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"
    )
    assert settings.serving_state == pointer
    process = start(settings)
    try:
        eventually(lambda: served(pointer) != "7" or process.poll() is not None)
        family = psutil.Process(process.pid).children(recursive=True)
        assert served(pointer) == "1"
        assert [one.name() for one in family if one.name() in ("raylet", "gcs_server")] == []
    finally:
        # A start that Ray is in the middle of ends by itself only when Ray is up.
        for one in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
