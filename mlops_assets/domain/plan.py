"""What serving should do with each version of a model: champion, split and shadow, resolved.

Any client may set the registry's aliases and tags, so a request that makes no sense is left out
with its reason, and the champion answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.split import Arm, Split, split_of_json

SPLIT_TAG = "serving.split"
SHADOW_TAG = "serving.shadow"


@dataclass(frozen=True)
class ChampionRef:
    """The version that serves, and when it was released (ISO 8601, or empty if not known)."""

    version: str
    released_at: str


@dataclass(frozen=True)
class Standing:
    """What may be done with a version.

    `split_forced` says whether a person gave it traffic although it has not passed its gates.
    """

    passed_gates: bool
    quarantined: str = ""
    split_forced: bool = False


@dataclass(frozen=True)
class PlannedVariant:
    """A variant beside the champion, its version, and its share in percent."""

    variant: str
    version: str
    weight: float


@dataclass(frozen=True)
class ServingPlan:
    """One model: who answers, who answers a share, who only watches.

    `quarantined` are all versions that must not be turned to; `problems` say what was asked for
    and left out.
    """

    champion: ChampionRef
    split: tuple[PlannedVariant, ...] = ()
    shadow: str = ""
    quarantined: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


def serving_plan(
    champion: ChampionRef,
    *,
    aliases: Mapping[str, str],
    tags: Mapping[str, str],
    quarantined: frozenset[str],
    standing: Callable[[str], Standing | None],
) -> ServingPlan:
    """Resolve the model's tags; `standing` looks a version up (None: there is no such version)."""
    problems: list[str] = []
    split = []
    for arm in _asked(tags.get(SPLIT_TAG, ""), problems).arms:
        version = version_named(arm, aliases)
        if version == champion.version:
            continue
        refusal = refused_traffic(version, standing(version))
        if refusal:
            problems.append(f"split: {arm.variant} gets no traffic: {refusal}")
        else:
            split.append(PlannedVariant(arm.variant, version, arm.weight))
    shadow = tags.get(SHADOW_TAG, "").strip()
    shadow = aliases.get(shadow, shadow)
    if shadow and shadow != champion.version:
        refusal = refused_shadow(shadow, standing(shadow))
        if refusal:
            problems.append(f"shadow: {refusal}")
            shadow = ""
    return ServingPlan(
        champion=champion,
        split=tuple(split),
        shadow="" if shadow == champion.version else shadow,
        quarantined=quarantined,
        problems=tuple(problems),
    )


def version_named(arm: Arm, aliases: Mapping[str, str]) -> str:
    """The version of a split's variant: the one it was given, an alias's, or its own name."""
    return arm.version or aliases.get(arm.variant, arm.variant)


def refused_shadow(version: str, standing: Standing | None) -> str:
    """Why a version may not even watch; empty if it may."""
    if standing is None:
        return f"there is no version or alias {version!r}"
    if standing.quarantined:
        return f"version {version} is quarantined ({standing.quarantined})"
    return ""


def refused_traffic(version: str, standing: Standing | None) -> str:
    """Why a version may not answer anybody; empty if it may."""
    refusal = refused_shadow(version, standing)
    if refusal or standing is None:
        return refusal
    if not standing.passed_gates and not standing.split_forced:
        return f"version {version} has not passed its gates"
    return ""


def _asked(text: str, problems: list[str]) -> Split:
    try:
        return split_of_json(text) if text else Split()
    except ReleaseError as error:
        problems.append(f"the split is ignored: {error}")
        return Split()
