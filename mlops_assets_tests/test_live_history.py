"""One full run of a real history: Dagster's daemon and sensors, MLflow, Ray Serve over HTTP.

Bikes from their first release on, sixteen months in a row, with the default policy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.cli.live_loop import LiveLoop
from mlops_assets.cli.loops import Sent
from mlops_assets_tests.bikes import BIKES, CHANGES, assert_decided_alike, backtest
from mlops_assets_tests.live import Lived, live
from mlops_assets_tests.loop import add_model, shipped, utc

# Sixteen months of real runs take minutes, and longer where another worker tests beside.
pytestmark = [pytest.mark.loop, pytest.mark.timeout(1800)]


class Patient(LiveLoop):
    """Lets each retrain end before the next period's requests.

    A backtest knows whole periods of one version only; in operation the rows of the period in
    which the version changes are answered by both.
    """

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        self.finish()
        self.swapped(self._stores.releases.history(self._model.name)[-1].to_version)
        return super().send(requests)


@pytest.fixture(scope="module")
def lived(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    root = tmp_path_factory.mktemp("history")
    add_model(root / "models", BIKES, shipped(BIKES, **CHANGES))
    return live(root, prepared_home, BIKES, utc("2011-08-01"), utc("2012-12-01"), Patient)


def test_every_decision_is_that_of_a_backtest_of_the_same_history(
    lived: Lived, tmp_path_factory: pytest.TempPathFactory
):
    cache = tmp_path_factory.mktemp("cache")
    _, steps = backtest(lived.model, lived.stores.lake, "2013-01-01", cache)
    actions = assert_decided_alike(lived.stores.lake, BIKES, steps)
    assert len(actions) == 16
    assert {"retrain", "alert", "nothing"} <= {*actions}
    assert [row.served for row in lived.rows] == [step.rows for step in steps]
    assert [row.loss_live for row in lived.rows] == pytest.approx(
        [step.loss for step in steps], rel=1e-4
    )


def test_the_versions_released_on_the_way_beat_the_first_one(lived: Lived):
    assert [row.failed for row in lived.rows] == [0] * 16
    assert int(lived.rows[-1].version) > 3
    newest = lived.rows[-6:]
    assert sum(row.loss_live for row in newest) < sum(row.loss_first for row in newest)
    assert lived.left == []
