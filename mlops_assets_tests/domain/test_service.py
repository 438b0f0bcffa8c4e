from mlops_assets.domain.service import SETTLED, Scored, Trained, versions_of

WEEKS = tuple(f"w{week:02}" for week in range(10))
ONE, TWO = Trained("w00", "w03", 4, 400), Trained("w00", "w06", 7, 700)


def found(scored: list[Scored], live: str, **trained: Trained):
    named = {name.removeprefix("v"): one for name, one in trained.items()}
    return versions_of(WEEKS, scored, named, live)


def test_a_version_has_the_losses_of_the_periods_that_it_served():
    (version,) = found([Scored("w06", "1", 0.4), Scored("w07", "1", 0.5)], "1", v1=ONE)
    assert (version.name, version.end, version.window, version.rows) == ("1", 4, None, 400)
    assert version.losses == {6: 0.4, 7: 0.5}


def test_the_version_before_is_scored_on_the_same_rows():
    scored = [
        Scored("w06", "1", 0.4),
        Scored("w07", "2", 0.3, "1", 0.45),
        Scored("w08", "2", 0.35, "1", 0.5),
    ]
    before, live = found(scored, "2", v1=ONE, v2=TWO)
    assert before.losses == {6: 0.4, 7: 0.45, 8: 0.5}
    assert live.losses == {7: 0.3, 8: 0.35}
    assert (before.end, live.end) == (4, 7)


def test_a_version_that_has_just_been_released_has_no_losses_yet():
    before, live = found([Scored("w07", "1", 0.4)], "2", v1=ONE, v2=TWO)
    assert (live.name, live.losses) == ("2", {})
    assert before.losses == {7: 0.4}


def test_a_version_that_comes_back_by_a_rollback_is_listed_last_again():
    scored = [
        Scored("w06", "1", 0.4),
        Scored("w07", "2", 0.9, "1", 0.41),
        Scored("w08", "1", 0.42, "2", 0.95),
    ]
    names = [(one.name, one.losses) for one in found(scored, "1", v1=ONE, v2=TWO)]
    assert names == [("1", {6: 0.4, 7: 0.41}), ("2", {7: 0.9, 8: 0.95}), ("1", {8: 0.42})]


def test_a_version_that_served_less_than_a_period_counts_as_the_one_before():
    scored = [Scored("w06", "1", 0.4), Scored("w07", "3", 0.3, "2", 0.35)]
    names = [one.name for one in found(scored, "3", v1=ONE, v2=TWO, v3=TWO)]
    assert names == ["1", "2", "3"]


def test_versions_of_unknown_training_are_left_out_and_of_the_live_one_nothing_is_known():
    scored = [Scored("w06", "1", 0.4), Scored("w07", "2", 0.3)]
    (live,) = found(scored, "2", v2=TWO)
    assert live.name == "2"
    assert found(scored, "2", v1=ONE) is None


def test_a_window_is_told_in_periods_of_the_fit():
    sliding = Trained("w02", "w06", 5, 500)
    (version,) = found([Scored("w07", "1", 0.4)], "1", v1=sliding)
    assert (version.end, version.window) == (7, 5)


def test_a_version_older_than_all_periods_at_hand_passes_for_a_settled_one():
    old = Trained("a00", "a09", 10, 1000)
    (version,) = versions_of(WEEKS, [], {"1": old}, "1", older=50) or []
    assert version.end == SETTLED
    assert version.window is None
