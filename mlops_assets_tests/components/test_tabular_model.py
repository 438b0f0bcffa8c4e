import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException

from mlops_assets.stores.bundles import load_scorer
from mlops_assets_tests.loop import Loop, checks, errors, load

# Everything that a user writes to get a third model.
ICE_CREAM = """\
type: mlops_assets.components.TabularModel
attributes:
  task: regression
  source: {kind: csv, path: sales.csv}
  entity: shop
  event_time: day
  label: {column: sold, known_after: P1D}
  period: {every: weekly, start: 2026-01-05}
  columns: {temperature: number, weekend: boolean, flavour: category}
  training: {window: {min: 3}}
"""
# A good spec; each case below spoils one place of it.
GOOD = """\
type: mlops_assets.components.TabularModel

attributes:
  task: regression
  # Sold by our shops.
  source: {kind: csv, path: sales.csv}
  entity: shop
  event_time: day
  label: {column: sold, known_after: P1D}
  period:
    every: weekly
    start: 2026-01-05
    end: 2026-06-01
  columns:
    temperature: number
    weekend: boolean
    flavour:
      type: category
  derived:
    - name: warmth
      kind: log1p
      columns: [temperature]
  training:
    window:
      min: 3
      last: 6
    metric: mae
  gates:
    minimum: {r2: 0.1}
"""
# What is replaced, by what, on the line of which text the mistake is found, and what is said.
WRONG = {
    "unknown column": (
        "temperature: number",
        "temprature: number",
        "temprature",
        r"columns\.temprature: the source has no column 'temprature'; it has .*temperature",
    ),
    "bad type": (
        "type: category",
        "type: colour",
        "type: colour",
        r"should be 'number', 'integer', 'category' or 'boolean'.*input_value='colour'",
    ),
    "bad type in short": (
        "weekend: boolean",
        "weekend: flag",
        "weekend: flag",
        r"should be 'number', 'integer', 'category' or 'boolean'.*input_value='flag'",
    ),
    "label among the features": (
        "weekend: boolean",
        "sold: number",
        "sold: number",
        r"columns\.sold: 'sold' is the label: .* remove it from columns",
    ),
    "a column with two roles": (
        "weekend: boolean",
        "shop: category",
        "shop: category",
        r"columns\.shop: 'shop' is already the entity; .* remove it from columns",
    ),
    "overlapping names": (
        "name: warmth",
        "name: weekend",
        "name: weekend",
        r"derived\.0\.name: 'weekend' is taken; choose another name",
    ),
    "a name of the lake's own": (
        "entity: shop",
        "entity: period",
        "entity: period",
        r"entity: 'period' is a name that the lake uses itself; rename it in the source",
    ),
    "impossible window": (
        "last: 6",
        "last: 2",
        "last: 2",
        r"training\.window\.last: last 2 is below min 3: no training could ever start",
    ),
    "window longer than the history": (
        "      min: 3\n      last: 6",
        "      min: 30",
        "min: 30",
        r"training\.window\.min: the history .* has 21 weekly periods, but a training needs 34",
    ),
    "history that ends before it starts": (
        "end: 2026-06-01",
        "end: 2025-06-01",
        "end: 2025-06-01",
        r"period\.end: end 2025-06-01 is not after start 2026-01-05",
    ),
    "unknown key": (
        "metric: mae",
        "metrics: mae",
        "metrics: mae",
        r"attributes\.training\.metrics.*not permitted",
    ),
    "metric of another task": (
        "metric: mae",
        "metric: roc_auc",
        "metric: roc_auc",
        r"training\.metric: 'roc_auc' does not exist for regression; use mae, ",
    ),
    "gate on an unknown metric of the task": (
        "minimum: {r2: 0.1}",
        "minimum: {accuracy: 0.1}",
        "minimum: {accuracy",
        r"gates\.minimum\.accuracy: 'accuracy' does not exist for regression",
    ),
}


