"""Who served when and lost what, in the numbers of periods that staleness is estimated with."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_assets.domain.staleness import Version

# A version that is older than all periods at hand passes for one of this age in them.
SETTLED = 16


@dataclass(frozen=True)
class Trained:
    """What a version was fitted on: the first and last of its periods, how many, and rows."""

    first: str
    last: str
    periods: int
    rows: int


@dataclass(frozen=True)
class Scored:
    """Mean losses on the rows of a judged period, of its version and of the one before.

    `previous` and `previous_loss` are empty and None where there was none to compare with.
    """

    period: str
    version: str
    loss: float
    previous: str = ""
    previous_loss: float | None = None


@dataclass
class _Stint:
    version: str
    losses: dict[int, float] = field(default_factory=dict)


def versions_of(
    periods: Sequence[str],
    scored: Sequence[Scored],
    trained: Mapping[str, Trained],
    live: str,
    *,
    older: int = 0,
) -> list[Version] | None:
    """The versions that served, the `live` one last, with their losses by place in `periods`.

    `periods` are the labelled ones, oldest first, after `older` ones that are left out; `scored`
    is oldest first, too. A version that comes back by a rollback is listed again. Versions whose
    training is not known are left out; None if the live one is among them.
    """
    if live not in trained:
        return None
    stints = _stints({period: place for place, period in enumerate(periods)}, scored, live)
    return [
        _version(periods, one, trained[one.version], older)
        for one in stints
        if one.version in trained
    ]


def _stints(places: Mapping[str, int], scored: Sequence[Scored], live: str) -> list[_Stint]:
    stints: list[_Stint] = []
    for one in scored:
        if not stints or stints[-1].version != one.version:
            stints.append(_Stint(one.version))
        if one.period not in places:
            continue
        stints[-1].losses[places[one.period]] = one.loss
        if one.previous_loss is not None:
            before = [stint for stint in stints[:-1] if stint.version == one.previous]
            if not before:
                # It served so shortly that no period was judged by it.
                before = [_Stint(one.previous)]
                stints.insert(-1, before[0])
            before[-1].losses[places[one.period]] = one.previous_loss
    if not stints or stints[-1].version != live:
        stints.append(_Stint(live))
    return stints


def _version(periods: Sequence[str], stint: _Stint, trained: Trained, older: int) -> Version:
    end = bisect_right(periods, trained.last)
    whole = not periods or trained.first <= periods[0]
    return Version(
        name=stint.version,
        end=max(end, SETTLED if older else 1),
        window=None if whole else trained.periods,
        rows=trained.rows,
        losses=stint.losses,
    )
