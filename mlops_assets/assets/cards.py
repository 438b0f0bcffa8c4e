"""What people read of a model: model_card."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.options import key, options
from mlops_assets.resources import Stores
from mlops_assets.spec import Model

if TYPE_CHECKING:
    from mlops_assets.assets.card_pages import Refreshed


def model_card(model: Model) -> dg.AssetsDefinition:
    """The asset of the champion's card and data sheet."""

    @dg.asset(
        **options(model, "model_card", group="release", kinds={"mlflow"}, per_period=False),
        description="The model card (Mitchell et al. 2019) and the data sheet (Gebru et al. 2018) "
        "of the champion, made anew with each release, rollback and report. Every version has its "
        "own, as Markdown and HTML in `card/` of its MLflow run; `mlops card` prints them.",
        deps=[
            key(model, "champion"),
            key(model, "drift_report"),
            key(model, "performance_report"),
        ],
    )
    def _model_card(context: dg.AssetExecutionContext, stores: Stores) -> Any:
        from mlops_assets.assets.card_pages import refresh

        made = refresh(model, stores)
        for problem in made.problems:
            context.log.warning(problem)
        return dg.MaterializeResult(metadata=shown(made))

    return _model_card


def shown(made: "Refreshed") -> dict[str, Any]:
    """What Dagster shows of cards that were made anew."""
    from mlops_assets.assets.card_pages import CARD, SHEET

    about: dict[str, Any] = {"refreshed": list(made.versions)}
    if made.problems:
        about["not_refreshed"] = "; ".join(made.problems)
    pages = made.champion
    if pages is None:
        return {"reason": "no version with a card was released", **about}
    return {
        "version": pages.kept.facts.version,
        "model_card": dg.MetadataValue.md(pages.markdown(CARD)),
        "data_sheet": dg.MetadataValue.md(pages.markdown(SHEET)),
        "pages": f"{pages.kept.artifacts}/card",
        **about,
    }


def moved(
    model: Model, stores: Stores, versions: Collection[str]
) -> tuple[dg.AssetMaterialization | None, tuple[str, ...]]:
    """Make the cards anew of `versions`, which came to serve or no longer do.

    What is to be told to Dagster, None where no version has a card, and what went wrong.
    """
    from mlops_assets.stores.cards import Cards

    if not Cards(stores.lake).versions(model.name):
        return None, ()
    from mlops_assets.assets.card_pages import refresh

    made = refresh(model, stores, versions)
    event = dg.AssetMaterialization(key(model, "model_card"), metadata=shown(made))
    return event, made.problems
