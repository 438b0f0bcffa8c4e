"""A mistake in a spec."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake: where it stands, and what to do about it."""

    place: tuple[str | int, ...]
    message: str
