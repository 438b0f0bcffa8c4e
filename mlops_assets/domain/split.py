"""Which version answers whom: a share of the traffic for each variant beside the champion.

A request belongs to a variant by a hash of its entity key, so the same subject always meets the
same version, on every replica and after every restart, without anything being remembered.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from mlops_assets.domain.errors import ReleaseError

CHAMPION = "champion"
# What the prediction log calls answers that no split has asked for.
RESERVED = ("shadow", "fallback")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PERCENT = 100 / 2**64


def variant_of(key: str, model: str, weights: Sequence[tuple[str, float]]) -> str:
    """The variant that answers the subject `key`; `weights` are those beside the champion.

    The shares in percent are intervals of a uniform hash: the first variant's grows from below,
    the others' from above, and the champion has what is between. So with one or two variants,
    raising a weight takes subjects from the champion only, and moves no other; with more, no
    subject leaves the variant whose weight was raised. Models are hashed apart, so that the split
    of one says nothing about another's.
    """
    if not weights:
        return CHAMPION
    digest = blake2b(f"{model}\0{key}".encode(errors="surrogatepass"), digest_size=8).digest()
    point = int.from_bytes(digest, "big") * _PERCENT
    name, weight = weights[0]
    if point < weight:
        return name
    edge = 100.0
    for name, weight in weights[1:]:
        edge -= weight
        if point >= edge:
            return name
    return CHAMPION


@dataclass(frozen=True)
class Arm:
    """A variant beside the champion: its share in percent (0 < weight ≤ 100).

    `version` is the version that it was given when the split was set; empty: whatever the alias
    or the version number `variant` names now.
    """

    variant: str
    weight: float
    version: str = ""


@dataclass(frozen=True)
class Split:
    """The variants beside the champion, in the order of their names; the champion has the rest.

    Raises ReleaseError for names and weights that make no split.
    """

    arms: tuple[Arm, ...] = ()

    def __post_init__(self) -> None:
        names = [arm.variant for arm in self.arms]
        for arm in self.arms:
            if not _NAME.fullmatch(arm.variant) or arm.variant in (CHAMPION, *RESERVED):
                raise ReleaseError(f"{arm.variant!r} cannot be a variant: name an alias or version")
            if not (math.isfinite(arm.weight) and 0 < arm.weight <= 100):
                raise ReleaseError(
                    f"{arm.variant}={arm.weight:g}: a share is more than 0 and at most 100 percent"
                )
        if len(set(names)) < len(names):
            raise ReleaseError(f"a variant is named twice: {', '.join(names)}")
        if self.total > 100 + 1e-9:
            raise ReleaseError(f"the variants' shares add up to {self.total:g}, more than 100")
        object.__setattr__(self, "arms", tuple(sorted(self.arms, key=lambda arm: arm.variant)))

    @property
    def total(self) -> float:
        """The percentage that the champion does not answer."""
        return math.fsum(arm.weight for arm in self.arms)

    @property
    def weights(self) -> tuple[tuple[str, float], ...]:
        """As `variant_of` takes them."""
        return tuple((arm.variant, arm.weight) for arm in self.arms)

    def without(self, variants: Iterable[str]) -> "Split":
        """The split without these variants, whose share goes to the champion."""
        gone = set(variants)
        return Split(tuple(arm for arm in self.arms if arm.variant not in gone))

    def to_json(self) -> str:
        """As it is kept: `{"challenger": {"weight": 10.0, "version": "5"}}`."""
        content = {
            arm.variant: {"weight": arm.weight, "version": arm.version}
            if arm.version
            else {"weight": arm.weight}
            for arm in self.arms
        }
        return json.dumps(content, sort_keys=True)


def split_of_words(words: Sequence[str]) -> Split:
    """The split that `champion=90 challenger=10` says. Raises ReleaseError for anything else.

    The champion need not be named; if it is, the shares must add up to 100.
    """
    shares: dict[str, float] = {}
    for word in words:
        name, equals, number = word.partition("=")
        weight = _number(number.removesuffix("%"))
        if not equals or weight is None:
            raise ReleaseError(f"{word!r} is no share: write VARIANT=PERCENT, as challenger=10")
        if name in shares:
            raise ReleaseError(f"{name} is named twice")
        shares[name] = weight
    champion = shares.pop(CHAMPION, None)
    split = Split(tuple(Arm(name, weight) for name, weight in shares.items()))
    if champion is not None and abs(champion + split.total - 100) > 1e-6:
        raise ReleaseError(
            f"the shares add up to {champion + split.total:g}, not 100; leave the champion out to "
            "give it the rest"
        )
    return split


def split_of_json(text: str) -> Split:
    """The split that a tag keeps: a weight, or weight and version, by variant.

    Any client may have written it, so anything may be in it: raises ReleaseError, and nothing
    else, for what is no split.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{text[:80]!r} is no JSON") from error
    if not isinstance(content, Mapping):
        raise ReleaseError(f"{text[:80]!r} is no object of shares by variant")
    return Split(tuple(_arm(str(name), value) for name, value in content.items()))


def _arm(name: str, value: Any) -> Arm:
    weight, version = value, ""
    if isinstance(value, Mapping):
        weight, version = value.get("weight"), value.get("version", "")
        if set(value) - {"weight", "version"} or not isinstance(version, str | int):
            raise ReleaseError(f"{name[:80]}: a variant has a weight and a version, nothing else")
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ReleaseError(f"{name[:80]}: the weight is no number")
    try:
        return Arm(name, float(weight), str(version))
    except OverflowError as error:
        raise ReleaseError(f"{name[:80]}: the weight is no number") from error


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
