"""How text writes numbers and times: a decimal comma, the format of dates."""

import re
import warnings
from collections.abc import Sequence
from datetime import datetime

# Formats that no guess from a single value finds, or only with a day that is not there.
SHORT_FORMATS = ("%Y", "%Y%m%d", "%b-%Y", "%b %Y", "%B %Y", "%b-%y", "%m/%Y", "%d-%b-%y")
COMMA = re.compile(r"[-+]?\d+,\d+")
POINT = re.compile(r"[-+]?\d*\.\d+")
WHOLE = re.compile(r"[-+]?\d+")
NUMBER = re.compile(r"[-+]?(\d+([.,]\d+)*|[.,]\d+)")
# What people write around and between the digits of a number.
DRESS = re.compile(r"[\s'\u2019%$€£¥]|(?<=\d),(?=\d{3}(?!\d))|\b(USD|EUR|GBP|CHF|JPY)\b")
YEARS = range(1700, 2260)
# Nobody writes the year first and then the day.
NEVER = re.compile(r"%Y.%d")


def has_decimal_commas(values: Sequence[str]) -> bool:
    """Whether these values of one column are numbers with a comma before the decimals."""
    commas = sum(COMMA.fullmatch(value) is not None for value in values)
    whole = sum(WHOLE.fullmatch(value) is not None for value in values)
    return commas > 0 and commas + whole == len(values)


def has_decimal_points(values: Sequence[str]) -> bool:
    """Whether one of these values has a point before its decimals."""
    return any(POINT.fullmatch(value) for value in values)


def is_time(value: str) -> bool:
    """Whether this is a time in ISO 8601."""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def has_zone(value: str) -> bool:
    """Whether this time in ISO 8601 says its distance from UTC."""
    return datetime.fromisoformat(value).tzinfo is not None


def are_dressed_numbers(values: Sequence[str]) -> bool:
    """Whether these are numbers with a sign of money, a unit or marks between thousands.

    Such as $1,200 or 3.5 %; at least one has such a sign, and all would be numbers without.
    """
    bare = [DRESS.sub("", value) for value in values]
    return any(map(DRESS.search, values)) and all(map(NUMBER.fullmatch, bare))


def time_formats(values: Sequence[str]) -> tuple[str, ...]:
    """The formats, as for strptime, in which all these values are times, likely ones first.

    More than one where the values leave open whether the day or the month comes first.
    """
    import pandas as pd
    from pandas.tseries.api import guess_datetime_format

    values = list(dict.fromkeys(values))
    if not values:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it could be the other order
        guesses = [
            guess_datetime_format(value, dayfirst=dayfirst)
            for value in values[:50]
            for dayfirst in (False, True)
        ]
    found = []
    for form in dict.fromkeys((*filter(None, guesses), *SHORT_FORMATS)):
        if "%f" in form or NEVER.match(form):
            continue
        times = pd.to_datetime(pd.Series(values), format=form, errors="coerce", utc=True)
        if times.notna().all() and times.dt.year.isin(YEARS).all():
            found.append(form)
    return tuple(found)
