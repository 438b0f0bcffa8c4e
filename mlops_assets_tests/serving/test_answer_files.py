import random
import threading
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answer_files import AnswerFile, AnswerReader, is_left
from serving.answers import Answer

ROOM = 4096


def key_of(name: object) -> bytes:
    return blake2b(str(name).encode(), digest_size=16).digest()


def answer(size: int, fill: bytes = b"x") -> Answer:
    return Answer(200, fill * size, {"content-type": "text/plain", "x-size": str(size)})


def reader_of(file: AnswerFile) -> AnswerReader:
    """As another process has it."""
    assert file.path is not None
    return AnswerReader.of(file.path)


def test_another_reader_finds_what_was_added_before_and_after_it_opened_the_file(tmp_path: Path):
    file = AnswerFile(tmp_path)
    file.add(key_of("a"), key_of("body"), answer(3))
    reader = reader_of(file)
    file.add(key_of("b"), key_of("other"), answer(0))
    assert reader.find(key_of("a")) == (key_of("body"), answer(3))
    assert reader.find(key_of("b")) == (key_of("other"), answer(0))
    assert reader.find(key_of("c")) is None
    assert file.path is not None
    assert file.path.stat().st_mode & 0o777 == 0o600


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 900)), max_size=60))
def test_the_newest_are_kept_and_no_other_answer_is_ever_found(added: list[tuple[int, int]]):
    file = AnswerFile(None, ROOM)
    latest: dict[int, int] = {}
    for name, size in added:
        file.add(key_of(name), key_of(size), answer(size))
        latest.pop(name, None)
        latest[name] = size
        assert file.reader.find(key_of(name)) == (key_of(size), answer(size))
    for name, size in latest.items():
        assert file.reader.find(key_of(name)) in (None, (key_of(size), answer(size)))
    # An entry is 120 bytes and its body, and the end of the ring may be left empty.
    newest = list(latest.items())[-2:]
    assert all(file.reader.find(key_of(name)) is not None for name, _ in newest)
    file.close()


def test_of_keys_that_share_a_set_the_oldest_gives_way():
    file = AnswerFile(None, ROOM)
    keys = [b"same" + bytes([number]) * 12 for number in range(5)]
    for key in keys[:4]:
        file.add(key, key, answer(1))
    file.add(keys[0], keys[0], answer(2))
    file.add(keys[4], keys[4], answer(3))
    assert [file.reader.find(key) is not None for key in keys] == [True, False, True, True, True]
    file.close()


def test_an_answer_that_would_take_the_room_of_many_is_not_kept():
    file = AnswerFile(None, ROOM)
    file.add(key_of("large"), key_of(""), answer(ROOM // 4))
    assert file.reader.find(key_of("large")) is None
    file.close()


def test_a_damaged_file_gives_the_right_answer_or_none(tmp_path: Path):
    draw = random.Random(20261126)
    file = AnswerFile(tmp_path, ROOM)
    for name in range(8):
        file.add(key_of(name), key_of(name), answer(300))
    assert file.path is not None
    reader = reader_of(file)
    right = {name: (key_of(name), answer(300)) for name in range(8)}
    found = [reader.find(key_of(name)) for name in right]
    assert found == list(right.values())
    size = file.path.stat().st_size
    with file.path.open("r+b") as raw:
        for _ in range(200):
            # Slots of these keys, or anything in the ring.
            near = draw.randrange(size - ROOM, size)
            raw.seek(near)
            raw.write(draw.randbytes(draw.choice([1, 8, 40])))
            raw.truncate(size)
            raw.flush()
            for name, known in right.items():
                assert reader.find(key_of(name)) in (None, known)
    assert [reader.find(key_of(name)) for name in right] != found


def test_who_reads_while_others_write_gets_whole_answers(tmp_path: Path):
    file, stop = AnswerFile(tmp_path, ROOM), threading.Event()

    def write(worker: int) -> None:
        draw = random.Random(worker)
        while not stop.is_set():
            size = draw.randrange(800)
            file.add(key_of(draw.randrange(20)), key_of(size), answer(size, b"%d" % worker))

    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    for writer in writers:
        writer.start()
    reader, hits = reader_of(file), 0
    try:
        while hits < 2000:
            found = reader.find(key_of(random.randrange(20)))
            if found is not None:
                digest, whole = found
                assert digest == key_of(len(whole.body))
                assert len(set(whole.body)) <= 1
                hits += 1
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_a_file_is_left_when_its_writer_is_gone(tmp_path: Path):
    file = AnswerFile(tmp_path)
    assert file.path is not None
    assert not is_left(file.path)
    file.close()
    assert is_left(file.path)


def test_where_no_file_can_be_shared_answers_are_remembered_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "answers").write_text("no folder")
    file = AnswerFile(tmp_path / "answers")
    assert file.path is None
    assert "not shared" in caplog.text
    file.add(key_of("a"), key_of(""), answer(1))
    assert file.reader.find(key_of("a")) is not None
    file.close()
