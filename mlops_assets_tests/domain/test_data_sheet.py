from mlops_assets.domain.card import Notes, Rejections
from mlops_assets.domain.data_sheet import data_sheet
from mlops_assets.domain.document import markdown
from mlops_assets_tests.domain.cards import NOTES, facts

GEBRU = [
    "Motivation",
    "Composition",
    "Collection",
    "Preprocessing, cleaning and labelling",
    "Uses",
    "Distribution",
    "Maintenance",
]


def test_a_sheet_has_the_sections_of_the_paper():
    assert [section.title for section in data_sheet(facts(), NOTES).sections] == GEBRU


def test_a_sheet_tells_the_rows_their_columns_and_what_was_rejected():
    found = markdown(data_sheet(facts(), NOTES))
    assert "1,400 rows with a known label, from 2025-01-01 to 2026-01-18" in found
    assert "| holdout | 2026-01-12 to 2026-01-18 | 1 | 400 | 29.0% 1, 71.0% 0 |" in found
    assert "| weight | number | kg | 0 to 50; may be missing | 40.0% | 0 to 20 |" in found
    assert "Of 1,405 rows of the source in these periods 5 (0.36%) broke the contract" in found
    assert found.index("| weight | 4 |") < found.index("| light | 2 |")
    assert "- light: weight &lt; 40" in found
    assert "- heavy: bins of weight" in found
    assert "| Origin | our own scanners |" in found
    assert "lost parcels." in found


def test_a_sheet_begins_with_the_rows_of_the_search_where_a_window_moved_on_for_the_last_fit():
    found = markdown(data_sheet(facts(fitted_from="2025-02-01T00:00:00+00:00"), NOTES))
    assert "1,400 rows with a known label, from 2025-01-01 to 2026-01-18" in found


def test_a_sheet_names_what_nobody_filled_in():
    found = markdown(data_sheet(facts(rejections=Rejections(0, 0), checks=(), derived=()), Notes()))
    for place in ("card.purpose", "card.data.origin", "card.data.licence", "card.data.personal"):
        assert place in found
    assert "Of 0 rows of the source in these periods 0 broke" in found
