import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers import Answer, Refusal
from serving.repeats import Repeats


def answer(size: int = 3) -> Answer:
    return Answer(200, b"x" * size)


def test_the_same_request_gets_the_same_answer():
    repeats, first = Repeats(), answer()
    assert repeats.find("m", "r", b"body") is None
    repeats.remember("m", "r", b"body", first)
    assert repeats.find("m", "r", b"body") is first


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


def test_the_oldest_are_forgotten_when_there_are_too_many():
    repeats = Repeats(max_answers=2)
    for name in ("a", "b", "c"):
        repeats.remember("m", name, b"", answer())
    assert [repeats.find("m", name, b"") is not None for name in "abc"] == [False, True, True]


def test_the_oldest_are_forgotten_when_they_are_too_large():
    repeats = Repeats(max_bytes=10)
    repeats.remember("m", "a", b"", answer(6))
    repeats.remember("m", "b", b"", answer(6))
    assert [repeats.find("m", name, b"") is not None for name in "ab"] == [False, True]
    repeats.remember("m", "c", b"", answer(11))
    assert repeats.find("m", "c", b"") is None


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 30)), max_size=40),
    st.integers(1, 4),
    st.integers(1, 60),
)
def test_the_limits_hold_and_the_newest_are_kept(
    requests: list[tuple[str, int]], most: int, largest: int
):
    repeats = Repeats(most, largest)
    kept: list[tuple[str, int]] = []
    for name, size in requests:
        repeats.remember("m", name, b"", answer(size))
        kept = [*(one for one in kept if one[0] != name), (name, size)]
        while len(kept) > most or sum(size for _, size in kept) > largest:
            kept.pop(0)
        for other in "abcde":
            found = repeats.find("m", other, b"")
            assert (found and len(found.body)) == dict(kept).get(other)
