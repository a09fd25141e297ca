"""Pictures of a patch: true colour, false colour, radar; and pictures as text for a page.

Stretches are fixed, so that two patches can be compared by eye.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reben.data.pictures import label_colours, stretch, to_image
from reben.publish.cards.figures import colour_patch
from reben.spec.bands import RGB, S1
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS

_ZOOM = 3
_FALSE_COLOUR = {"B08": 5000, "B04": 2000, "B03": 2000}
"""Band -> the value that is white."""
_GAMMA = 1.5
_VIEWS = (
    ("True colour", "B04, B03, B02", tuple(RGB)),
    ("False colour", "B08, B04, B03: plants are red", tuple(_FALSE_COLOUR)),
    ("Radar", "VV, VH, VV - VH in dB", tuple(S1)),
)


class PatchView(NamedTuple):
    """One picture of a patch."""

    title: str
    caption: str
    """Which bands are red, green and blue."""
    alt: str
    """What it shows, for those who cannot see it."""
    image: Image.Image | None
    """None where bands for it are missing."""


def draw_views(bands: Mapping[str, NDArray[Any]], patch: str) -> tuple[PatchView, ...]:
    """Return the views of a patch: true colour, false colour, radar.

    Args:
        bands: Band -> [h, w], raw values. Bands of a wrong size are passed over.
        patch: What the patch is called.
    """
    usable = {
        name: np.nan_to_num(np.asarray(pixels, np.float32))
        for name, pixels in bands.items()
        if pixels.shape == (PATCH_PIXELS, PATCH_PIXELS) and pixels.dtype.kind in "uif"
    }
    views = []
    for title, caption, names in _VIEWS:
        image = None
        if usable.keys() >= set(names):
            known = {name: usable[name] for name in names}
            is_false = names == tuple(_FALSE_COLOUR)
            image = _false_colour(known) if is_false else colour_patch(known)[0]
        alt = (
            f"{title} picture of {patch}: {caption} as red, green and blue. "
            f"{PATCH_METRES} m by {PATCH_METRES} m, north is up."
        )
        views.append(PatchView(title, caption, alt, image))
    return tuple(views)


def _false_colour(bands: Mapping[str, NDArray[Any]]) -> Image.Image:
    stretched = [stretch(bands[name], 0, white) for name, white in _FALSE_COLOUR.items()]
    return to_image(np.stack(stretched, axis=-1) ** (1 / _GAMMA))


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Return label -> its colour, such as ``#00a600``."""
    return {
        label: f"#{bytes(c).hex()}" for label, c in zip(labels, label_colours(labels), strict=True)
    }


def enlarge(image: Image.Image) -> Image.Image:
    """Return a patch as large as the page shows it, smoothly."""
    side = _ZOOM * PATCH_PIXELS
    return image.resize((side, side), Image.Resampling.BICUBIC)


def png_bytes(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG."""
    file = BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def png_address(picture: Image.Image | bytes) -> str:
    """Return a picture as an address that holds its PNG, so no server is asked for it."""
    content = picture if isinstance(picture, bytes) else png_bytes(picture)
    return "data:image/png;base64," + b64encode(content).decode()
