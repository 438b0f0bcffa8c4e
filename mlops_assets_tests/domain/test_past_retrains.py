from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.past_retrains import Cause
from mlops_assets_tests.domain.test_governor import flagged

HARM = Cause("3", frozenset({"temp"}), 0.1)
DRIFT = Cause("3", frozenset({"temp", "humid"}), None)
causes = st.builds(
    Cause,
    version=st.sampled_from("34"),
    columns=st.frozensets(st.sampled_from("abc")),
    harm=st.none() | st.floats(0.001, 1),
)


def test_only_what_enough_rows_and_labels_stand_for_is_a_cause():
    assert Cause.of(flagged("p")) == Cause("3", frozenset({"temp", "humid"}), 0.62 - 0.52)
    assert Cause.of(flagged("p", performance_judged=False)).harm is None
    assert Cause.of(flagged("p", drift_judged=False)).columns == frozenset()


def test_a_cause_is_told_in_words():
    assert replace(HARM, columns=DRIFT.columns).text == "loss +0.1000 and drift in humid, temp"
    assert DRIFT.text == "drift in humid, temp"
    assert Cause("3", frozenset(), None).text == "nothing flagged"


def test_the_fingerprint_is_that_of_the_harm_or_else_of_the_columns():
    assert HARM.fingerprint == replace(HARM, columns=frozenset(), harm=0.2).fingerprint
    assert HARM.fingerprint != replace(HARM, version="4").fingerprint
    assert DRIFT.fingerprint == replace(DRIFT, columns=frozenset(["humid", "temp"])).fingerprint
    assert (
        len({DRIFT.fingerprint, HARM.fingerprint, Cause("3", HARM.columns, None).fingerprint}) == 3
    )
    assert Cause("3", frozenset({"harm"}), None).fingerprint != HARM.fingerprint


@given(cause=causes, other=causes)
def test_a_cause_covers_itself_and_never_one_of_another_version_or_of_new_harm(
    cause: Cause, other: Cause
):
    assert cause.covers(cause)
    if cause.covers(other):
        assert cause.version == other.version
        assert other.harm is None or (cause.harm is not None and other.harm <= 2 * cause.harm)
    if cause.covers(other) and other.harm is None:
        assert other.columns <= cause.columns
