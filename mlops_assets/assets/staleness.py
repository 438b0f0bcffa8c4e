"""What staleness_report does with a period: sums for the scouts, history, plan, keep, draw."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg

from mlops_assets.assets.reported import Reported
from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.lookahead import Plan, plan
from mlops_assets.domain.policies import worth_text
from mlops_assets.domain.price import default_price
from mlops_assets.domain.scouts import Scouts
from mlops_assets.domain.service import Scored, Trained, versions_of
from mlops_assets.domain.staleness import History, Version, outlook
from mlops_assets.domain.wording import counted
from mlops_assets.reports import plots
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring, performance_reports, training_rows
from mlops_assets.stores.registry import CHAMPION
from mlops_assets.stores.scouts import FEATURES, LabelledHistory, labelled_history

EVIDENCE = "evidence.json"


def report_staleness(model: Model, stores: Stores, period: str) -> Reported:
    """Estimate what a retrain is worth, when a period has been judged, and keep it."""
    began = time.process_time()
    champion = stores.registry.alias(model.name, CHAMPION)
    live = champion.version if champion else ""
    labelled = labelled_history(model, stores.lake, period, stores.clock.now())
    worth, reason = _worth(model, stores, labelled, period, live)
    content = {
        "version": live,
        "reason": reason,
        "plan": asdict(worth) if worth else None,
    }
    monitoring.keep(stores.lake, model.name, monitoring.STALENESS, period, content)
    shown = {
        "version": live,
        "reason": reason,
        "periods_read": len(labelled.made) if labelled else 0,
        **(_metadata(model, stores, worth) if worth else {}),
    }
    return Reported(worth, {**shown, "cpu_seconds": round(time.process_time() - began, 3)})


def _worth(
    model: Model, stores: Stores, labelled: LabelledHistory | None, period: str, live: str
) -> tuple[Plan | None, str]:
    """The plan and what it says; or why there is none."""
    if not live:
        return None, "nothing serves"
    if labelled is None:
        return None, "no label of the oldest periods is known"
    reports = performance_reports.history(stores.lake, model.name)
    versions = versions_of(
        labelled.periods,
        _scored(reports, period),
        _trained(model, stores),
        live,
        older=labelled.older,
    )
    if versions is None:
        return None, f"what version {live} was trained on is not on record"
    rows = _rows(model, stores, labelled)
    history = History(Scouts(labelled.moments), rows, versions)
    content = reports.get(period)
    harmed = bool(content and content["judged"] and content["harmed"])
    expected = outlook(history, holdout=model.spec.training.holdout, abrupt=harmed)
    if expected is None:
        return None, _too_early(versions)
    price = model.spec.retraining.price
    if price is None:
        price = _default_price(model, stores, live)
    worth = plan(expected, price=price, periods=labelled.older + len(rows), harmed=harmed)
    return worth, worth_text(worth)


def _too_early(versions: list[Version]) -> str:
    if any(version.losses for version in versions):
        return "too few periods have labels to tell how fast models age"
    return "no served period has been judged yet"


def _scored(reports: performance_reports.Kept, until: str) -> list[Scored]:
    return [
        Scored(
            period=period,
            version=content["version"],
            loss=content["loss"],
            # Reports of older releases of this software do not tell.
            previous=content.get("previous_version", ""),
            previous_loss=content.get("previous_loss"),
        )
        for period, content in reports.items()
        if period <= until and content["judged"]
    ]


def _trained(model: Model, stores: Stores) -> Mapping[str, Trained]:
    """What each version was fitted on, by its training set."""
    manifests = training_rows.manifests(model.name, stores.lake)
    found = {}
    for version in stores.registry.versions(model.name):
        manifest = manifests.get(version.tags.get("training_set", ""))
        if manifest is None:
            continue
        fitted = manifest.split.refit
        rows = sum(part.rows for part in manifest.periods if part.period in fitted)
        found[version.version] = Trained(fitted[0], fitted[-1], len(fitted), rows)
    return found


def _rows(model: Model, stores: Stores, labelled: LabelledHistory) -> list[int]:
    """Rows of each labelled period, and of the later ones that are over and have come in.

    Periods that are left out are counted with the first one: a new version is trained on them.
    """
    held = stores.lake.held(model.name, FEATURES)
    over = [p for p in model.calendar.closed(stores.clock.now()) if p in held]
    later = [p for p in over if p > labelled.periods[-1]]
    rows = [held[period].rows for period in (*labelled.periods, *later)]
    rows[0] += sum(held[period].rows for period in list(held)[: labelled.older])
    return rows


def _default_price(model: Model, stores: Stores, live: str) -> float:
    """That of the first release: it is not to move with each version."""
    releases = stores.releases.history(model.name)
    version = releases[0].to_version if releases else live
    bundle = stores.registry.cached_bundle(model.name, version, stores.bundles)
    evidence = json.loads((bundle / EVIDENCE).read_bytes())
    return default_price(LossSample(**evidence["loss"]), len(evidence["split"]["holdout"]))


def _metadata(model: Model, stores: Stores, worth: Plan) -> dict[str, Any]:
    found = worth.outlook
    picture = plots.markdown_image(plots.png(plots.expected_losses(worth)), "what is expected")
    return {
        "retraining_pays": worth.pays,
        "benefit_per_row": found.benefit,
        "price": worth.price,
        "saving": worth.saving,
        "window": found.window or "all periods",
        "next_retrain_expected": _expected_date(model, stores, worth),
        "age_in_periods": found.age,
        "drift_per_period": found.drift,
        "excess_loss": found.excess,
        "horizon_in_periods": worth.horizon,
        "outlook": dg.MetadataValue.md(picture),
    }


def _expected_date(model: Model, stores: Stores, worth: Plan) -> str:
    """The beginning of the period in which a retrain is expected to pay, as things look now."""
    if worth.pays:
        return "now"
    if worth.wait is None:
        return f"not within {counted(worth.horizon)}"
    moment = model.calendar.floor(stores.clock.now())
    for _ in range(worth.wait):
        moment = model.calendar.following(moment)
    return model.calendar.key(moment)
