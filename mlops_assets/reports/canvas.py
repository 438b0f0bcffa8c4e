"""The paper that every picture is drawn on: size, colours, text and encoding.

Figures are made with matplotlib's object interface, so that threads can draw at once: there is
no current figure, no backend to choose and nothing to close. Colours are those of Okabe and Ito
(2008), which people with any common colour vision can tell apart.
"""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#F0E442", "#222222"
GREY, PALE = "#8A8F98", "#E6E8EB"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)


def blank(title: str, width: float = 6.4, height: float = 4.4) -> tuple[Any, Any]:
    """A new matplotlib Figure of `width` x `height` inches and its one, styled Axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    entitle(figure, title)
    axes = figure.add_subplot()
    style(axes)
    return figure, axes


def entitle(figure: Any, title: str) -> None:
    """Put the title at the figure's left edge, and air around everything."""
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    figure.suptitle(plain(title, 90), x=0.015, ha="left", fontsize=12, fontweight="bold")


def style(axes: Any) -> None:
    """Quiet axes: no box, a pale grid behind the data, small grey ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=BLACK, labelsize=9, length=3, color=GREY)
    axes.grid(True, color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_fontsize(10)
    axes.yaxis.label.set_fontsize(10)


def nothing(axes: Any, message: str) -> None:
    """Say on empty axes why there is nothing to see."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", color=GREY, transform=axes.transAxes)


def release_marks(
    axes: Any, periods: Sequence[str], releases: Mapping[str, str], named: bool = True
) -> None:
    """A vertical line, `named` by the version, where another version began to serve."""
    for place, period in enumerate(periods):
        if period not in releases:
            continue
        axes.axvline(place - 0.5, color=BLACK, linewidth=1, alpha=0.55)
        if not named:
            continue
        axes.annotate(
            f"v{plain(releases[period], 8)}",
            (place - 0.5, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=BLACK,
        )


def period_ticks(axes: Any, periods: Sequence[str]) -> None:
    """As many period names below the axes as can be read."""
    step = max(1, math.ceil(len(periods) / 12))
    places = range(0, len(periods), step)
    turned = len(periods) > 6
    axes.set_xticks(
        places,
        [plain(periods[place], 16) for place in places],
        rotation=30 if turned else 0,
        ha="right" if turned else "center",
    )
    axes.set_xlim(-0.6, max(len(periods) - 0.4, 0.6))
    axes.grid(True, axis="y", color=PALE)
    axes.grid(False, axis="x")


def plain(text: str, limit: int = 28) -> str:
    """Text from users as the font can show it: no mathematics, no line breaks, not too long."""
    line = " ".join(str(text).split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    known = _characters()
    return "".join(c if ord(c) in known else "�" for c in line).replace("$", r"\$")


@cache
def _characters() -> frozenset[int]:
    """What the default font can draw; anything else would warn at each picture."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return frozenset(font.get_charmap())


def png(figure: Any, dpi: int = 110) -> bytes:
    """Encode a matplotlib Figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """A PNG as an address that needs no file and no network."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def markdown_image(picture: bytes, alt: str) -> str:
    """A PNG as Markdown, for Dagster metadata; `alt` is made harmless first."""
    words = " ".join(alt.split()).translate({ord(c): None for c in "[]\\`"})
    return f"![{html.escape(words)}]({data_uri(picture)})"
