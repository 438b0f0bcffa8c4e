from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.evidence import PeriodEvidence

QUIET = PeriodEvidence(
    period="2013-03-04",
    version="3",
    drift_judged=True,
    drift_flagged=(),
    drift_alert=False,
    performance_judged=True,
    harmed=False,
    loss=0.41234,
    reference_loss=0.4,
    accuracy=0.9,
    previous_is_better=False,
    periods_since_release=5,
)


@given(judged=st.booleans(), flagged=st.booleans())
def test_only_what_was_judged_counts(judged: bool, flagged: bool):
    drifted = replace(QUIET, drift_judged=judged, drift_alert=flagged)
    harmed = replace(QUIET, performance_judged=judged, harmed=flagged)
    assert drifted.drifted == (judged and flagged)
    assert harmed.proven_harm == (judged and flagged)


def test_the_loss_is_told_beside_the_release():
    assert QUIET.loss_text == "loss 0.4123, at the release 0.4000"


@pytest.mark.parametrize("missing", [{"loss": None}, {"reference_loss": None}])
def test_an_unknown_loss_is_said_to_be_unknown(missing: dict):
    assert replace(QUIET, **missing).loss_text == "loss unknown"


def test_harm_in_a_part_of_the_rows_names_the_column_that_cuts_it_out():
    harmed = replace(QUIET, harmed=True, harmed_part="store")
    assert harmed.harm_text == "harm in a segment of store: loss 0.4123, at the release 0.4000"
    everywhere = replace(harmed, harmed_part="")
    assert everywhere.harm_text == "harm: loss 0.4123, at the release 0.4000"


def test_drifted_columns_are_named():
    assert replace(QUIET, drift_flagged=("speed", "zone")).drift_text == "drift in speed, zone"
    assert QUIET.drift_text == "drift in unnamed columns"


def test_evidence_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        QUIET.loss = 0.0  # type: ignore[misc]
