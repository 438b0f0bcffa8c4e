"""The six histories of the benchmark, each made of one or a few tables of a package.

Times and thresholds are those of the data's own world: months of rentals, waves of a survey.
Columns that give the label away are left out, missing categories become "nan".
"""

import pandas as pd

from benchmarks.decisions.sources.shape import history

PERIOD_OF_EMPLOYMENT = 6_750
DAYS_OF_A_YEAR = 365
MINUTES_LATE = 15
MANY_RENTALS = 200
MUCH_EARNED = 16_000
WEATHER = [
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
]


def bike(hours: pd.DataFrame) -> pd.DataFrame:
    """Hours with more than 200 rentals; 24 months."""
    hour = pd.to_datetime(hours["hr"].str.upper(), format="%I%p").dt.hour.astype("int64")
    hours = hours.assign(hr=hour).sort_values(["dteday", "hr"], kind="stable")
    numbers = ["temp", "atemp", "hum", "windspeed"]
    categories = ["weekday", "holiday", "workingday", "weathersit"]
    features = _with_categories(hours[["hr", *categories, *numbers]], categories)
    return history(features, y=hours["cnt"] > MANY_RENTALS, time=hours["dteday"].str[:7])


def noaa_rain(days: pd.DataFrame) -> pd.DataFrame:
    """Days with rain at Offutt air base; 49 years of 365 days, what is left over is dropped."""
    days = days.drop(columns="Unnamed: 0")
    year = pd.Series(days.index // DAYS_OF_A_YEAR, index=days.index)
    return history(days.drop(columns="rain"), y=days["rain"], time=year, fewest=DAYS_OF_A_YEAR)


def gss_wages(answers: pd.DataFrame) -> pd.DataFrame:
    """People who earn more than 16,000 dollars of 1986; 30 waves from 1974 to 2018."""
    answers = answers[answers["realrinc"].notna()]
    categories = ["occrecode", "wrkstat", "gender", "educcat", "maritalcat"]
    numbers = ["age", "occ10", "prestg10", "childs"]
    order = ["age", "occ10", "occrecode", "prestg10", "childs", *categories[1:]]
    features = _with_categories(answers[[*categories, *numbers]], categories)[order]
    return history(features, y=answers["realrinc"] > MUCH_EARNED, time=answers["year"])


def flights(flown: pd.DataFrame, planes: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Flights from New York in 2013 more than 15 minutes late; 52 weeks. Lost flights have no y."""
    flown = flown.sort_values(["month", "day", "sched_dep_time"], kind="stable")
    planes = planes.rename(columns={"year": "plane_year"})
    flown = flown[flown["arr_delay"].notna()]
    flown = flown.merge(planes[["tailnum", "manufacturer", "seats", "plane_year"]], "left")
    flown = flown.merge(weather[["origin", "time_hour", *WEATHER]], "left")
    day = pd.to_datetime(flown[["year", "month", "day"]])
    flown = flown.assign(
        sdep=_minutes(flown["sched_dep_time"]),
        sarr=_minutes(flown["sched_arr_time"]),
        dow=day.dt.dayofweek,
    )
    week = (day.dt.dayofyear - 1) // 7
    categories = ["carrier", "origin", "dest", "manufacturer"]
    numbers = ["sdep", "sarr", "dow", "distance", "seats", "plane_year", *WEATHER]
    features = _with_categories(flown[[*categories, *numbers]], categories)
    whole = week < 52
    late = flown["arr_delay"] > MINUTES_LATE
    return history(features[whole], y=late[whole], time=week[whole], most=len(flown))


def employment_ma(
    reference: pd.DataFrame, analysis: pd.DataFrame, target: pd.DataFrame
) -> pd.DataFrame:
    """People of Massachusetts with a job (census, from 2015); 41 blocks of 6,750 rows."""
    people = pd.concat([reference, analysis.merge(target, on="id")], ignore_index=True)
    block = pd.Series(people.index // PERIOD_OF_EMPLOYMENT, index=people.index)
    features = people.drop(
        columns=["id", "employed", "year", "prediction", "predicted_probability"]
    )
    features = _with_categories(features, [str(name) for name in features if name != "AGEP"])
    y = people["employed"]
    return history(features, y=y, time=block, fewest=PERIOD_OF_EMPLOYMENT, most=len(people))


def taxi(trips: pd.DataFrame) -> pd.DataFrame:
    """Taxi trips of Chicago with a tip above a fifth of the fare; the 36 months from 2013."""
    trips = trips.sort_values("trip_start_timestamp", kind="stable")
    started = pd.to_datetime(trips["trip_start_timestamp"], unit="s")
    trips, started = trips[started.dt.year < 2016], started[started.dt.year < 2016]
    left_out = ["tips", "big_tipper", "trip_start_timestamp", "trip_start_month"]
    features = trips.drop(columns=[*left_out, "dropoff_census_tract"])
    features = _with_categories(features, ["payment_type", "company"])
    y = trips["tips"] > 0.2 * trips["fare"]
    return history(features, y=y, time=started.dt.strftime("%Y-%m"))


def _with_categories(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].astype(object).astype(str) for name in names})


def _minutes(clock: "pd.Series[int]") -> "pd.Series[int]":
    return clock // 100 * 60 + clock % 100
