import pandas as pd

from mlops_assets.domain.restatement import LabelChanges, label_changes


def labels(**of: str | float) -> pd.DataFrame:
    """Labels by entity, all of one moment."""
    at = pd.Timestamp("2026-01-01", tz="UTC")
    return pd.DataFrame(
        {"entity": list(of), "event_time": [at] * len(of), "label": list(of.values())}
    )


def test_labels_that_came_changed_or_were_taken_back_are_counted():
    before, after = labels(a="0", b="1", c="0"), labels(b="1", c="1", d="0", e="0")
    assert label_changes(before, after) == LabelChanges(came=2, changed=1, withdrawn=1)
    assert label_changes(after, before) == LabelChanges(came=1, changed=1, withdrawn=2)


def test_equal_labels_are_no_change_in_any_order():
    one = labels(a=1.5, b=2.0)
    assert not label_changes(one, one.iloc[::-1])
    assert label_changes(one, labels(a=1.5, b=2.5))


def test_the_same_entity_at_another_time_is_another_row():
    one = labels(a="1")
    other = one.assign(event_time=one["event_time"] + pd.Timedelta(hours=1))
    assert label_changes(one, other) == LabelChanges(came=1, changed=0, withdrawn=1)


def test_everything_came_where_there_was_nothing():
    nothing = pd.DataFrame({"entity": [], "event_time": [], "label": []}, dtype="object")
    assert label_changes(nothing, labels(a="1", b="0")) == LabelChanges(2, 0, 0)
