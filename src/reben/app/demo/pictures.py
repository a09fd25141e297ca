"""Pictures of a patch: true colour, false colour, radar; and PNG bytes as text for a page.

Stretches are fixed, so that two patches can be compared by eye.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reben.publish.cards.figures import colour_patch
from reben.spec.bands import RGB, S1
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS

_ZOOM = 3
_FALSE_COLOUR = ("B08", "B04", "B03")
_WHITE_AT = (5000.0, 2000.0, 2000.0)
_GAMMA = 1.5


@dataclass(frozen=True)
class Picture:
    """One view of a patch.

    Args:
        title: What kind of view it is.
        caption: Which bands are red, green and blue.
        alt: What is to be seen, for those who cannot see it.
        image: The picture, or None where bands for it are missing.
    """

    title: str
    caption: str
    alt: str
    image: Image.Image | None


def draw_views(bands: Mapping[str, NDArray[Any]], title: str) -> tuple[Picture, ...]:
    """Return the views of a patch: true colour, false colour, radar.

    Args:
        bands: Band -> [h, w], raw values. Bands of a wrong size are passed over.
        title: What the patch is called.
    """
    usable = {
        name: np.nan_to_num(np.asarray(pixels, np.float32))
        for name, pixels in bands.items()
        if pixels.shape == (PATCH_PIXELS, PATCH_PIXELS) and pixels.dtype.kind in "uif"
    }
    return (
        _view("True colour", "B04, B03, B02", title, _known(usable, tuple(RGB))),
        _view("False colour", "B08, B04, B03: plants are red", title, _false_colour(usable)),
        _view("Radar", "VV, VH, VV - VH in dB", title, _known(usable, tuple(S1))),
    )


def png_bytes(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG."""
    file = BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def as_data_uri(content: bytes) -> str:
    """Return the bytes of a PNG as an address that holds them; no server is asked."""
    return "data:image/png;base64," + b64encode(content).decode()


def enlarge(image: Image.Image, zoom: int = _ZOOM) -> Image.Image:
    """Return a patch ``zoom`` times as large, smoothly."""
    side = image.width * zoom, image.height * zoom
    return image.resize(side, Image.Resampling.BICUBIC)


def _view(title: str, caption: str, patch: str, image: Image.Image | None) -> Picture:
    alt = (
        f"{title} picture of {patch}: {caption} as red, green and blue. "
        f"{PATCH_METRES} m by {PATCH_METRES} m, north is up."
    )
    return Picture(title, caption, alt, image)


def _known(bands: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> Image.Image | None:
    if any(name not in bands for name in names):
        return None
    return colour_patch({name: bands[name] for name in names})[0]


def _false_colour(bands: Mapping[str, NDArray[Any]]) -> Image.Image | None:
    if any(name not in bands for name in _FALSE_COLOUR):
        return None
    stacked = np.stack(
        [
            np.clip(bands[name] / white, 0, 1)
            for name, white in zip(_FALSE_COLOUR, _WHITE_AT, strict=True)
        ],
        axis=-1,
    ) ** (1 / _GAMMA)
    return Image.fromarray(np.round(stacked * 255).astype(np.uint8), "RGB")
