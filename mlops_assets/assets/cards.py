"""What people read of a model: model_card."""

from typing import Any

import dagster as dg

from mlops_assets.assets.options import key, options
from mlops_assets.resources import Stores
from mlops_assets.spec import Model


def model_card(model: Model) -> dg.AssetsDefinition:
    """The asset of the champion's card and data sheet."""

    @dg.asset(
        **options(model, "model_card", group="release", kinds={"mlflow"}, per_period=False),
        description="The model card (Mitchell et al. 2019) and the data sheet (Gebru et al. 2018) "
        "of the champion, made anew with each release and each report. Every version has its own, "
        "as Markdown and HTML in `card/` of its MLflow run; `mlops card` prints them.",
        deps=[
            key(model, "champion"),
            key(model, "drift_report"),
            key(model, "performance_report"),
        ],
    )
    def _model_card(context: dg.AssetExecutionContext, stores: Stores) -> Any:
        from mlops_assets.assets.card_pages import CARD, SHEET, refresh

        made = refresh(model, stores)
        about: dict[str, Any] = {"refreshed": list(made.versions)}
        if made.problems:
            about["not_refreshed"] = "; ".join(made.problems)
            context.log.warning(about["not_refreshed"])
        pages = made.champion
        if pages is None:
            reason = "no version with a card was released"
            return dg.MaterializeResult(metadata={"reason": reason, **about})
        facts = pages.kept.facts
        return dg.MaterializeResult(
            metadata={
                "version": facts.version,
                "model_card": dg.MetadataValue.md(pages.markdown(CARD)),
                "data_sheet": dg.MetadataValue.md(pages.markdown(SHEET)),
                "pages": f"{pages.kept.artifacts}/card",
                **about,
            },
        )

    return _model_card
