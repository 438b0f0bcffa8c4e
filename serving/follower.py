"""Follows the registry on behalf of every replica of this node.

The replicas import no registry client: this is the only part of serving that talks to it. It
fetches the bundles of champions, split variants and shadows into the node's cache, verifies them,
and publishes a pointer file. While the registry is away, the last pointer and its bundles go on
serving.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from mlops_assets.domain.plan import ServingPlan
from mlops_assets.stores.files import write_atomically
from serving.bundle_cache import BundleCache, Trouble

logger = logging.getLogger(__name__)

PROBATION_MINUTES = 60.0


class PlanSource(Protocol):
    """Where plans and bundles come from: the registry, or a stand-in."""

    def plans(self) -> Mapping[str, ServingPlan]:
        """The plan of every model that has a champion; raises while the registry is away."""
        ...

    def retired(self) -> Mapping[str, str]:
        """Models that were taken out of service on purpose, and since when."""
        ...

    def fetch_bundle(self, model: str, version: str, target: Path) -> None:
        """Put the files of the version's bundle into the existing empty folder `target`."""
        ...


class Follower:
    """Keeps the pointer file equal to the registry's plans.

    `probation` gives the minutes after a release for which the version before stays ready to
    answer for the new one. Any thread may call `step`.
    """

    def __init__(
        self,
        source: PlanSource,
        cache: Path,
        pointer: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        probation: Callable[[str], float] = lambda model: PROBATION_MINUTES,
    ) -> None:
        self._source = source
        self._cache = BundleCache(source.fetch_bundle, cache)
        self._pointer = pointer
        self._now = now
        self._probation = probation
        self._is_empty = False
        self._is_new = True
        self._told: dict[str, tuple[str, ...]] = {}
        self._one_step = threading.Lock()

    def step(self) -> bool:
        """Look once; True if a new pointer was published.

        Raises whatever the source raises while the registry is away. A bundle that cannot be
        fetched leaves its model's champion as it was, or its variant without traffic. A model
        that lost its alias is withdrawn, but a registry without any champion changes nothing, if
        its models were not retired.
        """
        with self._one_step:
            before = self._published()
            entries: dict[str, Any] = before["models"]
            plans = self._source.plans()
            retired = self._retired(before, plans)
            if set(entries) - set(retired) and not plans:
                self._lost_everything()
                return False
            self._is_empty = False
            after = {
                model: self._entry(model, plan, entries.get(model))
                for model, plan in sorted(plans.items())
            }
            state: dict[str, Any] = {
                "models": {model: entry for model, entry in after.items() if entry is not None}
            }
            # What there is no bundle of, not even an older one.
            unserved = {
                model: self._cache.missing(model, plans[model].champion.version)
                for model, entry in after.items()
                if entry is None
            }
            state |= {"unserved": unserved} if unserved else {}
            state |= {"retired": retired} if retired else {}
            generation = before.pop("generation")
            if state == before and self._pointer.exists():
                return False
            state = {"generation": generation + 1, **state}
            write_atomically(self._pointer, json.dumps(state, indent=1).encode())
            published = {model: told(entry) for model, entry in state["models"].items()}
            logger.info("Published %s", published)
            return True

    def _retired(self, before: Mapping[str, Any], plans: Mapping[str, Any]) -> dict[str, str]:
        """The retired models; asked for where there may be any, to spare the registry the rest."""
        known: dict[str, str] = before.get("retired", {})
        if not self._is_new and not known and not before["models"].keys() - plans.keys():
            return {}
        found = dict(self._source.retired())
        self._is_new = False
        return found

    def run(self, stop: threading.Event, every: float) -> None:
        """Look every `every` seconds until stopped; an outage is logged once and never raised."""
        outage = Trouble()
        while not stop.is_set():
            pause = every
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - clients raise anything while a server is away
                if not outage.failures:
                    logger.warning(
                        "The registry is away (%s); serving the last known champions.", error
                    )
                pause = outage.failed(every)
            else:
                if outage.failures:
                    logger.warning("The registry is back.")
                outage = Trouble()
            stop.wait(pause)

    def _lost_everything(self) -> None:
        # A registry whose database was lost looks like this; stopping every model is worse than
        # serving one for too long.
        if not self._is_empty:
            logger.warning("The registry has no champion at all; serving the last known ones.")
        self._is_empty = True

    def _entry(
        self, model: str, plan: ServingPlan, before: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """The model's entry in the pointer; None where there is no bundle to serve."""
        folder = self._cache.folder(model, plan.champion.version)
        entry = self._champion(plan, folder, before)
        if entry is None:
            return None
        problems = [*plan.problems]
        if folder is None:
            problems.insert(0, self._cache.missing(model, plan.champion.version))
        split, shadow = [], None
        for planned in plan.split:
            folder = self._cache.folder(model, planned.version)
            if folder is None:
                problems.append(f"split: {planned.variant} gets no traffic: its bundle is missing")
            elif planned.version != entry["version"]:
                arm = {"variant": planned.variant, "weight": planned.weight}
                split.append({**arm, "version": planned.version, "path": str(folder)})
        if plan.shadow:
            folder = self._cache.folder(model, plan.shadow)
            if folder is None:
                problems.append(f"shadow: the bundle of version {plan.shadow} is missing")
            elif plan.shadow != entry["version"]:
                shadow = {"version": plan.shadow, "path": str(folder)}
        self._tell(model, tuple(problems))
        extras = {
            "split": split,
            "shadow": shadow,
            "fallback": self._fallback(model, plan, entry, before),
            "problems": problems,
        }
        return {**entry, **{name: value for name, value in extras.items() if value}}

    def _champion(
        self, plan: ServingPlan, folder: Path | None, before: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Version, path and times of the champion; as before where its bundle can't be had."""
        version, released_at = plan.champion.version, plan.champion.released_at
        kept = before and {name: before[name] for name in ("version", "path", "since")}
        if folder is None:
            return {**kept, "released_at": before["released_at"]} if kept and before else None
        if kept and (kept["version"], kept["path"]) == (version, str(folder)):
            return {**kept, "released_at": released_at}
        return {
            "version": version,
            "path": str(folder),
            "since": self._now().isoformat(),
            "released_at": released_at,
        }

    def _fallback(
        self, model: str, plan: ServingPlan, entry: dict[str, Any], before: dict[str, Any] | None
    ) -> dict[str, str] | None:
        """The champion before this one, while this one is on probation.

        Whoever went back to the version before did not do so to be answered by what it left.
        """
        age = self._now() - datetime.fromisoformat(entry["since"])
        if before is None or age >= timedelta(minutes=self._probation(model)):
            return None
        known = before.get("fallback") or {"version": ""}
        candidates = [known["version"]]
        if before["version"] != entry["version"]:
            candidates = [] if known["version"] == entry["version"] else [before["version"]]
            candidates.append(known["version"])
        for version in candidates:
            if version and version != entry["version"] and version not in plan.quarantined:
                folder = self._cache.folder(model, version)
                if folder is not None:
                    return {"version": version, "path": str(folder)}
        return None

    def _tell(self, model: str, problems: tuple[str, ...]) -> None:
        if problems != self._told.get(model, ()):
            for problem in problems:
                logger.warning("%s: %s", model, problem)
            self._told[model] = problems

    def _published(self) -> dict[str, Any]:
        """What the pointer says now; a damaged one is made anew."""
        try:
            state = json.loads(self._pointer.read_bytes())
            published = {"generation": int(state["generation"]), "models": dict(state["models"])}
            others = ("retired", "unserved")
            return published | {name: dict(state[name]) for name in others if name in state}
        except FileNotFoundError:
            return {"generation": 0, "models": {}}
        except (ValueError, KeyError, TypeError) as error:
            logger.error("%s is damaged and written anew: %r", self._pointer, error)
            return {"generation": 0, "models": {}}


def told(entry: Mapping[str, Any]) -> str:
    """An entry in a few words, as `5, fallback 4, challenger=10% of 6`."""
    words = [str(entry["version"])]
    words += [
        f"{arm['variant']}={arm['weight']:g}% of {arm['version']}" for arm in entry.get("split", ())
    ]
    words += [
        f"{role} {entry[role]['version']}" for role in ("shadow", "fallback") if role in entry
    ]
    return ", ".join(words)
