"""What a policy would have done: a history replayed through the code that decides in operation.

Period by period the live version serves, labels arrive `delay` periods later, the evidence goes
through `decide` and `govern`, and a retrain makes a new version from what is labelled by then.
The cost of a replay is its loss, summed over rows, and the price of its retrains; what it could
have been, domain.hindsight tells.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PeriodEvidence, RetrainPolicy
from mlops_assets.domain.governor import Limits, Situation, govern
from mlops_assets.domain.hindsight import Frame, frame, tie_price
from mlops_assets.domain.learner import Learner, Reported, Training
from mlops_assets.domain.lookahead import Plan, plan
from mlops_assets.domain.past_retrains import Cause, PastRetrain
from mlops_assets.domain.policies import Action
from mlops_assets.domain.retraining import Decision, decide
from mlops_assets.domain.scouts import Scouts
from mlops_assets.domain.staleness import History, Version, outlook

__all__ = [
    "Frame",
    "Learner",
    "Replay",
    "Reported",
    "Step",
    "Training",
    "evenly",
    "frame",
    "replay",
    "tie_price",
]


@dataclass(frozen=True)
class Step:
    """A period: which version served it with which mean loss, and what followed.

    `decision` is None while no served period has labels; `verdict` is the governor's word on it.
    """

    period: str
    training: Training
    rows: int
    loss: float
    decision: Decision | None
    verdict: str
    acted: Action


@dataclass(frozen=True)
class Replay:
    """A policy's way through the history; costs in loss times rows."""

    policy: str
    price: float
    steps: tuple[Step, ...]
    trainings: int

    @property
    def retrains(self) -> int:
        """Trainings that were started, released or not."""
        return self.trainings

    @property
    def alerts(self) -> int:
        """Periods after which a person was told something."""
        return sum(s.decision is not None and s.decision.action == "alert" for s in self.steps)

    @property
    def loss(self) -> float:
        """Mean loss of a row."""
        return self.total_loss / max(sum(step.rows for step in self.steps), 1)

    @property
    def total_loss(self) -> float:
        """Loss summed over all rows."""
        return sum(step.rows * step.loss for step in self.steps)

    @property
    def cost(self) -> float:
        """Loss summed over all rows, and the price of all trainings."""
        return self.total_loss + self.price * self.trainings


@dataclass
class _Served:
    """A version in a replay; `since` is the first period it serves."""

    name: str
    training: Training
    since: int


@dataclass
class _World:
    """What has happened so far in a replay."""

    served: list[_Served]
    scouts: Scouts
    evidence: list[PeriodEvidence] = field(default_factory=list)
    past: list[PastRetrain] = field(default_factory=list)
    handled: set[str] = field(default_factory=set)
    taken_back: set[str] = field(default_factory=set)
    made: int = 1

    @property
    def live(self) -> _Served:
        return self.served[-1]

    def serving(self, period: int) -> _Served:
        return [one for one in self.served if one.since <= period][-1]

    def roll_back(self, since: int) -> bool:
        """Let the newest version serve again that was not taken back; False if there is none."""
        live = self.live.name
        before = [one for one in self.served if one.name not in {live, *self.taken_back}]
        if not before:
            return False
        self.taken_back.add(live)
        self.past = [
            replace(one, outcome="taken back") if one.challenger == live else one
            for one in self.past
        ]
        self.served.append(_Served(before[-1].name, before[-1].training, since))
        return True


def replay(
    learner: Learner,
    policy: RetrainPolicy,
    limits: Limits,
    *,
    price: float,
    delay: int = 0,
    model: str = "backtest",
    label: str = "",
    scouts: Scouts | None = None,
) -> Replay:
    """Replay all periods from `learner.first` on. Raises DataError where there are too few.

    `scouts` are those of all of the learner's moments, if they are there from another replay.
    """
    total = len(learner.periods)
    if not 0 < learner.first < total:
        raise DataError(
            f"{model} has {total} periods, of which the first version needs {learner.first}: "
            "a backtest needs more; ingest more history"
        )
    first = _Served("1", learner.oldest, learner.first)
    world = _World([first], scouts or Scouts(learner.moments))
    steps = []
    for now in range(learner.first, total):
        live = world.live
        loss = learner.loss(live.training, now)
        decision: Decision | None = None
        verdict = ""
        acted: Action = "nothing"
        newest = now - delay
        if newest >= learner.first and now < total - 1:
            world.evidence.append(_evidence(learner, world, policy, newest, now, price))
            decision = decide(model, world.evidence, policy)
            verdict, acted = _act(learner, world, decision, limits, newest, now)
        steps.append(
            Step(
                learner.periods[now],
                live.training,
                learner.rows[now],
                loss,
                decision,
                verdict,
                acted,
            )
        )
    return Replay(label or policy.name, price, tuple(steps), world.made - 1)


