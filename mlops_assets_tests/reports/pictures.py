"""What the picture tests share."""

import io

import numpy as np
from PIL import Image

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def pixels(picture: bytes) -> np.ndarray:
    """Decode a PNG to (height, width, 3)."""
    assert picture.startswith(PNG_HEAD)
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        return np.asarray(image.convert("RGB"))


def share_of(picture: bytes, colour: str) -> float:
    """Share of the pixels that have exactly this colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float((pixels(picture) == wanted).all(axis=-1).mean())


def assert_has_content(picture: bytes) -> None:
    """Ink on at least 0.1% of the picture (a line of text), and more than a few colours."""
    colours = pixels(picture).astype(np.int64) @ [1 << 16, 1 << 8, 1]
    assert (colours != 0xFFFFFF).mean() > 0.001
    assert len(np.unique(colours)) > 20
