import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets_tests.churn import churn, write_csv

SPEC = """\
type: mlops_assets.components.TabularModel

attributes:
  task: binary
  source: {kind: csv, path: churn.csv}
  entity: customer_id
  event_time: snapshot_at
  label: {column: left, known_at: decided_at}
  period: {every: weekly, start: 2026-05-04}
  columns:
    usage_hours: {type: number, min: 0, max: 1000}
    tickets: integer
    plan: category
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with one model, churn, in which nothing is wrong."""
    folder = tmp_path / "models"
    monkeypatch.setenv("MLOPS_MODELS_DIR", str(folder))
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    (folder / "churn").mkdir(parents=True)
    write_csv(churn(), folder / "churn" / "churn.csv")
    write(folder)
    return folder


def write(models: Path, *changes: tuple[str, str]) -> Path:
    text = SPEC
    for good, bad in changes:
        assert good in text
        text = text.replace(good, bad)
    path = models / "churn" / "defs.yaml"
    path.write_text(text)
    return path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def findings(*arguments: str) -> list[dict]:
    return list(json.loads(check("--json", *arguments).output)["models"][0]["findings"])


def test_a_good_model_passes(models: Path):
    done = check()
    assert done.exit_code == 0
    assert done.output == "churn: 1,800 rows\n  all good\n"


def test_nothing_is_trained_or_kept(models: Path):
    check()
    assert not (models.parent / "home").exists()


def test_every_mistake_of_a_spec_is_told_at_once_with_its_line(models: Path):
    path = write(models, ("task: binary", "task: clever"), ("every: weekly", "evry: weekly"))
    done = check("churn")
    assert done.exit_code == 1
    assert f"{path}:4: task: " in done.output
    assert f"{path}:9: period.evry: " in done.output
    assert "'clever'" in done.output


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("type: mlops_assets.components.TabularModel\n", "", "2: type: it is missing: write"),
        (".TabularModel", ".Tabular", "1: type: 'mlops_assets.components.Tabular' is no model"),
        ("type: mlops_assets.components.", "type: .", "1: type: '.TabularModel' is no model"),
        (
            "  task: binary",
            "  task: binary\n  task: binary",
            "5: task: the key 'task' is in line 4",
        ),
        ("tickets: integer", "plan: integer", "13: columns.plan: the key 'plan' is in line 12"),
        ("task: binary", "taks: binary", "4: taks: there is no key 'taks' here: is 'task' meant?"),
        ("entity: customer_id", "entity: {{ x }}", "1: : no YAML: braces in braces"),
    ],
)
def test_what_dagster_would_not_load_and_yaml_would_pass_over_is_told(
    good: str, bad: str, told: str, models: Path
):
    path = write(models, (good, bad))
    done = check("churn")
    assert done.exit_code == 1
    assert f"{path}:{told}" in done.output


def test_a_folder_whose_name_is_no_models_is_told(models: Path):
    (models / "churn").rename(models / "my-churn")
    done = check("my-churn")
    assert done.exit_code == 1
    assert "the folder's name 'my-churn' is no name for a model" in done.output


def test_a_class_that_builds_on_ours_is_a_model(models: Path):
    write(models, ("mlops_assets.components.", "mlops_assets.components.tabular_model."))
    assert check("churn").exit_code == 0


def test_candidates_are_imported_and_their_settings_tried(models: Path):
    candidates = (
        "columns:",
        "training:\n    candidates:\n"
        "      - estimator: sklearn.svm:SVC\n"
        "      - {estimator: hist_gradient_boosting, grid: [{max_itter: 3}]}\n"
        "      - estimator: sklearn.ensemble:ExtraTreesClassifier\n  columns:",
    )
    path = write(models, candidates)
    done = check("churn")
    assert done.exit_code == 1
    assert f"{path}:12: training.candidates.0.estimator: sklearn.svm:SVC cannot be" in done.output
    assert "has no setting 'max_itter'; it has categorical_features" in done.output
    assert "2 problems" in done.output


