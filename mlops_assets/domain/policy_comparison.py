"""Policies side by side on one history: what each would have done, cost and been worth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from mlops_assets.domain.backtest import Replay, replay
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PolicyName, RetrainPolicy
from mlops_assets.domain.governor import Limits
from mlops_assets.domain.hindsight import Frame, frame, tie_price
from mlops_assets.domain.learner import Learner
from mlops_assets.domain.scouts import Scouts

# Prices, as shares of the one that was asked for, at which the policies are compared as well.
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Outcome:
    """A policy's way through the history, and its false alarms on shuffled ones (None: not run).

    The shares are per 100 periods in which nothing had changed.
    """

    replay: Replay
    value: float | None
    false_retrains: float | None
    false_alerts: float | None


@dataclass(frozen=True)
class AtPrice:
    """What a price would have led to, by policy."""

    factor: float
    frame: Frame
    replays: Mapping[str, Replay]


@dataclass(frozen=True)
class PolicyComparison:
    """Policies by name on the served `periods`, the history's from `first` on.

    Costs are in loss times rows.
    """

    model: str
    first: int
    periods: tuple[str, ...]
    rows: int
    delay: int
    price: float
    tie_price: float
    frame: Frame
    outcomes: Mapping[str, Outcome]
    prices: tuple[AtPrice, ...]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "model": self.model,
            "periods": list(self.periods),
            "rows": self.rows,
            "delay": self.delay,
            "price": self.price,
            "tie_price": self.tie_price,
            "frame": {**asdict(self.frame), "best_retrains": self.best_periods(self.frame)},
            "policies": [
                {**_summary(name, one.replay, one.value), **_alarms(one), "steps": _steps(one)}
                for name, one in self.outcomes.items()
            ],
            "prices": [
                {
                    "factor": at.factor,
                    "price": at.frame.price,
                    "never": at.frame.never,
                    "always": at.frame.always,
                    "best": at.frame.best,
                    "best_retrains": self.best_periods(at.frame),
                    "policies": [
                        _summary(name, run, at.frame.value(run.cost))
                        for name, run in at.replays.items()
                    ],
                }
                for at in self.prices
            ],
        }

    def best_periods(self, found: Frame) -> list[str]:
        """The periods before which the best dates in hindsight retrain."""
        return [self.periods[place - self.first] for place in found.best_retrains]


def named_policy(text: str, base: RetrainPolicy) -> RetrainPolicy:
    """The policy that `benefit` or, with an interval of its own, `schedule:4` names.

    Everything else is as `base` says. Raises DataError for any other text.
    """
    name, _, every = text.partition(":")
    known: tuple[PolicyName, ...] = get_args(PolicyName)
    if name not in known or (every and (name != "schedule" or not every.isdigit() or every == "0")):
        raise DataError(
            f"no policy {text!r}: use {', '.join(known)}, or schedule:N for every N periods"
        )
    found = replace(base, name=known[known.index(name)])
    return replace(found, every=int(every)) if every else found


def compare_policies(
    learner: Learner,
    quiet: Sequence[Learner],
    policies: Mapping[str, RetrainPolicy],
    limits: Limits,
    *,
    price: float,
    delay: int,
    model: str,
    say: Callable[[str], None] = lambda text: None,
) -> PolicyComparison:
    """Replay each policy on the history, at several prices, and on `quiet` histories.

    The cooldown of the `limits` is each policy's own.

    Raises DataError for a price that is not positive, a negative delay, or too short a history.
    """
    if price <= 0 or delay < 0:
        raise DataError(f"price {price} must be above 0, and delay {delay} 0 or more periods")
    by_price = {}
    for factor in FACTORS:
        say(f"replaying {len(policies)} policies at {factor:g} times the price")
        by_price[factor] = _runs(learner, policies, limits, factor * price, delay, model)
    # The windows that policies chose are the best dates' to choose as well.
    tried = {s.training for runs in by_price.values() for run in runs.values() for s in run.steps}
    prices = tuple(
        AtPrice(at, frame(learner, price=at * price, delay=delay, also=tried), runs)
        for at, runs in by_price.items()
    )
    found = next(at.frame for at in prices if at.factor == 1)
    outcomes = {}
    for name, policy in policies.items():
        say(f"replaying {name} on shuffled rows")
        run = by_price[1.0][name]
        calm = [_runs(other, {name: policy}, limits, price, delay, model)[name] for other in quiet]
        outcomes[name] = Outcome(
            run,
            found.value(run.cost),
            _per_100(calm, [one.retrains for one in calm]),
            _per_100(calm, [one.alerts for one in calm]),
        )
    return PolicyComparison(
        model=model,
        first=learner.first,
        periods=tuple(learner.periods[learner.first :]),
        rows=sum(learner.rows[learner.first :]),
        delay=delay,
        price=price,
        tie_price=tie_price(learner, delay),
        frame=found,
        outcomes=outcomes,
        prices=prices,
    )


def _runs(
    learner: Learner,
    policies: Mapping[str, RetrainPolicy],
    limits: Limits,
    price: float,
    delay: int,
    model: str,
) -> dict[str, Replay]:
    scouts = Scouts(learner.moments)
    return {
        name: replay(
            learner,
            policy,
            replace(limits, cooldown=policy.cooldown),
            price=price,
            delay=delay,
            model=model,
            label=name,
            scouts=scouts,
        )
        for name, policy in policies.items()
    }


def _per_100(runs: Sequence[Replay], events: Sequence[int]) -> float | None:
    decided = sum(step.decision is not None for run in runs for step in run.steps)
    return 100 * sum(events) / decided if decided else None


def _summary(name: str, run: Replay, value: float | None) -> dict[str, Any]:
    return {
        "policy": name,
        "retrains": run.retrains,
        "alerts": run.alerts,
        "loss": run.loss,
        "cost": run.cost,
        "value": value,
    }


def _alarms(one: Outcome) -> dict[str, float | None]:
    return {
        "false_retrains_per_100": one.false_retrains,
        "false_alerts_per_100": one.false_alerts,
    }


def _steps(one: Outcome) -> list[dict[str, Any]]:
    return [
        {
            "period": step.period,
            "trained_on": step.training.end,
            "window": step.training.window,
            "rows": step.rows,
            "loss": step.loss,
            "action": step.decision.action if step.decision else None,
            "reasons": list(step.decision.reasons) if step.decision else [],
            "acted": step.acted,
            "verdict": step.verdict,
        }
        for step in one.replay.steps
    ]
