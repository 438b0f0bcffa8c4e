"""What retrain_decision does with a period: gather the evidence, decide, keep."""

from mlops_assets.domain.evidence import RetrainPolicy
from mlops_assets.domain.retraining import Decision, decide
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring


def decide_on(model: Model, stores: Stores, period: str) -> Decision:
    """Decide after a period, and keep the decision."""
    history = monitoring.evidence(stores.lake, model.name, period)
    decision = decide(model.name, history, retrain_policy(model))
    monitoring.keep(
        stores.lake, model.name, "decisions", period, monitoring.decision_content(decision)
    )
    return decision


def retrain_policy(model: Model) -> RetrainPolicy:
    """The policy of the spec, as `decide` takes it."""
    rules = model.spec.retraining
    return RetrainPolicy(
        name=rules.policy,
        cooldown=rules.cooldown_periods,
        drift_patience=rules.drift_patience,
        every=rules.every,
        floor=rules.floor,
        rollback_periods=rules.rollback_periods,
        window=model.spec.training.window.last,
    )
