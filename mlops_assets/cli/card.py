"""`mlops card`: the model card and the data sheet of a version, as of now."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.assets.card_pages import Pages
    from mlops_assets.domain.card import Notes


@click.command()
@click.argument("model")
@click.option("--version", metavar="N", help="Another version than the champion.")
@click.option("--data-sheet", "sheet", is_flag=True, help="The data sheet in place of the card.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this file, by its name as HTML (.html) or as Markdown (.md).",
)
def card(model: str, version: str | None, sheet: bool, out: Path | None) -> None:
    """Print the card of MODEL's champion (of its newest version if there is none) as Markdown.

    It is made anew from the version's facts, what defs.yaml says today, and all reports.
    """
    from mlops_assets.assets.card_pages import CARD, SHEET
    from mlops_assets.stores.files import write_atomically

    if out is not None and out.suffix not in (".md", ".html"):
        raise click.BadParameter(f"{out.name}: name a .md or an .html file", param_hint="--out")
    pages, name = _pages(Settings.load(), model, version), SHEET if sheet else CARD
    if out is None:
        click.echo(pages.markdown(name), nl=False)
        return
    text = pages.html(name) if out.suffix == ".html" else pages.markdown(name)
    write_atomically(out, text.encode())
    click.echo(f"Wrote {out}: {pages.documents[name].title}")


def _pages(settings: Settings, model: str, version: str | None) -> "Pages":
    from mlops_assets.assets.card_pages import pages_of
    from mlops_assets.cli.models import model_names
    from mlops_assets.domain.errors import ReleaseError, SpecError
    from mlops_assets.stores.cards import Cards
    from mlops_assets.stores.lake import Lake

    lake = Lake(settings.lake_root)
    cards = Cards(lake)
    made = cards.versions(model)
    if not made and model not in model_names(settings):
        there = ", ".join(model_names(settings)) or f"none in {settings.models_dir}"
        raise SpecError(f"there is no model {model!r}; models: {there}.")
    if not made and version is None:
        raise ReleaseError(f"{model} has no version yet: train one, and it has a card.")
    chosen = version or _champion(settings, model) or made[-1]
    return pages_of(lake, model, chosen, _notes(settings, model))


def _champion(settings: Settings, model: str) -> str:
    """The version that the alias points to, however it came to be so; empty if none."""
    from mlops_assets.cli.models import open_registry, registry_errors
    from mlops_assets.stores.registry import CHAMPION

    registry = open_registry(settings)
    if registry is None:
        return ""
    with registry_errors():
        return registry.aliases(model).get(CHAMPION, "")


def _notes(settings: Settings, model: str) -> "Notes | None":
    """What defs.yaml says today; None where it is gone or broken: the version has its own."""
    from mlops_assets.assets.card_facts import notes_of
    from mlops_assets.cli.located import read_spec_file
    from mlops_assets.stores.model_folders import model_folders

    folder = model_folders(settings.models_dir).get(model)
    found = read_spec_file(model, folder, ask_source=False).model if folder else None
    return notes_of(found.spec) if found else None
