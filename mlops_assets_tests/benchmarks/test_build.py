"""Histories of the decision benchmark: made of tables, read from archives, written as a whole."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.decisions import build, data
from benchmarks.decisions.sources import benchmark, validation
from benchmarks.decisions.sources.catalogue import BENCHMARK, VALIDATION
from benchmarks.decisions.sources.packages import File, member, read
from benchmarks.decisions.sources.shape import history


def test_a_history_is_in_order_of_time_and_its_periods_count_from_zero() -> None:
    table = pd.DataFrame(
        {"x": range(6), "year": [2002, 2000, 2002, 2000, 1999, 2003]}, index=[*"abcdef"]
    )
    made = history(table[["x"]], y=table["x"] > 2, time=table["year"], fewest=2)
    assert made.to_dict("list") == {"x": [1, 3, 0, 2], "y": [0, 1, 0, 0], "period": [0, 0, 1, 1]}


def test_a_large_history_keeps_the_same_share_of_each_period() -> None:
    table = pd.DataFrame({"x": range(400), "time": [0] * 100 + [1] * 300})
    made = history(table[["x"]], y=table["x"] % 2, time=table["time"], most=40)
    assert made["period"].value_counts().to_dict() == {0: 10, 1: 30}
    assert made["x"].is_monotonic_increasing
    pd.testing.assert_frame_equal(
        made, history(table[["x"]], y=table["x"] % 2, time=table["time"], most=40)
    )


def test_flights_know_their_plane_and_the_weather_but_not_their_delay() -> None:
    flown = pd.DataFrame(
        {
            "year": 2013, "month": 1, "day": [8] * 100 + [1] * 100,
            "sched_dep_time": 1530, "sched_arr_time": 5, "arr_delay": [16.0, 15.0] * 100,
            "dep_delay": 3.0, "carrier": "UA", "origin": "EWR", "dest": None, "distance": 9,
            "tailnum": ["N1", "N2"] * 100, "time_hour": "2013-01-01T10:00:00Z",
        }
    )  # fmt: skip
    planes = pd.DataFrame(
        {"tailnum": ["N1"], "year": [1999.0], "manufacturer": ["BOEING"], "seats": [100]}
    )
    weather = pd.DataFrame(
        {"origin": ["EWR"], "time_hour": ["2013-01-01T10:00:00Z"], "temp": [39.0]}
    ).reindex(columns=["origin", "time_hour", *benchmark.WEATHER])
    made = benchmark.flights(flown, planes, weather)
    assert made["period"].tolist() == [0] * 100 + [1] * 100
    first, second = made.iloc[0], made.iloc[1]
    assert (first["sdep"], first["sarr"], first["dow"], first["dest"]) == (930, 5, 1, "None")
    assert (first["manufacturer"], first["temp"], first["y"]) == ("BOEING", 39.0, 1)
    assert (second["manufacturer"], second["y"]) == ("nan", 0)
    assert not {"arr_delay", "dep_delay", "tailnum"} & set(made)


def test_a_film_and_a_user_are_known_by_their_earlier_ratings_alone() -> None:
    ratings = pd.DataFrame(
        {
            "rownames": range(300), "movieId": 1, "userId": [*range(150), *range(150)],
            "rating": [5.0, 1.0, 3.0] * 100, "timestamp": range(300),
            "year": 1960, "genres": "Crime|Drama",
        }
    )  # fmt: skip
    made = validation.movielens(ratings)
    changed = ratings.assign(rating=[*ratings["rating"][:200], *[0.5] * 100])
    features = ["movie_ratings", "movie_mean", "user_ratings", "user_mean"]
    pd.testing.assert_frame_equal(
        made[features][:201], validation.movielens(changed)[features][:201]
    )
    assert made["movie_mean"].isna().tolist()[:2] == [True, False]
    assert made.loc[3, "movie_mean"] == 3.0
    assert made.loc[150, "user_mean"] == 5.0


def test_every_file_has_a_hash_and_every_history_a_name_of_its_own() -> None:
    files = [file for recipe in BENCHMARK + VALIDATION for file in recipe.files]
    assert all(len(file.sha256) == 64 for file in files)
    assert len({recipe.name for recipe in BENCHMARK + VALIDATION}) == 16


def test_a_table_is_read_from_a_wheel_that_is_already_there(tmp_path: Path) -> None:
    content = b"a,b\n1,x\n"
    with zipfile.ZipFile(tmp_path / "some_data-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_data/table.csv", content)
    file = File("some-data", "1.0", "some_data/table.csv", hashlib.sha256(content).hexdigest())
    assert read(file, tmp_path).to_dict("list") == {"a": [1], "b": ["x"]}


def test_a_file_with_another_hash_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some_data-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_data/table.pkl.compress", b"not even a pickle")
    with pytest.raises(SystemExit, match=r"some-data 1\.0 has the SHA-256 .* empty"):
        read(File("some-data", "1.0", "some_data/table.pkl.compress", "0" * 64), tmp_path)


def test_a_file_of_a_source_archive_is_found_under_its_folder(tmp_path: Path) -> None:
    archive = tmp_path / "some-data-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as source:
        entry = tarfile.TarInfo("some-data-1.0/some_data/table.csv")
        entry.size = 4
        source.addfile(entry, io.BytesIO(b"a\n1\n"))
    assert member(archive, "some_data/table.csv") == b"a\n1\n"
    with pytest.raises(SystemExit, match="0 files end with nothing"):
        member(archive, "nothing")


def test_what_is_written_is_what_the_benchmark_loads(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": range(800), "kind": "a", "time": [*range(8)] * 100})
    made = history(table[["x", "kind"]], y=table["x"] > 400, time=table["time"])
    build.write(made, tmp_path / "some.parquet")
    loaded = data.load(tmp_path / "some.parquet")
    assert (loaded.periods, sorted(loaded.columns)) == (8, ["kind", "x"])
    assert [path.name for path in tmp_path.iterdir()] == ["some.parquet"]
    assert build.described(made) == (
        "    800 rows,  2 features,   8 periods of 100 to 100 rows, y 0.499"
    )