def _evidence(
    learner: Learner, world: _World, policy: RetrainPolicy, newest: int, now: int, price: float
) -> PeriodEvidence:
    """What is known of the newest labelled period, when period `now` has been served."""
    served = world.serving(newest)
    found = learner.report(served.training, newest)
    # A version that serves again goes on counting, as the reports in operation do.
    periods = 1 + sum(before.version == served.name for before in world.evidence)
    worse = False
    flagged = found.harmed or found.decay_periods > 0
    if flagged and len(world.served) > 1 and periods <= policy.rollback_periods:
        before = world.served[max(world.served.index(served) - 1, 0)]
        worse = learner.worse(served.training, before.training, newest)
    worth = None
    if policy.name == "benefit":
        worth = _worth(learner, world, newest, now, price, found)
    return PeriodEvidence(
        period=learner.periods[newest],
        version=served.name,
        drift_judged=found.drift_judged,
        drift_flagged=found.drift_flagged,
        drift_alert=bool(found.drift_flagged),
        performance_judged=found.performance_judged,
        harmed=found.harmed,
        loss=found.loss,
        reference_loss=found.reference_loss,
        accuracy=found.accuracy,
        previous_is_better=worse,
        periods_since_release=periods,
        decay_periods=found.decay_periods,
        harmed_part=found.harmed_part,
        plan=worth,
    )


def _worth(
    learner: Learner, world: _World, newest: int, now: int, price: float, found: Reported
) -> Plan | None:
    """What a retrain is worth, as operation would estimate it: from judged periods only."""
    labelled = newest + 1
    judged = {one.period for one in world.evidence if one.performance_judged}
    if found.performance_judged:
        judged.add(learner.periods[newest])
    versions = [
        Version(
            name=one.name,
            end=one.training.end,
            window=one.training.window,
            rows=learner.training_rows(one.training),
            losses={
                period: learner.loss(one.training, period)
                for period in range(one.since, min(labelled, _until(world, place)))
                if learner.periods[period] in judged
            },
        )
        for place, one in enumerate(world.served)
    ]
    history = History(world.scouts.upto(labelled), learner.rows[: now + 1], versions)
    expected = outlook(history, holdout=learner.holdout, abrupt=found.harmed)
    if expected is None:
        return None
    return plan(expected, price=price, periods=now + 1, harmed=found.harmed)


def _until(world: _World, place: int) -> int:
    """The first period that neither a version nor the one after it serves.

    A version that was replaced is scored beside its successor, as operation does.
    """
    later = world.served[place + 2 :]
    return later[0].since if later else 10**9


def _act(
    learner: Learner, world: _World, decision: Decision, limits: Limits, newest: int, now: int
) -> tuple[str, Action]:
    """Let the governor judge, and do what is left to do."""
    at = learner.times[newest]
    situation = Situation(
        champion=world.live.name,
        newest_period=decision.period,
        now=at,
        handled=frozenset(world.handled),
    )
    verdict = govern(decision, world.evidence, world.past, limits, situation)
    if verdict.action != "start":
        return verdict.reason, "nothing"
    world.handled.add(decision.id)
    if decision.action == "rollback":
        if not world.roll_back(now + 1):
            return "there is no version before this one that was not taken back", "nothing"
        return verdict.reason, "rollback"
    world.made += 1
    challenger = Training(max(newest + 1 - learner.holdout, 1), decision.window)
    refused = learner.refusal(challenger, world.live.training)
    name = str(world.made)
    world.past.append(
        PastRetrain(
            decision=decision.id,
            period=decision.period,
            at=at,
            cause=Cause.of(world.evidence[-1]),
            outcome="refused" if refused else "serves",
            challenger=name,
        )
    )
    if refused:
        return f"{verdict.reason}; the gates refused version {name}: {refused}", "retrain"
    world.served.append(_Served(name, challenger, now + 1))
    return verdict.reason, "retrain"


def evenly(start: datetime, every: timedelta, count: int) -> tuple[datetime, ...]:
    """Times of `count` periods, for histories that have none."""
    return tuple(start + every * place for place in range(count))
