"""When a model whose folder is gone counts as removed.

A folder may be away for a moment, as while a checkout is under way, and all folders are away where
their disk is not mounted. So only a model that was seen before, and is missing several looks in a
row, counts; and where no model is there at all, only if the folder that held them is still itself:
what lies where a disk was mounted is another folder.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

LOOKS = 3


@dataclass(frozen=True)
class Look:
    """What is known after a look: how many looks in a row each model is missing (0: there)."""

    missing: dict[str, int]
    removed: tuple[str, ...]


def look(before: Mapping[str, int], there: Collection[str], *, is_same: bool) -> Look:
    """Compare the models that were known `before` with those that are `there` now.

    `is_same` tells whether they were looked for in the very folder that held them before. A model
    that counts as removed is told once, and then forgotten.
    """
    if not there and not is_same:
        return Look(dict(before), ())
    counts = {name: 0 if name in there else before[name] + 1 for name in before}
    counts |= dict.fromkeys(there, 0)
    removed = sorted(name for name, count in counts.items() if count >= LOOKS)
    kept = {name: count for name, count in sorted(counts.items()) if name not in removed}
    return Look(kept, tuple(removed))
