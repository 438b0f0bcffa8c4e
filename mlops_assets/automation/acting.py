"""Acts on decisions, as far as the governor lets it, and keeps what the governor said."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from mlops_assets.automation.jobs import job_name
from mlops_assets.automation.past_retrains import (
    DECISION_TAG,
    LOOP_TIME_TAG,
    PERIOD_TAG,
    past_retrains,
)
from mlops_assets.automation.past_runs import handled
from mlops_assets.domain.evidence import PeriodEvidence
from mlops_assets.domain.governor import Situation, Verdict, govern
from mlops_assets.domain.past_retrains import Cause
from mlops_assets.domain.retraining import Decision
from mlops_assets.resources import ALL_PERIODS, MODEL_TAG, WINDOW_TAG, Stores
from mlops_assets.spec import Model

REPORTS = ("drift_report", "performance_report", "retrain_decision")
EVENTS_PER_TICK = 100
DISABLED = "retraining.enabled is false in defs.yaml"


def act_on_decisions(
    context: dg.SensorEvaluationContext,
    model: Model,
    stores: Stores,
    champion: str,
    running: str | None,
) -> Any:
    """Read the reports after the cursor; start at most one run, for the newest decision."""
    cursor = int(context.cursor or 0)
    events = _events(context, model, cursor)
    if not events:
        return dg.SkipReason(f"no new report on {model.name}")
    judge = _Judge(context.instance, model, stores, champion, running)
    notes: list[str] = []
    told: list[dg.AssetObservation] = []
    for storage_id, materialization in events:
        asset = materialization.asset_key.path[-1]
        if asset != "retrain_decision":
            notes.append(f"{asset} {materialization.partition}: {_text(materialization, 'reason')}")
            cursor = storage_id
            continue
        decision = _decision(model, materialization)
        verdict = judge.of(decision)
        told += judge.keep(decision, verdict)
        if verdict.action == "wait":
            # The cursor stays before this event, so the next tick judges it again.
            return _skip(verdict.reason, cursor, told)
        cursor = storage_id
        notes.append(f"{verdict.reason} ({'; '.join(decision.reasons)})")
        if verdict.action == "start":
            request = judge.run_of(decision)
            return dg.SensorResult(
                run_requests=[request], cursor=str(cursor), asset_events=list(told)
            )
    return _skip(notes[-1], cursor, told)


def out_of_service(model: Model, stores: Stores) -> str:
    """Why nothing is done for the model any more; empty if it is in service."""
    from mlops_assets.stores.model_folders import SPEC_FILE
    from mlops_assets.stores.retirements import RetirementLog

    retired = RetirementLog(stores.lake).current(model.name)
    if retired:
        return f"{model.name} is {retired.text}; `mlops retire {model.name} --undo` ends it"
    if not (model.folder / SPEC_FILE).is_file():
        return f"{model.name} has no {SPEC_FILE} any more: {model.folder} is gone"
    return ""


def paused_text(model: Model, stores: Stores) -> str:
    """Why no training of the model starts by itself; empty if it may."""
    from mlops_assets.stores.pauses import Pauses

    if not model.spec.retraining.enabled:
        return DISABLED
    pause = Pauses(stores.lake).current(model.name)
    return f"{pause.text}; `mlops resume {model.name}` ends it" if pause else ""


class _Judge:
    """Gathers what the governor asks for, once per tick and only for a decision that matters."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        model: Model,
        stores: Stores,
        champion: str,
        running: str | None,
    ) -> None:
        from mlops_assets.stores.monitoring import decisions

        self._instance, self._model, self._stores = instance, model, stores
        self._champion, self._running = champion, running
        known = decisions(stores.lake, model.name)
        self._newest = known[-1].period if known else ""

    def of(self, decision: Decision) -> Verdict:
        """The governor's verdict on a decision."""
        model, stores = self._model, self._stores
        concerns = decision.action == "retrain" and decision.period >= self._newest
        history = self._history(decision) if concerns else []
        return govern(
            decision,
            history,
            past_retrains(self._instance, model, stores, history) if concerns else [],
            model.spec.retraining.limits,
            Situation(
                champion=self._champion,
                newest_period=self._newest,
                now=stores.clock.now(),
                in_flight=self._running,
                canary=_canary(model, stores) if concerns else "",
                paused=paused_text(model, stores) if concerns else "",
                handled=handled(self._instance, decision.id),
            ),
        )

    def keep(self, decision: Decision, verdict: Verdict) -> list[dg.AssetObservation]:
        """Keep a verdict on the newest decision; what Dagster is told, if it is news."""
        from mlops_assets.stores import verdicts

        if verdict.rule == "needs no run" or decision.period < self._newest:
            return []
        if not verdicts.keep(self._stores.lake, decision, verdict):
            return []
        return [
            dg.AssetObservation(
                asset_key=[decision.model, "retrain_decision"],
                partition=decision.period,
                description=verdict.reason,
                metadata={
                    "governor": verdict.action,
                    "rule": verdict.rule,
                    "reason": verdict.reason,
                    "decision": decision.id,
                },
            )
        ]

    def run_of(self, decision: Decision) -> dg.RunRequest:
        """The run that the decision asks for."""
        retrain = decision.action == "retrain"
        tags = {
            MODEL_TAG: decision.model,
            DECISION_TAG: decision.id,
            LOOP_TIME_TAG: self._stores.clock.now().isoformat(),
            "mlops/version": decision.version,
            "mlops/reason": "; ".join(decision.reasons)[:1000],
            "mlops/actor": "sensor",
        }
        if retrain:
            cause = Cause.of(self._history(decision)[-1])
            tags |= {
                PERIOD_TAG: decision.period,
                WINDOW_TAG: str(decision.window or ALL_PERIODS),
                "mlops/fingerprint": cause.fingerprint,
            }
        return dg.RunRequest(
            run_key=decision.id,
            job_name=job_name(self._model, "train" if retrain else "rollback"),
            tags=tags,
        )

    def _history(self, decision: Decision) -> Sequence[PeriodEvidence]:
        from mlops_assets.stores.monitoring import evidence

        return evidence(self._stores.lake, decision.model, decision.period)


