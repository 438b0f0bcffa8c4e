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

        pages, versions = refresh(model, stores)
        if pages is None:
            return dg.MaterializeResult(
                metadata={"reason": "no version with a card was released", "refreshed": versions}
            )
        facts = pages.kept.facts
        return dg.MaterializeResult(
            metadata={
                "version": facts.version,
                "model_card": dg.MetadataValue.md(pages.markdown(CARD)),
                "data_sheet": dg.MetadataValue.md(pages.markdown(SHEET)),
                "pages": f"{pages.kept.artifacts}/card",
                "refreshed": versions,
            },
        )

    return _model_card
