"""The models in `examples` are documentation that runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_assets.cli import main
from mlops_assets.spec.rules import problems
from mlops_assets_tests.loop import Loop, errors, read_model

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NAMES = ("desert_rodents", "late_planes")


def test_every_example_has_a_spec_a_readme_and_a_line_in_the_list():
    assert tuple(sorted(p.parent.name for p in EXAMPLES.glob("*/defs.yaml"))) == NAMES
    told = (EXAMPLES / "README.md").read_text()
    for name in NAMES:
        assert (EXAMPLES / name / "README.md").is_file()
        assert f"({name}/README.md)" in told


@pytest.mark.parametrize("name", NAMES)
def test_the_spec_of_an_example_says_what_a_card_needs(name: str):
    spec = read_model(EXAMPLES / name).spec
    assert problems(spec) == ()
    assert spec.description
    assert spec.card.purpose
    assert spec.card.limits
    assert spec.card.data.licence


def test_the_examples_have_no_problem_with_their_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLOPS_MODELS_DIR", str(EXAMPLES))
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    done = CliRunner().invoke(main, ["check", "--json"])
    assert done.exit_code == 0, done.output
    found = {one["model"]: one["findings"] for one in json.loads(done.output)["models"]}
    codes = {name: {finding["code"] for finding in found[name]} for name in NAMES}
    assert codes == {
        "desert_rodents": {"leak", "empty_periods"},
        "late_planes": {"before_start", "after_end", "rejected", "duplicate_keys"},
    }


def test_rodents_are_learned_released_and_told_by_species(loop: Loop):
    definitions = loop.load(EXAMPLES)
    loop.at("1991-07-08")
    for job, *periods in (("ingest", "1990-01-01", "1991-06-01"), ("train",)):
        done = loop.run(f"desert_rodents__{job}", *periods, definitions=definitions)
        assert done.success, errors(done)
    assert loop.alias("desert_rodents") == "1"
    record = {
        "capture": 1,
        "caught_on": "1991-07-02",
        "plot_type": "control",
        "sex": "male",
        "hindfoot_mm": 36,
        "weight_g": 44,
    }
    (answer,) = loop.serve("desert_rodents", "1991-07-01", [record])["predictions"]
    assert answer["prediction"] == "Dipodomys merriami"
    # Neither it nor Peromyscus maniculatus had been caught by then.
    assert "Chaetodipus baileyi" not in answer["probability"]
    assert len(answer["probability"]) == 7
    assert sum(answer["probability"].values()) == pytest.approx(1, abs=1e-5)


def test_what_planes_did_before_is_an_input_and_published(loop: Loop):
    definitions = loop.load(EXAMPLES)
    loop.at("2013-06-04")
    done = loop.run("late_planes__ingest", "2013-06-01", "2013-06-03", definitions=definitions)
    assert done.success, errors(done)
    rows = loop.stores.lake.read("late_planes", "features", periods=["2013-06-03"]).to_pandas()
    assert rows["plane_flights"].between(0, 20).all()
    assert 0.5 < rows["plane_delay"].notna().mean() < 1
    assert rows["carrier_delay"].notna().mean() > 0.95
