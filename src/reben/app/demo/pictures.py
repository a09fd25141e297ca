"""PatchViews of a patch: true colour, false colour, radar; and PNG bytes as text for a page.

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

from reben.data.pictures import stretch, to_image
from reben.publish.cards.figures import colour_patch
from reben.spec.bands import RGB, S1
from reben.spec.labels import COLOURS
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS

_ZOOM = 3
_FALSE_COLOUR = ("B08", "B04", "B03")
_WHITE_AT = (5000.0, 2000.0, 2000.0)
_GAMMA = 1.5


@dataclass(frozen=True)
class PatchView:
    """One picture of a patch."""

    title: str
    caption: str
    """Which bands are red, green and blue."""
    alt: str
    """What it shows, for those who cannot see it."""
    image: Image.Image | None
    """None where bands for it are missing."""


def draw_views(bands: Mapping[str, NDArray[Any]], title: str) -> tuple[PatchView, ...]:
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


def colour_of(label: str) -> str:
    """Return the colour of a label on CORINE maps, or grey for labels that have none there."""
    return COLOURS.get(label, "#8a94a0")


def enlarge(image: Image.Image) -> Image.Image:
    """Return a patch as large as the page shows it, smoothly."""
    side = _ZOOM * PATCH_PIXELS
    return image.resize((side, side), Image.Resampling.BICUBIC)


def png_address(picture: Image.Image | bytes) -> str:
    """Return a picture as an address that holds its PNG, so no server is asked for it."""
    content = picture if isinstance(picture, bytes) else png_bytes(picture)
    return "data:image/png;base64," + b64encode(content).decode()


def _view(title: str, caption: str, patch: str, image: Image.Image | None) -> PatchView:
    alt = (
        f"{title} picture of {patch}: {caption} as red, green and blue. "
        f"{PATCH_METRES} m by {PATCH_METRES} m, north is up."
    )
    return PatchView(title, caption, alt, image)


def _known(bands: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> Image.Image | None:
    if any(name not in bands for name in names):
        return None
    return colour_patch({name: bands[name] for name in names})[0]


def _false_colour(bands: Mapping[str, NDArray[Any]]) -> Image.Image | None:
    if any(name not in bands for name in _FALSE_COLOUR):
        return None
    stretched = [
        stretch(bands[name], 0, white) for name, white in zip(_FALSE_COLOUR, _WHITE_AT, strict=True)
    ]
    return to_image(np.stack(stretched, axis=-1) ** (1 / _GAMMA))
