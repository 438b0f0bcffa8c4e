import logging
from pathlib import Path

import pytest

from mlops_assets_tests.serving.test_data_path import small_disk  # noqa: F401 - a fixture
from serving.answers import Answer, Refusal
from serving.repeats import KEPT_FILES, Repeats


def answer(size: int = 3) -> Answer:
    return Answer(200, b"x" * size)


def test_the_same_request_gets_the_same_answer():
    repeats, first = Repeats(), answer()
    assert repeats.find("m", "r", b"body") is None
    repeats.remember("m", "r", b"body", first)
    assert repeats.find("m", "r", b"body") == first


def test_ids_belong_to_their_model():
    repeats = Repeats()
    repeats.remember("m", "r", b"body", answer())
    assert repeats.find("n", "r", b"body") is None


def test_an_id_that_was_used_for_another_request_is_refused():
    repeats = Repeats()
    repeats.remember("m", "r", b"body", answer())
    with pytest.raises(Refusal, match="own id") as caught:
        repeats.find("m", "r", b"another body")
    assert (caught.value.status, caught.value.where) == (409, "request_id")


def test_replicas_of_a_node_know_each_others_answers(tmp_path: Path):
    one, other = Repeats(tmp_path), Repeats(tmp_path)
    one.remember("m", "r", b"body", answer())
    assert other.find("m", "r", b"body") == answer()
    with pytest.raises(Refusal, match="own id"):
        other.find("m", "r", b"another body")
    # One that starts later, too, and whose answers come later still.
    third = Repeats(tmp_path)
    assert other.find("m", "late", b"") is None
    third.remember("m", "late", b"", answer(5))
    assert other.find("m", "late", b"") == answer(5)
    assert third.find("m", "r", b"body") == answer()


def test_answers_outlive_the_process_that_gave_them(tmp_path: Path):
    before = Repeats(tmp_path)
    before.remember("m", "r", b"body", answer())
    before.close()
    assert Repeats(tmp_path).find("m", "r", b"body") == answer()


def test_files_of_processes_that_ended_are_removed_but_for_the_newest(tmp_path: Path):
    alive = Repeats(tmp_path)
    alive.remember("m", "alive", b"", answer())
    for number in range(KEPT_FILES + 3):
        ended = Repeats(tmp_path)
        ended.remember("m", str(number), b"", answer())
        ended.close()
    last = Repeats(tmp_path)
    found = [last.find("m", str(number), b"") for number in range(KEPT_FILES + 3)]
    assert [one is not None for one in found] == [False] * 3 + [True] * KEPT_FILES
    assert last.find("m", "alive", b"") == answer()
    # Whoever had opened what is gone lets go of it.
    assert len(list(tmp_path.iterdir())) == KEPT_FILES + 2


def test_a_full_disk_forgets_answers_and_tells_once(
    small_disk: Path,  # noqa: F811 - the fixture
    caplog: pytest.LogCaptureFixture,
):
    repeats = Repeats(small_disk)
    repeats.remember("m", "first", b"", answer())
    (small_disk / "others").write_bytes(b"x" * 900_000)
    with caplog.at_level(logging.WARNING):
        for number in range(200):
            repeats.remember("m", str(number), b"", answer(5_000))
    assert caplog.text.count("cannot be remembered") == 1
    assert repeats.find("m", "199", b"") is None
    assert repeats.find("m", "first", b"") == answer()
    (small_disk / "others").unlink()
    repeats.remember("m", "again", b"", answer())
    assert repeats.find("m", "again", b"") == answer()
    repeats.close()
