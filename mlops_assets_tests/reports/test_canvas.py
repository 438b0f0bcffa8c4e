import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlops_assets.reports.canvas import BLUE, blank, data_uri, markdown_image, plain, png
from mlops_assets_tests.reports.pictures import assert_has_content, pixels


def drawn(text: str) -> bytes:
    figure, axes = blank(text)
    axes.plot([1, 2, 3], color=BLUE)
    axes.set_xlabel(plain(text))
    return png(figure)


@pytest.mark.parametrize(
    "text", ["$x^{$", "a $b$ c", "{\\frac", "日本 \U0001f9a9", "a\nb\tc\x00", "", "x" * 10_000]
)
def test_no_text_breaks_a_picture(text: str):
    assert_has_content(drawn(text))


def test_dollars_are_shown_as_they_are():
    assert plain("$5 to $6") == r"\$5 to \$6"
    assert (pixels(drawn("$a$")) != pixels(drawn("a"))).any()


def test_long_text_is_cut_with_an_ellipsis():
    assert plain("x" * 50, 10) == "x" * 9 + "…"
    assert plain("x" * 10, 10) == "x" * 10


def test_threads_draw_the_same_picture_as_one_thread():
    alone = drawn("loss")
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(drawn, ["loss"] * 8)) == {alone}


def test_a_markdown_image_holds_the_picture_and_harmless_words():
    picture = drawn("loss")
    text = markdown_image(picture, 'a](javascript:alert(1)) <img onerror="x">')
    words, address = text.removeprefix("![").split("](")
    assert not set("<>[]") & set(words)
    assert base64.b64decode(address.removesuffix(")").split(",")[1]) == picture
    assert address.removesuffix(")") == data_uri(picture)
