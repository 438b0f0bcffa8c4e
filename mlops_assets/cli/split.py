"""`mlops split` and `mlops shadow`: who answers beside the champion, and who watches."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.domain.plan import ServingPlan


@click.command()
@click.argument("model")
@click.argument("shares", nargs=-1, metavar="[VARIANT=PERCENT]...")
@click.option("--off", is_flag=True, help="Give the champion everything.")
@click.option("--force", is_flag=True, help="Also a version that has not passed its gates.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def split(model: str, shares: tuple[str, ...], off: bool, force: bool, as_json: bool) -> None:
    """Share the traffic of MODEL, as `mlops split MODEL champion=90 challenger=10`.

    Variants are aliases or version numbers, which keep the version that they mean now. A subject
    (entity key) always meets the same variant. The next release ends the split. Without shares
    this shows what is in force.
    """
    from mlops_assets.cli.models import registry_errors
    from mlops_assets.cli.release import actor, open_releases
    from mlops_assets.domain.split import split_of_words
    from mlops_assets.stores.splits import Splits

    if off and shares:
        raise click.UsageError("give shares, or --off, not both")
    asked = split_of_words(shares)
    splits = Splits(open_releases(Settings.load(), model))
    with registry_errors():
        if off or shares:
            plan = splits.split(model, asked, actor=actor(), force=force)
        else:
            plan = splits.plan(model)
    _show(model, plan, as_json)


@click.command()
@click.argument("model")
@click.argument("version", required=False)
@click.option("--off", is_flag=True, help="Nobody watches.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def shadow(model: str, version: str | None, off: bool, as_json: bool) -> None:
    """Let VERSION (or an alias, as `challenger`) of MODEL score a copy of the traffic.

    Its predictions are logged as `shadow`, and answer nobody. An alias is followed wherever it
    moves. Without VERSION this shows what is in force.
    """
    from mlops_assets.cli.models import registry_errors
    from mlops_assets.cli.release import open_releases
    from mlops_assets.stores.splits import Splits

    if off and version:
        raise click.UsageError("give a version, or --off, not both")
    splits = Splits(open_releases(Settings.load(), model))
    with registry_errors():
        plan = splits.shadow(model, version or "") if off or version else splits.plan(model)
    _show(model, plan, as_json)


def _show(model: str, plan: "ServingPlan", as_json: bool) -> None:
    if as_json:
        content = {"model": model, **asdict(plan), "quarantined": sorted(plan.quarantined)}
        click.echo(json.dumps(content))
        return
    click.echo(f"{model}: {traffic(plan)}")
    for problem in plan.problems:
        click.echo(f"  {problem}")


def traffic(plan: "ServingPlan") -> str:
    """Who answers and who watches, in words."""
    rest = 100 - sum(one.weight for one in plan.split)
    words = [f"champion (version {plan.champion.version}) {rest:g}%"]
    words += [f"{one.variant} (version {one.version}) {one.weight:g}%" for one in plan.split]
    watching = f"; version {plan.shadow} watches" if plan.shadow else ""
    return ", ".join(words) + watching
