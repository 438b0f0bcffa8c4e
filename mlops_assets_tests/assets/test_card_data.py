from mlops_assets.assets.card_data import derived
from mlops_assets_tests.regulars import HISTORY, regular_model


def test_how_far_an_input_looks_back_is_told_as_people_say_it():
    shorter = [{**HISTORY[0], "window": "36h"}, *HISTORY[1:4:2], {**HISTORY[6], "window": "1d"}]
    assert derived(regular_model(history=shorter).spec) == (
        "sent_before: count of rows in the 36 hours before, by sender",
        "usual_weight: mean of weight in the 4 days before, by sender",
        "days_quiet: days_since_last of rows in the 4 days before, by sender",
        "heaviest_today: max of weight in the 1 day before, by sender",
    )
