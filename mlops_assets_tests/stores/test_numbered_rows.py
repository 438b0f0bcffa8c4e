from dataclasses import dataclass
from pathlib import Path

from mlops_assets.stores.lake import Lake
from mlops_assets.stores.numbered_rows import NumberedRow, NumberedRows


@dataclass(frozen=True)
class Note(NumberedRow):
    text: str


def test_rows_come_in_their_order_and_a_number_is_written_once(tmp_path: Path):
    notes = NumberedRows(Lake(str(tmp_path)), "notes", "note", Note)
    assert notes.of("m") == []
    assert notes.add(Note("m", 1, "later"))
    assert notes.add(Note("m", 0, "first"))
    assert not notes.add(Note("m", 0, "a race that is lost"))
    assert notes.of("m") == [Note("m", 0, "first"), Note("m", 1, "later")]
    assert notes.of("another") == []
