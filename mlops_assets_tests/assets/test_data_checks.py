import dagster as dg

from mlops_assets.assets.data_checks import Judged


def rows(good: int, bad: int) -> tuple[range, range]:
    return range(good), range(bad)


def judge(judged: Judged, **periods: tuple[range, range]) -> list[str]:
    good = {period: part[0] for period, part in periods.items()}
    return judged.refuse(good, {period: part[1] for period, part in periods.items()})


def test_a_period_is_refused_by_its_own_share_and_the_check_counts_all():
    judged = Judged(limit=0.02)
    judged.failures.update({"weight": 4, "zone": 1})
    assert judge(judged, mon=rows(98, 2), tue=rows(97, 3)) == ["tue"]
    assert judge(judged, wed=rows(0, 0)) == []
    check = judged.check(dg.AssetKey("parcels"))
    assert not check.passed
    assert check.description == (
        "5 of 200 rows rejected (limit 2.00% of a period); refused tue: 3.00%; mostly weight, zone"
    )
    assert check.metadata["rejected_rows"].value == 5


def test_periods_within_the_limit_pass():
    judged = Judged(limit=0.02)
    assert judge(judged, mon=rows(98, 2)) == []
    check = judged.check(dg.AssetKey("parcels"))
    assert check.passed
    assert check.description == "2 of 100 rows rejected (limit 2.00% of a period)"
