"""How a canary begins, in place of a release: a challenger gets its first share."""

import math

from mlops_assets.assets.walk import FIRST_STEP, alone, machine_time, policy
from mlops_assets.domain.canary import first_weight
from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.split import CHAMPION
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring
from mlops_assets.stores.canaries import Canaries, Canary, Walked
from mlops_assets.stores.registry import Version


def begin(model: Model, stores: Stores, candidate: Version, *, reason: str, run_id: str) -> Canary:
    """Give a challenger that passed its gates its first share; the same run begins one canary.

    One that was killed before it had set the split, or whose split was taken away, goes on.
    Raises ReleaseError if the challenger may not serve or was judged against another champion,
    or if another canary is under way.
    """
    known = Canaries(stores.registry)
    name, version = model.name, candidate.version
    with alone(model, stores):
        champion = _refuse(model, stores, candidate)
        found = known.of(name)
        if found and found.version == version and _interrupted(known, name, found, run_id):
            if found.status == "running":
                known.keep(name, found)
            return found
        if found and found.status == "running":
            raise ReleaseError(
                f"{name}: the {found.text}, is under way; wait for its end, or end it with "
                f"`mlops split {name} champion=100`."
            )
        closed = monitoring.kept(stores.lake, name, "decisions")
        weight = first_weight(_rows_per_period(model, stores), FIRST_STEP, policy(model, 1.0))
        canary = Canary(
            version=version,
            champion=champion,
            status="running",
            reason=reason,
            run_id=run_id,
            after=max(closed, default=""),
            steps=(Walked(weight, machine_time().isoformat(), stores.clock.now().isoformat()),),
        )
        known.keep(name, canary)
        return canary


def _interrupted(known: Canaries, model: str, found: Canary, run_id: str) -> bool:
    """Whether this beginning was made before, and perhaps killed before it had set the split."""
    lost = found.status == "running" and bool(known.disturbed(model, found))
    return found.run_id == run_id or lost


def _refuse(model: Model, stores: Stores, candidate: Version) -> str:
    """The champion that the candidate may walk against; ReleaseError if there is none."""
    name = f"{model.name} version {candidate.version}"
    refused = candidate.quarantined or ("" if candidate.passed_gates else "it failed its gates")
    if refused:
        raise ReleaseError(f"{name} may not serve: {refused}")
    champion = stores.registry.aliases(model.name).get(CHAMPION, "")
    against = candidate.tags.get("judged_against", "")
    if not champion or champion != against:
        raise ReleaseError(
            f"{name} was judged against version {against or 'none'}, but {champion or 'none'} "
            "serves now: train a new challenger."
        )
    return champion


def _rows_per_period(model: Model, stores: Stores) -> float:
    """Answers in the busier one of the two newest periods; endless where nothing was served.

    A client may say that its event is still to come, so periods after this one do not count.
    """
    now = model.calendar.key(stores.clock.now())
    known = stores.lake.periods(model.name, monitoring.PREDICTIONS)
    periods = [period for period in known if period <= now][-2:]
    counts = [len(monitoring.predictions_of(model, stores.lake, period)) for period in periods]
    return max(counts, default=math.inf)
