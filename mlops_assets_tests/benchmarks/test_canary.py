from benchmarks.canary.tables import false_promotions, summary
from benchmarks.canary.walk import METHODS, simulate
from benchmarks.canary.worlds import Case

BASE = 0.4924


def cell(challenger: str, own: float, rows: int = 2_000, *, sticky: bool = False, runs: int = 12):
    """One cell of the benchmark's table, by method."""
    case = Case("log loss", rows, challenger, own, BASE, sticky)
    outcomes = [simulate(case, seed) for seed in range(runs)]
    return {m: summary(case, m, [one[m] for one in outcomes]) for m in METHODS}


def test_a_better_challenger_is_promoted_and_a_bad_one_stopped_before_patience_ends():
    better, bad = cell("better by 5%", 0.35), cell("worse by 10%", 1.1)
    assert better["paired"]["promoted"] == 1
    assert bad["paired"]["stopped"] == 1
    assert max(better["paired"]["median_weeks"], bad["paired"]["median_weeks"]) < 8


def test_on_equal_versions_only_the_z_tests_find_a_winner():
    cells = [cell("equal (A/A)", 0.7, sticky=sticky) for sticky in (False, True)]
    rates = {
        method: false_promotions([found[method] for found in cells], method) for method in METHODS
    }
    for method in ("sequential", "paired"):
        assert max(rates[method].values()) <= 0.1
    assert rates["z-test"]["A/A called better, canary"] > 0.2