def sales(folder: Path, weeks: int = 8) -> None:
    """A CSV file of daily sales; warm weekends sell."""
    draw = np.random.default_rng(0)
    with (folder / "sales.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["shop", "day", "temperature", "weekend", "flavour", "sold"])
        for number in range(weeks * 7):
            day = datetime(2026, 1, 5, 12, tzinfo=UTC) + timedelta(days=number)
            for shop in range(20):
                warmth, weekend = draw.uniform(5, 30), day.weekday() > 4
                sold = 3 * warmth + 40 * weekend + draw.normal(0, 3)
                flavour = ("vanilla", "mint", "")[shop % 3] or "nut"
                writer.writerow(
                    [shop, f"{day:%Y-%m-%dT%H:%M:%S}", f"{warmth:.2f}", weekend, flavour, sold]
                )


def new_model(models: Path, text: str) -> Path:
    folder = models / "ice_cream"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(text)
    sales(folder)
    return folder / "defs.yaml"


def told(error: BaseException | None) -> str:
    """An exception's message and those of its causes."""
    return f"{error}\n{told(error.__cause__)}" if error else ""


def test_a_third_model_is_a_folder_and_its_loop_runs(loop: Loop, tmp_path: Path):
    assert len(ICE_CREAM.splitlines()) - 2 <= 10
    new_model(tmp_path, ICE_CREAM)
    loop.at("2026-03-02")
    definitions = loop.load(tmp_path)
    for sensor, job in (("new_periods", "ingest"), ("retrain", "train")):
        (request,) = loop.tick(f"ice_cream__{sensor}", definitions=definitions).run_requests
        assert request.job_name == f"ice_cream__{job}"
        result = loop.follow(request, definitions)
        assert result.success, errors(result)
    assert all(check.passed for check in checks(result).values())
    assert loop.alias("ice_cream") == "1"
    stores = loop.stores
    scorer = load_scorer(stores.registry.cached_bundle("ice_cream", "1", stores.bundles))
    warm, cold = scorer.score(
        {
            "temperature": np.array([29.0, 6.0]),
            "weekend": np.array([1.0, 0.0]),
            "flavour": np.array(["mint", "mint"], dtype=object),
        }
    )[:, 0]
    assert warm == pytest.approx(127, abs=15)
    assert cold == pytest.approx(18, abs=15)


def test_the_good_spec_loads(tmp_path: Path):
    new_model(tmp_path / "models", GOOD)
    found = load(tmp_path / "home", tmp_path / "models")
    names = {key.path[0] for key in found.resolve_asset_graph().get_all_asset_keys()}
    assert names == {"ice_cream"}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_spec_fails_at_load_with_file_line_value_and_fix(case: str, tmp_path: Path):
    good, bad, place, message = WRONG[case]
    assert GOOD.count(good) == 1
    text = GOOD.replace(good, bad)
    yaml.safe_load(text)
    path = new_model(tmp_path / "models", text)
    with pytest.raises(ComponentTreeException) as caught:
        load(tmp_path / "home", tmp_path / "models")
    found = told(caught.value)
    assert re.search(message, found, re.DOTALL), found
    (line,) = [number for number, row in enumerate(text.splitlines(), 1) if place in row]
    assert f"{path}:{line}" in found
    assert not (tmp_path / "home").exists(), "nothing ran"


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    text = GOOD.replace("temperature: number", "heat: number").replace("last: 6", "last: 1")
    path = new_model(tmp_path / "models", text)
    with pytest.raises(ComponentTreeException) as caught:
        load(tmp_path / "home", tmp_path / "models")
    lines = re.findall(rf"{re.escape(str(path))}:(\d+): ([\w.]+)", told(caught.value))
    assert {name for _, name in lines} >= {"columns.heat", "training.window.last"}


def test_a_source_that_is_away_does_not_take_the_definitions_down(tmp_path: Path):
    path = new_model(tmp_path / "models", GOOD)
    (path.parent / "sales.csv").unlink()
    found = load(tmp_path / "home", tmp_path / "models")
    assert found.resolve_job_def("ice_cream__ingest")
