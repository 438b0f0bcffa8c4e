"""What each policy would have done on the model's own history: policy_backtest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.options import key, options
from mlops_assets.resources import Stores
from mlops_assets.spec import Model

if TYPE_CHECKING:
    from mlops_assets.domain.evidence import RetrainPolicy
    from mlops_assets.domain.policy_comparison import PolicyComparison

NAME = "policy_backtest"


@dataclass(frozen=True)
class Question:
    """What to compare: `policies` (empty: all), `periods` (empty: all that the lake has).

    `price` None is the spec's, or else its default; `delay` None follows `monitoring.wait`.
    """

    policies: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()
    price: float | None = None
    delay: int | None = None
    shuffles: int = 1


@dataclass(frozen=True)
class Answer:
    """The comparison, where it was drawn, and how many versions it had to train."""

    comparison: "PolicyComparison"
    trained: int
    cached: int
    page: Path
    picture: Path


def backtest(
    model: Model, stores: Stores, question: Question, say: Callable[[str], None]
) -> Answer:
    """Replay the policies and draw what came out. Raises MlopsError where that cannot be done."""
    from mlops_assets.domain.hindsight import trainings
    from mlops_assets.domain.policy_comparison import compare_policies
    from mlops_assets.reports.backtest import backtest_html, backtest_png
    from mlops_assets.stores.backtest_cache import BacktestCache
    from mlops_assets.stores.backtest_history import read_past
    from mlops_assets.stores.backtest_learner import PastLearner
    from mlops_assets.stores.files import write_atomically

    policies = _policies(model, question.policies or _all())
    lake, root = stores.lake, Path(stores.backtests_root)
    past = read_past(model, lake, question.periods or lake.periods(model.name, "features"))
    delay = model.label_delay if question.delay is None else question.delay
    cache = BacktestCache.of(root, model, past.content)
    learner = PastLearner(model, past, cache, delay=delay, say=say)
    needed = trainings(learner, delay)
    for count, training in enumerate(needed, 1):
        say(f"version {count} of {len(needed)}")
        learner.scored(training)
    quiet = []
    for seed in range(question.shuffles):
        rows = past.shuffled(seed)
        cache = BacktestCache.of(root, model, rows.content)
        quiet.append(PastLearner(model, rows, cache, delay=delay, say=say, trial=learner.trial))
    found = compare_policies(
        learner,
        quiet,
        policies,
        model.spec.retraining.limits,
        price=_price(model, learner.default_price, question.price),
        delay=delay,
        model=model.name,
        say=say,
    )
    folder, title = Path(stores.reports_root) / model.name, f"{model.name}: policies on its past"
    write_atomically(folder / "backtest.png", backtest_png(found, title))
    write_atomically(folder / "backtest.html", backtest_html(found, title).encode())
    learners = (learner, *quiet)
    return Answer(
        found,
        trained=sum(one.trained for one in learners),
        cached=sum(one.cached for one in learners),
        page=folder / "backtest.html",
        picture=folder / "backtest.png",
    )


def _policies(model: Model, names: Sequence[str]) -> dict[str, "RetrainPolicy"]:
    """The named policies, each with the cooldown that the spec would give it."""
    from mlops_assets.assets.decision import retrain_policy
    from mlops_assets.domain.policy_comparison import named_policy

    found = {name: named_policy(name, retrain_policy(model)) for name in names}
    rules = model.spec.retraining
    return {
        name: replace(
            policy, cooldown=rules.model_copy(update={"policy": policy.name}).cooldown_periods
        )
        for name, policy in found.items()
    }


def policy_backtest(model: Model) -> dg.AssetsDefinition:
    """The asset of the policies' comparison on all of the lake's history."""

    @dg.asset(
        **options(
            model, NAME, group="monitoring", kinds={"scikitlearn", "matplotlib"}, per_period=False
        ),
        description="What each retraining policy would have done on the model's own history, by "
        "the code that decides in operation: retrains, alerts, loss, cost, and its value against "
        "the best dates in hindsight. In no schedule: run it before you change the policy or the "
        "price of a retrain.",
        deps=[dg.AssetDep(key(model, "features"), partition_mapping=dg.AllPartitionMapping())],
    )
    def _policy_backtest(context: dg.AssetExecutionContext, stores: Stores) -> Any:
        from mlops_assets.assets.tables import records_table
        from mlops_assets.domain.errors import MlopsError
        from mlops_assets.reports import backtest as pages
        from mlops_assets.reports.canvas import markdown_image

        try:
            answer = backtest(model, stores, Question(), context.log.info)
        except MlopsError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        found = answer.comparison
        return dg.MaterializeResult(
            metadata={
                "policies": records_table(
                    _records(pages.POLICY_HEADINGS, pages.policy_rows(found))
                ),
                "prices": records_table(
                    _records(pages.price_headings(found), pages.price_rows(found))
                ),
                "price": found.price,
                "tie_price": found.tie_price,
                "delay": found.delay,
                "periods": len(found.periods),
                "trained": answer.trained,
                "report": dg.MetadataValue.path(str(answer.page)),
                "picture": dg.MetadataValue.md(
                    markdown_image(answer.picture.read_bytes(), "policy backtest")
                ),
            }
        )

    return _policy_backtest


def _records(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _all() -> tuple[str, ...]:
    from mlops_assets.domain.policies import POLICIES

    return tuple(POLICIES)


def _price(model: Model, default: float, asked: float | None) -> float:
    """The price that was asked for, else the spec's, else the default."""
    if asked is not None:
        return asked
    told = model.spec.retraining.price
    return default if told is None else told
