import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlops_assets.domain.errors import StoreAwayError
from mlops_assets.stores.online import KeyHistory, OnlineStore, Published


def history(*times: int) -> KeyHistory:
    moments = np.array(times, np.int64)
    return KeyHistory(moments, {"amount": moments / 3}, {"amount": moments + 5})


def same(one: KeyHistory, other: KeyHistory) -> bool:
    return one.to_bytes() == other.to_bytes()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/online/history.db"
        return
    import psycopg2

    found = str(request.getfixturevalue("postgres_url"))
    yield found
    with psycopg2.connect(found.replace("+psycopg2", "")) as connection:
        connection.cursor().execute("DROP TABLE IF EXISTS history_events, history_published")
    connection.close()


def test_what_was_published_is_found_by_kind_and_key(url: str):
    store = OnlineStore(url)
    alices, nears = history(1, 2), history(3)
    rows = [("sender", "alice", alices), ("zone", "alice", nears), ("sender", "Zoë 'x' %s", nears)]
    assert store.publish("parcels", rows, since=None, until=9) == Published(None, 9, 3)
    wanted = {"sender": ["alice", "Zoë 'x' %s", "bob"], "zone": ["alice"]}
    state, found = store.read("parcels", wanted)
    assert state == Published(None, 9, 3) == OnlineStore(url).published("parcels")
    assert set(found) == {("sender", "alice"), ("sender", "Zoë 'x' %s"), ("zone", "alice")}
    assert same(found["sender", "alice"], alices)
    assert same(found["zone", "alice"], nears)


def test_a_publication_replaces_the_one_before_and_no_other_models(url: str):
    store = OnlineStore(url)
    for model in ("one", "two"):
        store.publish(model, [("who", "a", history(1)), ("who", "b", history(1))], since=0, until=1)
    store.publish("one", [("who", "b", history(2))], since=1, until=2)
    state, found = store.read("one", {"who": ["a", "b"]})
    assert state == Published(1, 2, 1)
    assert set(found) == {("who", "b")}
    assert set(store.read("two", {"who": ["a", "b"]})[1]) == {("who", "a"), ("who", "b")}


def test_many_keys_are_asked_for_in_parts(url: str):
    store = OnlineStore(url)
    store.publish("m", [("who", str(n), history(n)) for n in range(1200)], since=None, until=1)
    _, found = store.read("m", {"who": [str(n) for n in range(1300)]})
    assert len(found) == 1200
    assert found["who", "1111"].times.tolist() == [1111]


def test_nothing_published_is_told_apart_from_nobody_known(url: str):
    store = OnlineStore(url)
    with pytest.raises(StoreAwayError, match="does not answer"):
        store.published("m")
    store.publish("other", [], since=None, until=1)
    assert store.read("m", {"who": ["a"]}) == (None, {})
    store.publish("m", [], since=None, until=1)
    assert store.read("m", {"who": ["a"]}) == (Published(None, 1, 0), {})


def test_readers_see_one_publication_or_the_next_and_nothing_between(url: str):
    """Each publication gives all keys the same events; a mix would show two kinds."""
    store, stop, seen = OnlineStore(url), threading.Event(), []
    names = [str(n) for n in range(30)]

    def publish(number: int) -> None:
        rows = [("who", name, history(number)) for name in names]
        store.publish("m", rows, since=None, until=number)

    def read() -> None:
        while not stop.is_set():
            state, found = store.read("m", {"who": names})
            kinds = {int(one.times[0]) for one in found.values()}
            seen.append((state.until if state else -1, len(found), tuple(kinds)))

    publish(1)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(2, 20):
        publish(number)
    stop.set()
    for reader in readers:
        reader.join()
    assert len(seen) > 10
    assert all(row == (row[0], len(names), (row[0],)) for row in seen)


def _publish_for_ever(url: str, started: Any) -> None:
    store, number = OnlineStore(url), 1
    while True:
        rows = [("who", str(n), history(number)) for n in range(500)]
        store.publish("m", rows, since=None, until=number)
        started.set()
        number += 1


def test_a_publisher_killed_at_any_moment_leaves_a_whole_publication(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/history.db"
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    process = spawn.Process(target=_publish_for_ever, args=(url, started))
    process.start()
    assert started.wait(60)
    time.sleep(0.05)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    state, found = OnlineStore(url).read("m", {"who": [str(n) for n in range(500)]})
    assert state is not None
    assert {int(one.times[0]) for one in found.values()} == {state.until}
    assert len(found) == 500


def test_a_store_that_is_away_says_so_and_is_found_again(tmp_path: Path):
    path = tmp_path / "history.db"
    store = OnlineStore(f"sqlite:///{path}")
    store.publish("m", [("who", "a", history(1))], since=None, until=1)
    path.rename(tmp_path / "elsewhere.db")
    fresh = OnlineStore(f"sqlite:///{path}")
    with pytest.raises(StoreAwayError, match="MLOPS_ONLINE_URL"):
        fresh.read("m", {"who": ["a"]})
    (tmp_path / "elsewhere.db").rename(path)
    assert fresh.read("m", {"who": ["a"]})[0] == Published(None, 1, 1)


def test_a_store_that_is_moved_away_or_replaced_under_a_reader_is_noticed(tmp_path: Path):
    path, reader = tmp_path / "history.db", OnlineStore(f"sqlite:///{tmp_path}/history.db")
    reader.publish("m", [("who", "a", history(1))], since=None, until=1)
    assert reader.published("m") == Published(None, 1, 1)
    path.rename(tmp_path / "elsewhere.db")
    for _ in range(2):
        with pytest.raises(StoreAwayError, match="MLOPS_ONLINE_URL"):
            reader.read("m", {"who": ["a"]})
    OnlineStore(f"sqlite:///{path}").publish("m", [], since=None, until=2)
    assert reader.published("m") == Published(None, 2, 0)
    (tmp_path / "elsewhere.db").replace(path)
    assert reader.published("m") == Published(None, 1, 1)


def test_a_damaged_store_says_so(tmp_path: Path):
    path = tmp_path / "history.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreAwayError, match=r"history\.db does not answer \(DatabaseError\)"):
        OnlineStore(f"sqlite:///{path}").read("m", {"who": ["a"]})


def test_a_database_that_does_not_answer_is_given_up_soon_and_its_address_is_not_told():
    store = OnlineStore("postgresql://user:secret@127.0.0.1:9/nothing")
    started = time.monotonic()
    with pytest.raises(StoreAwayError) as told:
        store.read("m", {"who": ["a"]})
    assert time.monotonic() - started < 30
    assert "secret" not in str(told.value)


def test_readers_write_nothing(tmp_path: Path):
    store = OnlineStore(f"sqlite:///{tmp_path}/history.db")
    store.publish("m", [], since=None, until=1)
    with store._reading() as cursor, pytest.raises(sqlite3.OperationalError, match="readonly"):
        cursor.execute("DELETE FROM history_published")


@given(arrays.arrays(np.int64, st.integers(0, 5)), arrays.arrays(np.float64, st.integers(0, 5)))
def test_histories_come_back_to_the_last_bit(times: np.ndarray, values: np.ndarray):
    one = KeyHistory(times, {"a": values, "b \0": -values}, {"a": times})
    again = KeyHistory.from_bytes(one.to_bytes())
    assert same(one, again)
    assert again.values["a"].tobytes() == values.tobytes()
