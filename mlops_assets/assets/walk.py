"""What becomes of a canary: it is looked at after every period, and moved, released or stopped."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from mlops_assets.domain.canary import CanaryPolicy, CanaryState, CanaryStep, advance
from mlops_assets.domain.sequential import Comparison, compare
from mlops_assets.domain.split import CHAMPION
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import canaries, monitoring
from mlops_assets.stores.bundles import load_scorer
from mlops_assets.stores.canaries import Canaries, Canary, Side
from mlops_assets.stores.incidents import Finding
from mlops_assets.stores.registry import CHALLENGER
from mlops_assets.stores.release_log import ReleaseRecord

ACTOR = "canary"
# A canary that cannot leave a step for so many periods is given up.
PATIENCE = 8
# Within so many it must be able to see enough rows at its first share: traffic varies and labels
# come late, so that one which takes all of its patience would be given up for want of rows.
FIRST_STEP = PATIENCE // 2
# A difference of this share of the loss is worth seeing soon.
DESIGN_EFFECT = 0.1


@dataclass(frozen=True)
class Look:
    """What a look at a canary found and did; `canary` is None where none was under way."""

    canary: Canary | None
    action: str
    weight: float
    reason: str
    comparison: Comparison | None = None
    release: ReleaseRecord | None = None

    @property
    def harm(self) -> bool:
        """Whether the challenger was found to be worse."""
        return self.comparison is not None and self.comparison.verdict == "worse"

    def content(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "action": self.action,
            "weight": self.weight,
            "reason": self.reason,
            "canary": asdict(self.canary) if self.canary else None,
            "comparison": _finite(self.comparison),
            "release": self.release.id if self.release else "",
        }


def look(model: Model, stores: Stores, period: str, run_id: str) -> Look:
    """Judge the canary on all labels known after a period, and act; once per canary and period."""
    with alone(model, stores):
        canary = Canaries(stores.registry).running(model.name)
        kept = monitoring.kept(stores.lake, model.name, canaries.REPORTS).get(period)
        if kept and (canary is None or (kept["canary"] or {}).get("run_id") == canary.run_id):
            return Look(canary, kept["action"], kept["weight"], kept["reason"])
        if canary is None:
            found = Look(None, "none", 0.0, "no canary is under way")
        else:
            found = _act(model, stores, canary, period, run_id)
        monitoring.keep(stores.lake, model.name, canaries.REPORTS, period, found.content())
        return found


def _act(model: Model, stores: Stores, canary: Canary, period: str, run_id: str) -> Look:
    """End it if the world has changed; otherwise compare, and do what follows."""
    known, name, now = Canaries(stores.registry), model.name, stores.clock.now()
    ended = _outside(model, stores, canary)
    if ended is not None:
        known.end_split(name, canary)
        known.keep(name, ended)
        action = "promote" if ended.status == "promoted" else "stop"
        return Look(canary, action, 0.0, ended.reason)
    comparison, step = _judge(model, stores, canary, period)
    reason, release = step.reason, None
    if step.action == "promote":
        release = _release(model, stores, canary, comparison, reason, run_id)
        known.keep(name, canary.ended("promoted", reason))
    elif step.action == "stop":
        if comparison.verdict == "worse":
            finding = Finding("loss", (reason,), {"canary": _finite(comparison)})
            stores.releases.withdraw(
                name, canary.version, finding, actor=ACTOR, at=machine_time(), loop_time=now
            )
        known.end_split(name, canary)
        known.keep(name, canary.ended("stopped", reason))
    elif step.action == "advance":
        known.keep(name, canary.moved(step.weight, machine_time(), now, reason))
    else:
        known.keep(name, canary)
    return Look(canary, step.action, step.weight, reason, comparison, release)


def _outside(model: Model, stores: Stores, canary: Canary) -> Canary | None:
    """How the canary has ended without a comparison; None if it has not."""
    name = model.name
    serving = stores.registry.aliases(name).get(CHAMPION, "none")
    if serving == canary.version:
        last = stores.releases.history(name)[-1]
        if (last.actor, last.to_version) == (ACTOR, canary.version):
            # A run was killed after it had released the version.
            return canary.ended("promoted", last.reason)
        return canary.ended("stopped", f"version {canary.version} was released by {last.actor}")
    if serving != canary.champion:
        return canary.ended("stopped", f"version {serving} is the champion by now")
    held = stores.registry.version(name, canary.version).quarantined
    if held:
        return canary.ended("stopped", f"version {canary.version} was quarantined: {held}")
    disturbed = Canaries(stores.registry).disturbed(name, canary)
    return canary.ended("stopped", disturbed) if disturbed else None


def _judge(
    model: Model, stores: Stores, canary: Canary, period: str
) -> tuple[Comparison, CanaryStep]:
    sides = {
        variant: Side(version, load_scorer(_bundle(model, stores, version)))
        for variant, version in ((CHAMPION, canary.champion), (CHALLENGER, canary.version))
    }
    evidence = json.loads((_bundle(model, stores, canary.champion) / "evidence.json").read_bytes())
    # Known before the first row of the canary, as the design of the interval has to be.
    loss = max(float(evidence["loss"]["mean"]), 1e-9)
    rows, at_step = canaries.strata(model, stores.lake, canary, sides, period)
    comparison = compare(rows, effect=DESIGN_EFFECT * loss, confidence=model.spec.gates.confidence)
    since = datetime.fromisoformat(canary.steps[-1].loop_time)
    state = CanaryState(canary.weight, since, at_step)
    return comparison, advance(state, comparison, policy(model, loss), stores.clock.now())


def _release(
    model: Model,
    stores: Stores,
    canary: Canary,
    comparison: Comparison,
    reason: str,
    run_id: str,
) -> ReleaseRecord:
    version = stores.registry.version(model.name, canary.version)
    walked = {f"{step.weight:g}%": step.loop_time for step in canary.steps}
    return stores.releases.release(
        model.name,
        canary.version,
        expected_champion=canary.champion,
        actor=ACTOR,
        reason=f"canary: {reason}",
        at=machine_time(),
        loop_time=stores.clock.now(),
        run_id=run_id,
        evidence={
            **version.release_evidence,
            "canary": {**_finite(comparison), "steps": walked},
        },
    )


def policy(model: Model, loss: float) -> CanaryPolicy:
    """The canary's limits, where the champion's loss is `loss`."""
    return CanaryPolicy(margin=model.spec.gates.margin * loss, patience=PATIENCE * _length(model))


def _length(model: Model) -> timedelta:
    bounds = model.calendar.bounds(model.calendar.key(datetime(2026, 1, 15, tzinfo=UTC)))
    return bounds.end - bounds.start


def _bundle(model: Model, stores: Stores, version: str) -> Path:
    return stores.registry.cached_bundle(model.name, version, stores.bundles)


def _finite(comparison: Comparison | None) -> dict[str, Any]:
    """The comparison as JSON knows numbers."""
    if comparison is None:
        return {}
    content = asdict(comparison)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in content.items()
    }


def machine_time() -> datetime:
    """Now, as answers are stamped, whatever the loop's clock says."""
    return datetime.now(UTC)


@contextmanager
def alone(model: Model, stores: Stores) -> Iterator[None]:
    """No other run of this machine begins or looks at the model's canary meanwhile."""
    folder = Path(stores.locks_root)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"canary-{model.name}.lock", timeout=600):
        yield
