from dataclasses import replace

from mlops_assets.domain.card import Notes, Since, Verdict
from mlops_assets.domain.document import Picture, markdown
from mlops_assets.domain.evaluation import Interval
from mlops_assets.domain.model_card import SHOWN_PERIODS, model_card
from mlops_assets_tests.domain.cards import NOTES, SINCE, facts

MITCHELL = (
    "Model details",
    "Intended use",
    "Evaluation data and training data",
    "Quality on the holdout",
    "Parts of the data (factors)",
    "Ethical considerations",
    "Caveats and recommendations",
)


def text(**changes: object) -> str:
    return markdown(model_card(facts(**changes), NOTES, SINCE, {}))


def short(since: Since = SINCE, notes: Notes = NOTES, **changes: object) -> str:
    card = markdown(model_card(facts(**changes), notes, since, {}))
    return card.split("## ")[1]


def test_a_card_has_the_sections_of_the_paper():
    titles = [section.title for section in model_card(facts(), NOTES, SINCE, {}).sections]
    assert set(MITCHELL) < set(titles)
    assert titles[0] == "In short"


def test_the_summary_says_what_how_good_and_whether_it_may_serve():
    found = short()
    assert "Purpose: Plans the vans of tomorrow." in found
    assert "Log loss 0.45 (0.43 to 0.47) on 400 rows of 2026-01-12 to 2026-01-18" in found
    assert "a constant guess has 0.6" in found
    assert "Passed all 2 release gates." in found
    assert "Rolled back to version 1 2026-02-20 by guard: no finite number." in found
    assert "14 periods, the newest 2026-014" in found
    assert "proven higher than at the release in 1, inputs drifted in 4" in found
    assert "Surely worse than on average where zone = far." in found
    assert "Not for letters. Not abroad." in found


def test_a_version_that_failed_or_was_never_released_says_so():
    found = short(Since(), Notes(), gates=(Verdict("calibrated", False, "0.3 above 0.1"),))
    assert "Failed 1 of 1 release gates (calibrated): not to be released." in found
    assert "Was never released." in found
    assert "Not filled in by its owner: card.purpose, owner, card.limits." in found
    released = replace(SINCE, moves=SINCE.moves[:1])
    assert "Released 2026-01-20 by sensor: harm: loss 0.7." in short(released)


def test_every_metric_part_gate_and_input_is_in_a_table():
    found = text()
    assert "| log loss (decides) | 0.45 | 0.43 to 0.47 | 0.6 |" in found
    assert "| zone = far | 90 | 0.7 (0.68 to 0.72) | undefined | undefined | worse than" in found
    assert "| zone = abroad | 10 | too few rows (needed 50) |" in found
    assert "| minimum quality | passed | roc_auc 0.8 |" in found
    assert "| weight | 0.2 (0.18 to 0.22) | +44.4% |  |" in found
    assert "| zone | 0.001 (-0.019 to 0.021) | +0.2% | may be chance |" in found
    assert "Expected calibration error 0.01" in found
    assert "limit 0.1" in found


def test_a_regression_is_told_by_its_errors():
    metrics = {"mae": Interval(5, 4, 6)}
    found = text(task="regression", metrics=metrics, primary_metric="mae", calibration=-2.0)
    assert "On average the predictions are 2 below the truth: 0.3 were predicted" in found
    assert "median label" in found


def test_the_newest_periods_are_shown_and_the_others_counted():
    found = text()
    assert f"The newest {SHOWN_PERIODS} are shown." in found
    assert found.count("| no harm |") == SHOWN_PERIODS
    assert "| 2026-014 | 1,000 | 990 | 0.5 | 0.45 | no harm | zone |" in found
    assert "quarantined (outputs)" in found


def test_a_version_without_parts_says_how_to_get_them():
    assert "name columns in monitoring.slices" in text(slices=())


def test_known_pictures_stand_where_they_belong():
    known = {"calibration": "curve", "importance": "bars"}
    card = model_card(facts(), NOTES, SINCE, known)
    found = {
        section.title: block
        for section in card.sections
        for block in section.blocks
        if isinstance(block, Picture)
    }
    assert found == {
        "Calibration": Picture("calibration", "curve"),
        "What the model relies on": Picture("importance", "bars"),
    }
