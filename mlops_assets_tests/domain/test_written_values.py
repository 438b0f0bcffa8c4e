from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.written_values import (
    are_dressed_numbers,
    has_decimal_commas,
    has_decimal_points,
    time_formats,
)

FORMATS = {
    ("9/30/1990 0:00:00", "11/29/1993 0:00:00"): ("%m/%d/%Y %H:%M:%S",),
    ("01/02/2024", "03/04/2024"): ("%m/%d/%Y", "%d/%m/%Y"),
    ("2016/01/01 00:47:36",): ("%Y/%m/%d %H:%M:%S",),
    ("31.12.2024 10:00",): ("%d.%m.%Y %H:%M",),
    ("1972", "1980"): ("%Y",),
    ("20240131",): ("%Y%m%d",),
    ("Mar-2018",): ("%b-%Y",),
    ("2024-01",): ("%Y-%m",),
    ("yesterday",): (),
    ("12", "13"): (),
    ("1354612356",): (),
    ("1972", "unknown"): (),
    (): (),
}


@pytest.mark.parametrize("values", FORMATS)
def test_the_format_of_times_is_found_or_both_are_told(values: tuple[str, ...]):
    assert time_formats(values) == FORMATS[values]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), min_size=1, max_size=20),
    st.sampled_from(["%d.%m.%Y", "%m/%d/%Y", "%d-%b-%Y", "%Y%m%d", "%B %d, %Y"]),
)
def test_the_format_that_wrote_the_times_is_among_the_found(days: list[date], form: str):
    found = time_formats([day.strftime(form) for day in days])
    # Of May nobody can tell whether its name is short.
    assert form in found or form.replace("%B", "%b") in found


@pytest.mark.parametrize(
    ("values", "commas"),
    [
        (["1,5", "-2,25", "3"], True),
        (["1,5", "n/a"], False),
        (["1", "2"], False),
        (["1.5"], False),
        (["1,234,567"], False),
        ([], False),
    ],
)
def test_decimal_commas_are_seen_where_all_values_are_numbers(values: list[str], commas: bool):
    assert has_decimal_commas(values) is commas


def test_one_decimal_point_is_enough():
    assert has_decimal_points(["x", "1.5"])
    assert not has_decimal_points(["x", "1,5", "31.12.2024"])


@pytest.mark.parametrize(
    ("values", "dressed"),
    [
        (("1,234.50 €", "12.00 €"), True),
        (("$5", "$1,200"), True),
        (("3.5%", "-40%"), True),
        (("1 234", "12"), True),
        (("1'234", "12"), True),
        (("1,234", "123"), True),
        (("1234", "12.5"), False),
        (("5 apples", "12%"), False),
        (("1,2", "3,44"), False),
        (("%", "€"), False),
        ((), False),
    ],
)
def test_numbers_with_signs_around_them_are_told_from_text(values: tuple[str, ...], dressed: bool):
    assert are_dressed_numbers(values) == dressed
