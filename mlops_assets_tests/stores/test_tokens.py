import stat
from pathlib import Path

import pytest

from mlops_assets.stores.tokens import TokenError, client_token, read_tokens, rotate

OLD, NEW = "old-0123456789abcdef", "new-0123456789abcdef"


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "tokens"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (NEW, (NEW,)),
        (f"{NEW}\n", (NEW,)),
        (f"# ours\n\n  {NEW} \r\n{OLD}\n\n", (NEW, OLD)),
    ],
)
def test_one_or_two_tokens_are_read_the_newest_first(
    tmp_path: Path, text: str, tokens: tuple[str, ...]
):
    assert read_tokens(write(tmp_path, text)) == tokens


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds 0 tokens"),
        ("# nothing\n", "holds 0 tokens"),
        (f"{NEW}\n{OLD}\n{OLD}x\n", "holds 3 tokens"),
        ("short-012345678", "Token 1 of .* has 15 characters"),
        (f"{NEW}\nshort\n", "Token 2 of .* has 5 characters"),
        ("two words 0123456789", "without spaces"),
        ("pässword-0123456789", "ASCII"),
        (b"\xff" * 20, "not UTF-8"),
    ],
)
def test_a_file_without_usable_tokens_is_refused_and_not_shown(
    tmp_path: Path, text: str | bytes, why: str
):
    with pytest.raises(TokenError, match=why) as caught:
        read_tokens(write(tmp_path, text))
    for token in (NEW, OLD, "short", "words", "ssword"):
        assert token not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_a_file_that_others_can_use_is_refused_with_its_mode(tmp_path: Path, mode: int):
    with pytest.raises(TokenError, match=rf"mode {mode:04o}.*chmod 600"):
        read_tokens(write(tmp_path, NEW, mode))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int):
    assert read_tokens(write(tmp_path, NEW, mode)) == (NEW,)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(TokenError, match="cannot be read"):
            read_tokens(path)


def test_a_rotation_keeps_the_newest_of_the_old_tokens(tmp_path: Path):
    path = tmp_path / "new folder" / "tokens"
    made = [rotate(path) for _ in range(3)]
    assert len(set(made)) == 3
    assert read_tokens(path) == (made[2], made[1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rotation_leaves_a_file_that_it_does_not_understand_alone(tmp_path: Path):
    path = write(tmp_path, "short")
    with pytest.raises(TokenError):
        rotate(path)
    assert path.read_text() == "short"


def test_a_client_sends_the_newest_token_or_none(tmp_path: Path):
    assert client_token(None) == ""
    assert client_token(write(tmp_path, f"{NEW}\n{OLD}\n")) == NEW
