"""`mlops token`: the bearer token of the HTTP endpoint."""

from pathlib import Path

import click

from mlops_assets.settings import Settings
from mlops_assets.stores.tokens import rotate


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
def token(file: Path | None) -> None:
    """Put a new token into FILE, by default that of MLOPS_SERVE_TOKEN_FILE, and print it.

    The token before it stays valid until the next rotation, so clients can change over one by
    one; a running endpoint reads the file again within a second. The file is made with mode 0600.
    """
    settings = Settings.load()
    path = file or settings.serve_token_file or settings.home / "token"
    fresh = rotate(path)
    click.echo(fresh)
    if settings.serve_token_file != path:
        click.echo(f"export MLOPS_SERVE_TOKEN_FILE={path.resolve()}", err=True)
