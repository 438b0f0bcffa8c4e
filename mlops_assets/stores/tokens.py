"""Bearer tokens in a file that only its owner reads: one, or two while clients change over."""

import os
import secrets
from pathlib import Path

from mlops_assets.domain.errors import MlopsError
from mlops_assets.stores.files import write_atomically

MAX_TOKENS = 2
MIN_LENGTH = 16


class TokenError(MlopsError):
    """The token file cannot be used as it is."""


def read_tokens(path: Path) -> tuple[str, ...]:
    """The valid tokens, the newest first; lines that are empty or start with # are no tokens.

    Raises TokenError when the file is missing, others than its owner can read it, or it holds no
    token, more than two, or one of less than 16 characters.
    """
    try:
        # The mode of the very file that is read, not of what the path names a moment later.
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            lines = file.read().decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise TokenError(f"The token file {path} cannot be read: {reason}.") from error
    if mode & 0o077:
        raise TokenError(
            f"The token file {path} has mode {mode:04o}, so others can read it: "
            f"chmod 600 {path}, and put a new token in it."
        )
    tokens = tuple(line.strip() for line in lines if line.strip() and line[0] != "#")
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise TokenError(
            f"The token file {path} holds {len(tokens)} tokens: write one, or two while clients "
            "change over, one per line."
        )
    for number, token in enumerate(tokens, start=1):
        if len(token) < MIN_LENGTH or not token.isascii() or " " in token:
            raise TokenError(
                f"Token {number} of {path} has {len(token)} characters: use at least {MIN_LENGTH} "
                "of ASCII without spaces; `mlops token` makes one."
            )
    return tokens


def client_token(path: Path | None) -> str:
    """The token that a client on this machine sends: the newest; empty where none is needed."""
    return read_tokens(path)[0] if path is not None else ""


def rotate(path: Path) -> str:
    """Put a new token in front and keep the newest of the old ones valid; returns the new one."""
    old = read_tokens(path)[:1] if path.exists() else ()
    token = secrets.token_urlsafe(32)
    # mkstemp inside makes the file with mode 0600, and the rename keeps it.
    write_atomically(path, ("\n".join((token, *old)) + "\n").encode())
    return token
