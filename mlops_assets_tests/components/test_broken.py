from pathlib import Path

import dagster as dg
import pytest

from mlops_assets_tests.components.test_tabular_model import GOOD, new_model
from mlops_assets_tests.loop import add_parcels, load

# What is broken, and what is said of it.
BROKEN: dict[str, tuple[str | bytes, str]] = {
    "no YAML": (GOOD.replace("entity: shop", "entity: [shop"), "expected ',' or ']'"),
    "an unknown key": (GOOD.replace("metric: mae", "metrics: mae"), "defs.yaml:27"),
    "a broken rule": (
        GOOD.replace("metric: mae", "metric: roc_auc"),
        "ice_cream/defs.yaml:27: training.metric: 'roc_auc' does not exist for regression",
    ),
    "an unknown component": (GOOD.replace("TabularModel", "Tabular"), "has no attribute `Tabular`"),
    "text that is not UTF-8": ("# Glacé\n".encode("cp1252") + GOOD.encode(), "can't decode byte"),
    "braces without quotes": (GOOD.replace("entity: shop", "entity: {{ shop }}"), "unhashable"),
    "two documents": (f"{GOOD}\n---\n{GOOD}", "a file holds one model"),
    "nothing": ("", "No components found"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_broken_model_is_reported_and_the_others_load(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    text, told = BROKEN[case]
    path = new_model(tmp_path / "models", GOOD)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    add_parcels(tmp_path / "models", "parcels", days=1)
    found = load(tmp_path / "home", tmp_path / "models")
    assert found.resolve_job_def("parcels__train")
    report = found.resolve_asset_graph().get(dg.AssetKey(["ice_cream", "broken_spec"]))
    assert told in str(report.description)
    assert "mlops check ice_cream" in str(report.description)
    assert not report.is_executable
    assert "model ice_cream is left out" in caplog.text
