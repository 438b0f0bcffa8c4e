"""What each policy is worth on a history, and what it does where nothing changes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.decisions.data import draw, load
from benchmarks.decisions.learner import TableLearner
from mlops_assets.domain.backtest import Replay, Training, frame, replay, tie_price
from mlops_assets.domain.evidence import PolicyName, RetrainPolicy
from mlops_assets.domain.governor import Limits
from mlops_assets.domain.lookahead import plan
from mlops_assets.domain.scouts import Scouts
from mlops_assets.domain.staleness import History, Version, outlook

DEFAULT = "default"
NAMES: dict[str, PolicyName] = {
    DEFAULT: "benefit",
    "performance": "performance",
    "drift": "drift",
    "rule_of_thumb": "rule_of_thumb",
}
INTERVALS = range(1, 13)
FACTORS = (0.3, 1.0, 3.0)
# As the spec's defaults: the default policy weighs each retrain, the others wait two periods.
COOLDOWN = {DEFAULT: 0, "performance": 2, "drift": 2, "rule_of_thumb": 0}


@dataclass(frozen=True)
class Value:
    """A policy on one draw of a data set; `loss` is the mean of a row."""

    policy: str
    dataset: str
    seed: int
    delay: int
    price_factor: float
    value: float
    retrains: int
    loss: float


@dataclass(frozen=True)
class Quiet:
    """A policy on a draw whose rows were shuffled over the periods."""

    policy: str
    dataset: str
    seed: int
    periods: int
    retrains: int
    alerts: int


@dataclass(frozen=True)
class Cost:
    """CPU seconds: of all trainings, of one, and of watching (scouts, plans) per period."""

    dataset: str
    seed: int
    fit: float
    watching: float
    reports: float

    @property
    def share(self) -> float:
        """What watching a period costs beside a full training."""
        return self.watching / self.fit


def policy_of(name: str) -> RetrainPolicy:
    """A policy with the spec's defaults."""
    return RetrainPolicy(
        name=NAMES[name],
        cooldown=COOLDOWN[name],
        drift_patience=4,
        every=8,
        floor=0.85,
        rollback_periods=2,
        window=None,
    )


def run(learner: TableLearner, name: str, price: float, delay: int) -> Replay:
    """One policy's way through a history."""
    return replay(
        learner,
        policy_of(name),
        Limits(cooldown=COOLDOWN[name], budget_per_month=None),
        price=price,
        delay=delay,
        scouts=learner.scouts,
        label=name,
    )


def values(path: Path, seed: int, delays: tuple[int, ...]) -> tuple[list[Value], list[Quiet], Cost]:
    """Every policy and every fixed interval on one draw of a data set, and on its shuffled rows."""
    learner = TableLearner(draw(load(path), seed), seed)
    cost = watching_cost(learner, path.stem, seed)
    found = []
    for delay in delays:
        tie = tie_price(learner, delay)
        for factor in FACTORS:
            found += list(_cell(learner, path.stem, seed, delay, factor, tie * factor, cost.share))
    price = tie_price(learner, 0)
    return found, quiet(path, seed, price), cost


def watching_cost(learner: TableLearner, dataset: str, seed: int) -> Cost:
    """Measure what the default policy computes per period, beside a full training.

    The trainings are those of the hindsight optimum, one after each period.
    """
    first, total = learner.first, len(learner.periods)
    fits = [learner.fit(Training(end)).cpu_seconds for end in range(first, total)]
    # The first run imports, trains and reports; what is timed does none of that.
    run(learner, DEFAULT, max(tie_price(learner), 1e-9), 0)
    scouts, live = Scouts(learner.moments), Training(first)
    losses = {period: learner.loss(live, period) for period in range(first, total)}
    begun = time.process_time()
    for period in range(first, total):
        known = {p: loss for p, loss in losses.items() if p <= period}
        version = Version("1", first, None, learner.training_rows(live), known)
        history = History(scouts.upto(period + 1), learner.rows[: period + 1], [version])
        expected = outlook(history)
        if expected:
            plan(expected, price=1.0, periods=period + 1)
    planned = time.process_time() - begun
    return Cost(
        dataset,
        seed,
        fit=sum(fits) / len(fits),
        watching=planned / (total - first) + learner.moments_cpu / total,
        reports=learner.report_cpu / max(learner.reported, 1),
    )


def _cell(
    learner: TableLearner,
    dataset: str,
    seed: int,
    delay: int,
    factor: float,
    price: float,
    share: float,
) -> Iterator[Value]:
    if price <= 0:
        # A history on which the first version is the best: no price ties, nothing is to be gained.
        return
    framed = frame(learner, price=price, delay=delay)
    rows = sum(learner.rows[learner.first :])
    for name in NAMES:
        told = run(learner, name, price, delay)
        # Watching is charged by its share of the CPU of a full training.
        watched = price * share * len(told.steps) if name == DEFAULT else 0.0
        worth = framed.value(told.cost + watched)
        if worth is not None:
            yield Value(name, dataset, seed, delay, factor, worth, told.retrains, told.loss)
    for every in INTERVALS:
        lost, retrains = scheduled(learner, every, delay)
        worth = framed.value(lost + price * retrains)
        if worth is not None:
            name = f"every_{every}"
            yield Value(name, dataset, seed, delay, factor, worth, retrains, lost / rows)
    for name, cost, count in (
        ("never", framed.never, 0),
        ("always", framed.always, len(learner.periods) - 1 - learner.first),
        ("hindsight", framed.best, len(framed.best_retrains)),
    ):
        worth = framed.value(cost)
        if worth is not None:
            lost = (cost - price * count) / rows
            yield Value(name, dataset, seed, delay, factor, worth, count, lost)


def scheduled(learner: TableLearner, every: int, delay: int) -> tuple[float, int]:
    """Loss summed over rows, and retrains, of a retrain after each `every` periods."""
    training, lost, retrains = Training(learner.first), 0.0, 0
    last = len(learner.periods) - 1
    for period in range(learner.first, last + 1):
        lost += learner.rows[period] * learner.loss(training, period)
        if period < last and (period + 1 - learner.first) % every == 0:
            training = Training(max(learner.first, period + 1 - delay))
            retrains += 1
    return lost, retrains


def quiet(path: Path, seed: int, price: float) -> list[Quiet]:
    """Every policy where nothing changes: the rows of a draw, shuffled over its periods."""
    learner = TableLearner(draw(load(path), seed, shuffled=True), seed)
    periods = len(learner.periods) - learner.first
    found = []
    for name in NAMES:
        told = run(learner, name, price, 0)
        found.append(Quiet(name, path.stem, seed, periods, told.retrains, told.alerts))
    return found
