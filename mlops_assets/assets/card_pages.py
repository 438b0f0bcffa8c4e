"""The pages of a version's card: made of its facts, what people say today, and its reports."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_assets.assets.card_facts import notes_of
from mlops_assets.domain.card import Notes, Since, VersionFacts
from mlops_assets.domain.card_text import metric_name
from mlops_assets.domain.data_sheet import data_sheet
from mlops_assets.domain.document import Document, markdown
from mlops_assets.domain.errors import DataError, ReleaseError
from mlops_assets.domain.model_card import model_card
from mlops_assets.reports import plots
from mlops_assets.reports.document_page import document_page
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores.cards import Cards, KeptCard, publish
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.training_rows import Rows

CARD, SHEET = "model_card", "data_sheet"
ALTS = {
    "confusion_matrix": "Predicted against true classes; the table above has the shares",
    "roc": "ROC curve on the holdout; its area is in the table above",
    "predicted_against_actual": "Predicted against actual values on the holdout",
    "residuals": "Errors over predictions on the holdout",
    "calibration": "Predicted probability against how often it came true",
    "importance": "Importance of each input, as in the table above",
}


@dataclass(frozen=True)
class Pages:
    """A card as documents, with what its pictures show."""

    kept: KeptCard
    documents: dict[str, Document]

    def markdown(self, name: str) -> str:
        """The card or the sheet as Markdown."""
        return markdown(self.documents[name])

    def html(self, name: str) -> str:
        """The card or the sheet as a page of its own."""
        return document_page(self.documents[name], self.kept.pictures)

    def files(self) -> dict[str, str]:
        """All pages by file name."""
        found = {}
        for name in self.documents:
            found[f"{name}.md"] = self.markdown(name)
            found[f"{name}.html"] = self.html(name)
        return found


def pages_of(lake: Lake, name: str, version: str, notes: Notes | None) -> Pages:
    """The pages of a version as of now; `notes` None: what people said when it was trained.

    Raises ReleaseError for a version that has no card.
    """
    cards = Cards(lake)
    kept = cards.of(name, version)
    if kept is None:
        there = ", ".join(cards.versions(name)) or "none"
        raise ReleaseError(
            f"version {version} of {name} has no card (versions with one: {there}): it was made "
            "by an older release of this software, or its training was killed; train a new one."
        )
    return _pages(kept, notes or kept.facts.notes, cards.since(name, version))


def first_card(
    stores: Stores, facts: VersionFacts, pictures: dict[str, bytes], run_id: str, artifacts: str
) -> None:
    """Keep the facts of a new version, and put its pages beside its run."""
    kept = KeptCard(facts, pictures, run_id, artifacts)
    Cards(stores.lake).keep(kept)
    publish(stores.mlflow_uri, kept, _pages(kept, facts.notes, Since()).files())


@dataclass(frozen=True)
class Refreshed:
    """The champion's pages, which versions' pages were made anew, and why others were not."""

    champion: Pages | None
    versions: tuple[str, ...]
    problems: tuple[str, ...]


def refresh(model: Model, stores: Stores, also: Collection[str] = ()) -> Refreshed:
    """Make the pages anew of the versions that the newest reports are about, and the champion's.

    And of those in `also`. A card that an older release of this software kept otherwise is told,
    and stays as it is.
    """
    cards = Cards(stores.lake)
    champion = cards.champion(model.name)
    wanted = {*cards.reported(model.name, model.spec.monitoring.restate + 1), champion, *also}
    found: dict[str, Pages] = {}
    problems = []
    for version in cards.versions(model.name):
        if version not in wanted:
            continue
        try:
            pages = pages_of(stores.lake, model.name, version, notes_of(model.spec))
            publish(stores.mlflow_uri, pages.kept, pages.files())
        except DataError as error:
            problems.append(str(error))
            continue
        found[version] = pages
    return Refreshed(found.get(champion), tuple(found), tuple(problems))


def figures_of(holdout: Rows, outputs: np.ndarray, facts: VersionFacts) -> dict[str, Any]:
    """The pictures of a version, as matplotlib Figures; ALTS says what they show."""
    y, classes = holdout.y, holdout.classes
    loss = metric_name(facts.loss_name)
    if facts.task == "regression":
        found = {
            "predicted_against_actual": plots.predicted_against_actual(y, outputs[:, 0]),
            "residuals": plots.residuals(y, outputs[:, 0]),
        }
    else:
        found = {
            "confusion_matrix": plots.confusion_matrix(y, outputs.argmax(axis=1), classes),
            "roc": plots.roc_curves(y, outputs, classes),
            "calibration": plots.calibration(y, outputs, classes),
        }
    return {**found, "importance": plots.importance(facts.importances, loss)}


def _pages(kept: KeptCard, notes: Notes, since: Since) -> Pages:
    known = {name: ALTS.get(name, name) for name in kept.pictures}
    return Pages(
        kept,
        {
            CARD: model_card(kept.facts, notes, since, known),
            SHEET: data_sheet(kept.facts, notes),
        },
    )
