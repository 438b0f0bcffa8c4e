import hmac
import logging
from pathlib import Path

import pytest

from mlops_assets.stores.tokens import TokenError, read_tokens, rotate
from serving import auth
from serving.auth import Tokens

FIRST, SECOND = "first-0123456789", "second-0123456789"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(auth, "LOOK_SECONDS", 0.0)
    return write(tmp_path / "tokens", FIRST, SECOND)


def write(path: Path, *tokens: str, mode: int = 0o600) -> Path:
    """A new file in place of the old one, as editors and `mlops token` leave it."""
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(tokens))
    fresh.chmod(mode)
    fresh.replace(path)
    return path


def test_without_a_file_everybody_may_ask():
    assert not Tokens(None).are_needed
    assert Tokens(None).admit("")


def test_either_token_opens_the_door_and_nothing_else(path: Path):
    tokens = Tokens(path)
    assert tokens.are_needed
    assert tokens.admit(f"Bearer {FIRST}")
    assert tokens.admit(f"Bearer {SECOND}")
    for sent in (
        "",
        "Bearer ",
        FIRST,
        f"bearer {FIRST}",
        f"Bearer {FIRST} ",
        f"Bearer {FIRST[:-1]}",
        f"Bearer {FIRST}x",
        f"Bearer {FIRST}\n{SECOND}",
        f"Basic {FIRST}",
        "Bearer \udcff",
        "Bearer é",
    ):
        assert not tokens.admit(sent)


def test_every_token_is_compared_in_constant_time_whichever_fits(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    compared: list[bytes] = []

    def compare(sent: bytes, valid: bytes) -> bool:
        compared.append(valid)
        return real(sent, valid)

    real = hmac.compare_digest
    tokens = Tokens(path)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    both = [f"Bearer {FIRST}".encode(), f"Bearer {SECOND}".encode()]
    for sent in (FIRST, SECOND, "neither"):
        compared.clear()
        tokens.admit(f"Bearer {sent}")
        assert compared == both


def test_a_rotation_takes_effect_and_takes_the_oldest_token_out(path: Path):
    tokens = Tokens(path)
    fresh = rotate(path)
    assert tokens.admit(f"Bearer {fresh}")
    assert tokens.admit(f"Bearer {FIRST}")
    assert not tokens.admit(f"Bearer {SECOND}")


def break_it(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "open to all":
        write(path, "another-0123456789", mode=0o644)
    else:
        write(path, "short" if how == "too short" else "")


@pytest.mark.parametrize("how", ["gone", "open to all", "too short", "empty"])
def test_a_file_that_breaks_leaves_the_last_good_tokens_and_one_error(
    path: Path, caplog: pytest.LogCaptureFixture, how: str
):
    tokens = Tokens(path)
    break_it(path, how)
    with caplog.at_level(logging.ERROR):
        assert [tokens.admit(f"Bearer {FIRST}") for _ in range(3)] == [True] * 3
    assert not tokens.admit("Bearer another-0123456789")
    assert not tokens.admit("Bearer short")
    assert len(caplog.records) == 1
    assert "read before stay valid" in caplog.text
    assert not any(secret in caplog.text for secret in (FIRST, SECOND, "another", "short-"))
    write(path, SECOND)
    assert [tokens.admit(f"Bearer {one}") for one in (FIRST, SECOND)] == [False, True]


@pytest.mark.parametrize("how", ["gone", "open to all", "too short", "empty"])
def test_a_file_that_is_broken_at_the_start_is_an_error(path: Path, how: str):
    break_it(path, how)
    with pytest.raises(TokenError):
        Tokens(path)


def test_a_file_is_looked_at_once_a_second_at_most(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(auth, "LOOK_SECONDS", 60.0)
    tokens = Tokens(path)
    assert tokens.admit(f"Bearer {FIRST}")
    rotate(path)
    assert not tokens.admit(f"Bearer {read_tokens(path)[0]}")