def _skip(reason: str, cursor: int, told: Sequence[dg.AssetObservation]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=str(cursor), asset_events=list(told))


def _canary(model: Model, stores: Stores) -> str:
    """The canary that is under way, in words."""
    from mlops_assets.stores.canaries import Canaries

    if model.spec.serving.canary == "off":
        return ""
    running = Canaries(stores.registry).running(model.name)
    return running.text if running else ""


def _decision(model: Model, materialization: Any) -> Decision:
    return Decision(
        id=_text(materialization, "decision"),
        model=model.name,
        period=str(materialization.partition),
        version=_text(materialization, "version"),
        action=_text(materialization, "action"),  # type: ignore[arg-type]
        window=_window(model, materialization),
        reasons=(_text(materialization, "reasons"),),
    )


def _window(model: Model, materialization: Any) -> int | None:
    """The decision's own window, where anything but a number means all; or else the spec's."""
    if "window" not in materialization.metadata:
        return model.spec.training.window.last
    text = _text(materialization, "window")
    return int(text) if text.isdigit() else None


def _events(context: dg.SensorEvaluationContext, model: Model, after: int) -> list[tuple[int, Any]]:
    """New materialisations of the three reports, in the order in which they happened.

    Where one report has more than is read at once, the others are not read beyond it: the cursor
    must not pass by what was not seen.
    """
    found, horizon = [], None
    for asset in REPORTS:
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey([model.name, asset]), after_storage_id=after
            ),
            limit=EVENTS_PER_TICK,
            ascending=True,
        ).records
        found += [(record.storage_id, record.asset_materialization) for record in records]
        if len(records) == EVENTS_PER_TICK:
            last = records[-1].storage_id
            horizon = last if horizon is None else min(horizon, last)
    ordered = sorted(found, key=lambda event: event[0])
    return [event for event in ordered if horizon is None or event[0] <= horizon]


def _text(materialization: Any, name: str) -> str:
    value = materialization.metadata.get(name)
    return "" if value is None else str(value.value)