def test_rules_between_the_parts_and_missing_columns_have_lines_too(models: Path):
    path = write(
        models,
        ("tickets: integer", "tikets: integer"),
        ("entity: customer_id", "entity: custmer"),
        ("columns:", "training: {metric: mae}\n  columns:"),
    )
    output = check("churn").output
    assert f"{path}:13: columns.tikets: the source has no column 'tikets'" in output
    assert f"{path}:6: entity: the source has no column 'custmer'" in output
    assert f"{path}:10: training.metric: 'mae' does not exist for binary" in output


def test_yaml_that_is_none_is_told_with_its_line(models: Path):
    path = write(models, ("entity: customer_id", "entity: [customer_id"))
    done = check("churn")
    assert done.exit_code == 1
    assert f"{path}:7: : no YAML" in done.output


@pytest.mark.parametrize("text", ["", "attributes: 3", "- a", "type: x"])
def test_a_file_that_is_no_model_is_told(text: str, models: Path):
    (models / "churn" / "defs.yaml").write_text(text)
    (found,) = findings()
    assert found["code"] == "yaml"
    assert "attributes" in found["message"]


def test_a_source_that_is_away_is_told_on_its_line(models: Path):
    (models / "churn" / "churn.csv").unlink()
    (found,) = findings()
    assert (found["code"], found["line"], found["place"]) == ("source", 5, "source")
    assert "does not exist" in found["message"]


def test_a_column_of_no_times_is_told(models: Path):
    write(
        models, ("event_time: snapshot_at", "event_time: tickets"), ("    tickets: integer\n", "")
    )
    (found,) = findings()
    assert found["level"] == "problem"
    assert "'tickets'" in found["message"]
    assert "timestamp" in found["message"]


def test_what_the_rows_say_is_told_with_line_share_and_example(models: Path):
    frame = churn().astype({"usage_hours": object})
    frame.loc[:99, "usage_hours"] = "unknown"
    write_csv(frame, models / "churn" / "churn.csv")
    done = check()
    assert done.exit_code == 1
    assert (
        "defs.yaml:11: columns.usage_hours: 100 of 1,800 rows (5.56%) would be rejected: "
        "usage_hours: 'unknown' is no number" in done.output
    )
    assert "validation.max_rejected_share: 1 of 12 periods would be refused" in done.output


def test_warnings_alone_exit_with_zero(models: Path):
    frame = churn().query("snapshot_at < '2026-06-01T00Z' or snapshot_at >= '2026-06-08T00Z'")
    write_csv(frame, models / "churn" / "churn.csv")
    done = check()
    assert done.exit_code == 0
    assert "! warning" in done.output
    assert "1 of 12 periods have no row: 2026-06-01" in done.output


def test_unsorted_rows_are_fine_and_said(models: Path):
    write_csv(churn().sample(frac=1, random_state=0), models / "churn" / "churn.csv")
    done = check()
    assert done.exit_code == 0
    assert "rows are not in order of time: no harm" in done.output


def test_text_that_is_not_utf_8_is_refused_with_the_way_out(models: Path):
    frame = churn().assign(plan=lambda f: f["plan"] + "é")
    write_csv(frame, models / "churn" / "churn.csv", encoding="latin-1")
    done = check()
    assert done.exit_code == 1
    assert "UTF-8" in done.output


def test_one_broken_model_hides_no_other(models: Path):
    (models / "broken").mkdir()
    (models / "broken" / "defs.yaml").write_text("attributes: [")
    done = check()
    assert done.exit_code == 1
    assert "churn: 1,800 rows\n  all good" in done.output
    assert "broken" in done.output


def test_an_unknown_model_is_refused(models: Path):
    done = check("chrun")
    assert done.exit_code == 1
    assert "there is no model 'chrun'; models: churn" in done.output


def test_a_secret_in_a_source_is_never_repeated(models: Path):
    secret = "{kind: sql, url: 'postgresql://me:hunter2@db/x', password: hunter2, table: t}"
    write(models, ("{kind: csv, path: churn.csv}", secret))
    output = check().output
    assert "hunter2" not in output
    assert "source" in output
