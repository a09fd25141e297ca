"""What all pictures share: bands as colours, colours of labels, text that fits.

Cards, quick looks and the demo page are drawn with these. The stretch of radar is fixed, so that
pictures can be compared.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from reben.spec.labels import COLOURS

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_RADAR_RANGES_DB = ((-19.0, -1.0), (-26.0, -8.0), (0.0, 15.0))
_OTHER_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f")
"""For labels that are not those of the data set, in turn."""
UNCERTAIN_COLOUR = (148, 148, 148)
"""Where no label is certain."""


def stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Return ``values`` with ``low`` at 0 and ``high`` at 1, float32, cut off beyond both."""
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def colour_radar(vv_db: NDArray[Any], vh_db: NDArray[Any]) -> NDArray[np.float32]:
    """Return backscatter as red, green and blue, float32 [H, W, 3], 0 to 1.

    VV from -19 to -1 dB is red, VH from -26 to -8 dB green; blue is their ratio, which in dB is
    the difference VV - VH, from 0 to 15 dB.
    """
    channels = zip((vv_db, vh_db, vv_db - vh_db), _RADAR_RANGES_DB, strict=True)
    return np.stack([stretch(channel, *limits) for channel, limits in channels], axis=-1)


def to_image(unit_HWC: NDArray[np.floating[Any]]) -> Image.Image:
    """Return red, green and blue, [H, W, 3], 0 to 1, as a picture."""
    return Image.fromarray(np.rint(unit_HWC * 255).astype(np.uint8), "RGB")


def label_colours(labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return a colour for each label, uint8 [K, 3]: its own where it has one."""
    others = (label for label in labels if label not in COLOURS)
    own = {label: _OTHER_COLOURS[i % len(_OTHER_COLOURS)] for i, label in enumerate(others)}
    texts = [COLOURS.get(label) or own[label] for label in labels]
    return np.array([list(bytes.fromhex(text[1:])) for text in texts], np.uint8)


def load_font(size: int) -> Font:
    """Return the font that Pillow brings along."""
    return ImageFont.load_default(size)


def fit_font(text: str, size: int, width: int, smallest: int = 12) -> Font:
    """Return the largest font, up to ``size``, in which ``text`` is no wider than ``width``."""
    sizes = range(size, smallest, -1)
    fonts = (load_font(points) for points in sizes)
    return next((font for font in fonts if font.getlength(text) <= width), load_font(smallest))


def shorten(text: str, font: Font, width: int) -> str:
    """Return ``text``, or its beginning and three dots if it is wider than ``width``.

    Example:
        >>> shorten("Inland waters", load_font(20), 80)
        'Inland...'
    """
    if font.getlength(text) <= width:
        return text
    kept = range(len(text), 0, -1)
    cut = (f"{text[:length].rstrip()}..." for length in kept)
    return next((one for one in cut if font.getlength(one) <= width), "...")


def wrap(text: str, font: Font, width: int) -> list[str]:
    """Return ``text`` as one line if it fits, else as two of about the same length.

    Example:
        >>> wrap("Inland waters", load_font(20), 500), wrap("Inland waters", load_font(20), 100)
        (['Inland waters'], ['Inland', 'waters'])
    """
    words = text.split()  # Pillow measures no line breaks
    text = " ".join(words)
    if font.getlength(text) <= width:
        return [text]
    cuts = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return list(min(cuts, key=lambda lines: max(map(len, lines)), default=(text,)))
